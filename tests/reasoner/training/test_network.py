"""The network: what it may look at, and how it starts."""

import pytest

pytest.importorskip("torch")

import torch

from reasoner.training.network import Llama, rotated


def test_size_is_the_shapes(shape) -> None:
    """The network has as many numbers as its shape counts."""
    assert sum(weight.numel() for weight in Llama(shape).parameters()) == shape.parameters


def test_later_tokens_change_nothing_before_them(shape) -> None:
    """Logits depend on what stands before, and do depend on it."""
    model, ids = Llama(shape, seed=1), torch.arange(10, 30)[None]
    changed = ids.clone()
    changed[0, 12] = 200
    before, after = model(ids), model(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


def test_seed_decides_the_weights(shape) -> None:
    """The same seed gives the same weights, whatever was drawn in between; another gives others."""
    one, torch_draw, same, other = Llama(shape, seed=1), torch.rand(3), Llama(shape, seed=1), Llama(shape, seed=2)
    assert torch_draw.shape == (3,)
    assert torch.equal(one.blocks[1].q.weight, same.blocks[1].q.weight)
    assert not torch.equal(one.blocks[1].q.weight, other.blocks[1].q.weight)


def test_turning_keeps_what_relates_two_positions(shape) -> None:
    """The product of a turned query and a turned key depends on their distance alone."""
    model = Llama(shape)
    q, k = torch.randn(2, 1, shape.head, generator=torch.Generator().manual_seed(0))

    def product(at: int, then: int) -> torch.Tensor:
        turned = [rotated(x, model.cos[i : i + 1], model.sin[i : i + 1]) for x, i in ((q, at), (k, then))]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(product(5, 2), product(45, 42))
    assert not torch.allclose(product(5, 2), product(5, 3))
