"""Growth that changes nothing yet: a larger model with exactly the function of a smaller one, to train on from there.

Depth: silent blocks, which write nothing to the residual stream, between the others or after them. Feed-forward: silent
units. Width: every channel of the stream, every head and every feed-forward unit twice (Net2Net, Chen et al. 2016, with
noise that cancels).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from reasoner.training.network import Llama
from reasoner.training.shape import Shape

_WRITERS = ("o", "down")
"""What writes to the residual stream: a block without them is silent."""

Weights = dict[str, Tensor]


def grown(model: Llama, shape: Shape, *, seed: int = 0, noise: float = 0.25, after: bool = False) -> Llama:
    """A model of `shape` with the logits of `model`, whose weights are not touched.

    `shape` has the same width (and heads), or twice those; at least as many layers, and feed-forward units for the
    width. `noise`: what tells two copies apart, as a share of each matrix's own standard deviation; it cancels in the
    logits but not in the gradients. `after`: new layers come after all others, drawn, and not between them, as copies.
    ValueError where the shape cannot be grown into.
    """
    old = model.shape
    _check(old, shape)
    dice = torch.Generator().manual_seed(seed)
    weights = {name: weight.detach().clone() for name, weight in model.state_dict().items()}
    if shape.width > old.width:
        weights = _wider(weights, noise, dice)
    result = Llama(shape, seed)
    taken = {name: weight for name, weight in weights.items() if not name.startswith("blocks.")}
    seen: set[int] = set()
    for layer in range(shape.layers):
        source = layer if after else layer * old.layers // shape.layers
        drawn = source >= old.layers
        block = _block(result.state_dict(), layer) if drawn else _more_units(_block(weights, source), shape.ff, dice)
        if drawn or source in seen:
            block |= {f"{name}.weight": torch.zeros_like(block[f"{name}.weight"]) for name in _WRITERS}
        seen.add(source)
        taken |= {f"blocks.{layer}.{name}": weight for name, weight in block.items()}
    result.load_state_dict(taken)
    return result


def _check(old: Shape, new: Shape) -> None:
    times = new.width // old.width
    if times not in (1, 2) or new.width != times * old.width:
        raise ValueError(f"width {old.width} grows to itself or twice itself, not to {new.width}")
    if (new.heads, new.kv_heads) != (times * old.heads, times * old.kv_heads):
        raise ValueError(f"at {times} times the width, heads and kv_heads are {times} times as many")
    if new.layers < old.layers or new.ff < times * old.ff:
        raise ValueError(f"layers and ff never shrink: {old} to {new}")
    if (new.vocab, new.theta) != (old.vocab, old.theta):
        raise ValueError("vocab and theta stay as they are")


def _block(weights: Mapping[str, Tensor], layer: int) -> Weights:
    start = f"blocks.{layer}."
    return {name.removeprefix(start): weight for name, weight in weights.items() if name.startswith(start)}


def _more_units(block: Weights, units: int, dice: torch.Generator) -> Weights:
    """Random feed-forward units that write nothing, up to `units` in all."""
    more = units - block["gate.weight"].shape[0]
    if not more:
        return dict(block)
    new = dict(block)
    for name in ("gate.weight", "up.weight"):
        weight = block[name]
        drawn = torch.randn(more, weight.shape[1], generator=dice) * weight.std()
        new[name] = torch.cat((weight, drawn))
    down = block["down.weight"]
    new["down.weight"] = torch.cat((down, torch.zeros(down.shape[0], more)), 1)
    return new


def _wider(weights: Mapping[str, Tensor], noise: float, dice: torch.Generator) -> Weights:
    """Every channel, head and unit twice.

    The stream becomes (x, x), whose root mean square is that of x. A matrix reads the mean of both copies, so that its
    outputs, made twice, are equal to the old ones; the output head adds the copies up, so the last norm is halved.
    """
    wide = {}
    for name, weight in weights.items():
        if name == "embedding.weight":
            wide[name] = weight.repeat(1, 2)
        elif name == "norm.weight":
            wide[name] = weight.repeat(2) / 2
        elif weight.dim() == 1:
            wide[name] = weight.repeat(2)
        else:
            wide[name] = _twice(weight, noise, dice)
    return wide


def _twice(weight: Tensor, noise: float, dice: torch.Generator) -> Tensor:
    """(rows, columns) to twice both: half of each weight on either copy of an input, and noise that cancels."""
    half = weight.repeat(2, 1) / 2
    drawn = noise * weight.std() * torch.randn(half.shape, generator=dice)
    return torch.cat((half + drawn, half - drawn), 1)
