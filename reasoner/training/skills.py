"""Skills: how much of what matters a model gets right, teacher-forced, far cheaper than sampling.

A skill is a list of examples in which only what is probed has weight. A run of weighted tokens counts as right if the
model, shown everything before each of them, finds every one of them most likely.
"""

from collections.abc import Iterable, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from reasoner.examples import Example
from reasoner.training.batches import Batch, by_length, padded
from reasoner.training.network import Llama
from reasoner.training.tokens import Row, encode

_STEP = 8192
"""Tokens of one forward pass."""


def measured(model: Llama, tokenizer: Tokenizer, examples: Sequence[Example]) -> float:
    """The share of weighted runs that are right, in [0, 1]."""
    return share_right(model, prepared(tokenizer, examples))


def prepared(tokenizer: Tokenizer, examples: Sequence[Example]) -> list[Batch]:
    """Examples in batches, each cut after its last weighted token. ValueError if one has no weight."""
    rows = [_cut(row) for row in encode(tokenizer, examples)]
    return [padded(group) for group in by_length(rows, _STEP)]


def _cut(row: Row) -> Row:
    end = max((i for i, weight in enumerate(row.weights, 1) if weight > 0), default=0)
    if end < 2:
        raise ValueError("an example of a skill weighs nothing after its first token")
    return Row(row.ids[:end], row.weights[:end], row.verdicts)


def share_right(model: Llama, batches: Iterable[Batch]) -> float:
    """The share of right runs over prepared batches; gradients are neither needed nor made."""
    right = runs = 0
    for batch in batches:
        hits = _hits(model, batch)
        right += int(hits.sum())
        runs += len(hits)
    return right / runs


def _hits(model: Llama, batch: Batch) -> Tensor:
    """Whether each weighted run of the batch is right: (runs,)."""
    probed = batch.weights > 0
    starts = probed.clone()
    starts[:, 1:] &= ~probed[:, :-1]
    numbers = starts.flatten().cumsum(0).view_as(starts) - 1
    # What comes first in an example is predicted from nothing: it is not judged.
    judged = probed[:, 1:]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        said = model.logits(model.hidden(batch.ids[:, :-1])[judged]).argmax(-1)
    wrong = said != batch.targets[:, 1:][judged]
    numbers = numbers[:, 1:][judged]
    faults = torch.zeros(int(starts.sum())).index_add(0, numbers, wrong.float())
    return faults[numbers.unique()] == 0
