"""The stream of training batches: examples drawn on the fly, the same ones for the same seed.

Examples come in pools. A pool's examples, and the order of its batches, depend on (key, number of the pool) alone, so
that a stream can be taken up at any batch by drawing that batch's pool again.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from reasoner.training.recipe import Mixture
from reasoner.training.tokens import Row, encode

POOL = 768
"""Examples drawn at once: enough that batches of like lengths hold unlike examples."""
_PAD = 16
"""Inputs are padded to a multiple of this many tokens (targets are one later): odd lengths are several times slower."""
_MOST_TOO_LONG = 0.05
"""The share of a pool that may exceed the context (and is left out) before the mixture is called wrong."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples side by side: token numbers, what is to be said in place of each, and the weight of that in the loss.

    All are (rows, length), and 0 after an example's end.
    """

    ids: Tensor
    targets: Tensor
    weights: Tensor
    tokens: int
    """Without the padding."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Batches of a mixture, without end.

    `key` seeds them; `context` bounds an example and `step` a batch, in tokens; `examples`: how many make a pool.
    """

    mixture: Mixture
    tokenizer: Tokenizer
    key: str
    context: int
    step: int = 4096
    examples: int = POOL

    def start(self, pool: int = 0, batch: int = 0) -> Iterator[tuple[Batch, int, int]]:
        """Batches from number `batch` of number `pool` on, each with the (pool, batch) that comes after it."""
        while True:
            batches = self._pool(pool)
            for index in range(batch, len(batches)):
                last = index + 1 == len(batches)
                yield padded(batches[index]), pool + last, 0 if last else index + 1
            pool, batch = pool + 1, 0

    def _pool(self, number: int) -> list[list[Row]]:
        """The rows of each batch of one pool. ValueError if too many examples are longer than the context."""
        dice = random.Random(f"{self.key}/{number}")
        rows = encode(self.tokenizer, [self.mixture(dice) for _ in range(self.examples)])
        fitting = [row for row in rows if len(row) <= self.context]
        left_out = len(rows) - len(fitting)
        if left_out > _MOST_TOO_LONG * len(rows):
            raise ValueError(f"{left_out} of {len(rows)} examples exceed the context of {self.context} tokens")
        batches = list(by_length(fitting, self.step))
        dice.shuffle(batches)
        return batches


def by_length(rows: Sequence[Row], step: int) -> Iterator[list[Row]]:
    """Rows of like lengths together, each group at most `step` inputs with their padding (but one row at least)."""
    group: list[Row] = []
    for row in sorted(rows, key=len):
        if group and _inputs(row) * (len(group) + 1) > step:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _inputs(row: Row) -> int:
    """Tokens, padding included, from which the next one is predicted: all but the last."""
    return -(-(len(row) - 1) // _PAD) * _PAD


def padded(rows: Sequence[Row]) -> Batch:
    """Rows as one batch."""
    length = max(map(_inputs, rows)) + 1
    ids = torch.tensor([row.ids + [0] * (length - len(row)) for row in rows])
    weights = torch.tensor([row.weights + [0.0] * (length - len(row)) for row in rows])
    targets = ids.clone()
    for number, row in enumerate(rows):
        for place, verdict in row.verdicts.items():
            targets[number, place] = verdict
    return Batch(ids, targets, weights, sum(map(len, rows)))
