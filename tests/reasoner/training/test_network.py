"""The network: what it may look at, and how it starts."""

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from reasoner.training.network import Llama, attention, rotated


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
        turned = [rotated(x[:, None], model.cos[i], model.sin[i]) for x, i in ((q, at), (k, then))]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(product(5, 2), product(45, 42))
    assert not torch.allclose(product(5, 2), product(5, 3))


@pytest.mark.parametrize("length", [1, 5, 128, 129, 300])
def test_attention_is_pytorchs(length: int) -> None:
    """In blocks of queries as in one piece: values and gradients are those of PyTorch's own function."""
    dice = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(2, length, heads, 8, generator=dice, requires_grad=True) for heads in (6, 2, 2))
    mask = torch.full((length, length), -torch.inf).triu(1)
    whole = functional.scaled_dot_product_attention(
        q.transpose(1, 2), *(x.transpose(1, 2).repeat_interleave(3, 1) for x in (k, v)), is_causal=True
    )
    expected, found = whole.transpose(1, 2).flatten(2), attention(q, k, v, mask)
    torch.testing.assert_close(found, expected)
    towards = torch.randn(found.shape, generator=dice)
    for one, other in zip(*(torch.autograd.grad(x, (q, k, v), towards) for x in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
