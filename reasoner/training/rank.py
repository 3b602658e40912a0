"""A judge for llama.cpp's rerank endpoint, whose Llama network takes no classification head.

Without a head the endpoint gives the first channel of what the output head reads at the last token. Once norms have no
weights of their own, the residual stream can be turned by any orthogonal matrix and the logits stay as they are
(Ashkboos et al. 2024, arXiv 2401.15024, section 3): here, until that channel is the difference of two tokens' logits.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from tokenizers import Tokenizer
from torch import Tensor

from reasoner.training.checkpoint import Checkpoint

_READERS: Mapping[str, tuple[str, ...]] = {"attention_norm": ("q", "k", "v"), "feed_norm": ("gate", "up")}
"""What reads the residual stream, by the norm before it."""
_WRITERS = ("o", "down")
OUTPUT = "output.weight"
"""The output head, which is no longer the embedding."""


def ranking(checkpoint: Checkpoint, right: str, wrong: str) -> Checkpoint:
    """The same model, whose first channel after the last norm is the logit of token `right` less that of `wrong`.

    It has an output head of its own, so that it answers chats as before. ValueError if either is no token.
    """
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
    numbers = [tokenizer.token_to_id(token) for token in (right, wrong)]
    if None in numbers:
        raise ValueError(f"{right!r} and {wrong!r} are to be single tokens of the model")
    weights = {name: weight.double() for name, weight in checkpoint.weights.items()}
    head = weights["embedding.weight"] * weights["norm.weight"]
    towards = head[numbers[0]] - head[numbers[1]]
    turn = reflection(towards)
    norm = torch.ones_like(towards)
    norm[0] = towards.norm()
    made = {"embedding.weight": weights["embedding.weight"] @ turn.T, "norm.weight": norm}
    for layer in range(checkpoint.shape.layers):
        made |= _turned(weights, f"blocks.{layer}.", turn)
    made[OUTPUT] = head @ turn.T / norm
    return replace(checkpoint, weights={name: weight.float() for name, weight in made.items()}, optimisers=None)


def reflection(towards: Tensor) -> Tensor:
    """The orthogonal matrix (Householder's) that reflects the direction of this vector onto the first axis."""
    first = torch.zeros_like(towards)
    first[0] = 1.0
    apart = towards / towards.norm() - first
    size = apart @ apart
    identity = torch.eye(len(towards), dtype=towards.dtype)
    return identity if size == 0 else identity - 2 * torch.outer(apart, apart) / size


def _turned(weights: Mapping[str, Tensor], block: str, turn: Tensor) -> dict[str, Tensor]:
    """The weights of one block on the turned stream, its norms' weights taken in by what reads them."""
    made = {}
    for norm, readers in _READERS.items():
        scale = weights[f"{block}{norm}.weight"]
        made[f"{block}{norm}.weight"] = torch.ones_like(scale)
        made |= {f"{block}{name}.weight": weights[f"{block}{name}.weight"] * scale @ turn.T for name in readers}
    return made | {f"{block}{name}.weight": turn @ weights[f"{block}{name}.weight"] for name in _WRITERS}
