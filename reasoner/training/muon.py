"""The optimisers: Muon for the matrices, AdamW for the embedding and the norms.

Muon (Keller Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"): momentum, made orthogonal
by a Newton-Schulz iteration, so that every direction of a matrix learns at the same rate.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM = 0.95
_SHRINK = 0.02
"""Weight decay of the matrices, in units of the learning rate."""
_BETAS = (0.9, 0.98)
_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration: chosen for speed, they bring singular values to about 1, not to 1 exactly."""


class Optimisers:
    """Both optimisers over all parameters of a model; matrices of equal shape are handled in one batch."""

    def __init__(self, model: nn.Module) -> None:
        self._matrices: dict[tuple[int, ...], list[nn.Parameter]] = {}
        rest = []
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and name != "embedding.weight":
                self._matrices.setdefault(tuple(weight.shape), []).append(weight)
            else:
                rest.append(weight)
        self._momentum = [torch.zeros(len(same), *shape) for shape, same in self._matrices.items()]
        self._adam = torch.optim.AdamW(rest, betas=_BETAS, weight_decay=0.0)

    def step(self, rate: float, embedding_rate: float) -> None:
        """Move all parameters by their gradients, and clear these. `rate`: of Muon, `embedding_rate`: of AdamW."""
        for group in self._adam.param_groups:
            group["lr"] = embedding_rate
        self._adam.step()
        self._adam.zero_grad()
        with torch.no_grad():
            for same, momentum in zip(self._matrices.values(), self._momentum, strict=True):
                _move(same, momentum, rate)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, besides the model; tensors are shared, not copied."""
        return {"momentum": self._momentum, "adam": self._adam.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the `state` after some step; ValueError if a part is missing or belongs to another model."""
        moments = state.get("adam", {}).get("state", {})
        kept_sizes = [*state.get("momentum", ()), *(moments[number]["exp_avg"] for number in sorted(moments))]
        own_sizes = [*self._momentum, *self._adam.param_groups[0]["params"]]
        # AdamW itself would take a state without moments, and begin anew without a word.
        if [kept.shape for kept in kept_sizes] != [own.shape for own in own_sizes]:
            raise ValueError("the optimiser state is incomplete, or belongs to a model of another shape")
        for own, kept in zip(self._momentum, state["momentum"], strict=True):
            own.copy_(kept)
        self._adam.load_state_dict(state["adam"])


def _move(same: list[nn.Parameter], momentum: Tensor, rate: float) -> None:
    """One step of Muon (with Nesterov momentum) for matrices of one shape."""
    gradient = torch.stack([weight.grad for weight in same])
    momentum.lerp_(gradient, 1 - _MOMENTUM)
    directions = orthogonal(gradient.lerp_(momentum, _MOMENTUM))
    rows, columns = momentum.shape[1:]
    scale = rate * max(1.0, rows / columns) ** 0.5
    for weight, direction in zip(same, directions, strict=True):
        weight.mul_(1 - rate * _SHRINK).sub_(direction, alpha=scale)
        weight.grad = None


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest orthogonal matrices, roughly: singular values of (n, rows, columns) brought between 0.7 and 1.2."""
    a, b, c = _QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()
