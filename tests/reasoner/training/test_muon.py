"""The optimisers: orthogonal steps for matrices, and a state that can be kept."""

import copy

import pytest

pytest.importorskip("torch")

import torch

from reasoner.training.muon import Optimisers, orthogonal
from reasoner.training.network import Llama


@pytest.mark.parametrize("size", [(16, 16), (24, 8), (8, 24)])
def test_singular_values_become_nearly_one(size: tuple[int, int]) -> None:
    """Whatever the shape and the scale, directions are kept and their strengths made alike."""
    drawn = 1e-3 * torch.randn(3, *size, generator=torch.Generator().manual_seed(1))
    left, strengths, right = torch.linalg.svd(drawn, full_matrices=False)
    result = orthogonal(drawn)
    assert result.shape == drawn.shape
    kept = (left.mT @ result @ right.mT).diagonal(dim1=-2, dim2=-1)
    strong = strengths > 0.1 * strengths.amax(-1, keepdim=True)
    assert kept[strong].min() > 0.6
    assert kept[strong].max() < 1.3
    torch.testing.assert_close(torch.linalg.norm(result), kept.norm(), rtol=0.05, atol=0)


def with_gradients(model: Llama, seed: int) -> None:
    """Give every weight a gradient of its own."""
    dice = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=dice)


def test_step_moves_everything_by_its_rate(shape) -> None:
    """A matrix moves by `rate`, the embedding by `embedding_rate`, and gradients are gone afterwards."""
    model = Llama(shape)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with_gradients(model, 0)
    Optimisers(model).step(0.01, 0.001)
    moved = {name: weight.detach() - before[name] for name, weight in model.named_parameters()}
    # The first step of Adam has the size of its rate; Muon's has about that norm in each direction.
    assert moved["embedding.weight"].abs().mean() == pytest.approx(0.001, rel=0.01)
    assert torch.linalg.svdvals(moved["blocks.0.q.weight"]).median() == pytest.approx(0.01, rel=0.3)
    assert all(weight.grad is None for weight in model.parameters())


def test_rates_of_zero_move_nothing(shape) -> None:
    """A schedule that has fallen to 0 stops the model where it is."""
    model = Llama(shape)
    before = copy.deepcopy(model.state_dict())
    with_gradients(model, 0)
    Optimisers(model).step(0.0, 0.0)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_restored_state_continues_alike(shape) -> None:
    """Two models with the same weights and the same restored state take the same step."""
    model = Llama(shape)
    first = Optimisers(model)
    with_gradients(model, 0)
    first.step(0.01, 0.001)
    twin = copy.deepcopy(model)
    second = Optimisers(twin)
    second.restore(copy.deepcopy(first.state()))
    for moved, optimisers in ((model, first), (twin, second)):
        with_gradients(moved, 1)
        optimisers.step(0.01, 0.001)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_state_of_another_shape_is_refused(shape) -> None:
    """The momentum of a smaller model is not stretched."""
    state = Optimisers(Llama(shape)).state()
    larger = type(shape)(width=64, layers=2, heads=2, kv_heads=1, ff=64, vocab=300, context=64)
    with pytest.raises(ValueError, match="another shape"):
        Optimisers(Llama(larger)).restore(state)


@pytest.mark.parametrize("emptied", ["momentum", "adam", "state"])
def test_state_that_lacks_a_part_is_refused(shape, emptied: str) -> None:
    """Neither optimiser begins anew in silence."""
    model = Llama(shape)
    optimisers = Optimisers(model)
    with_gradients(model, 0)
    optimisers.step(0.01, 0.001)
    state = copy.deepcopy(optimisers.state())
    if emptied == "state":
        state["adam"]["state"].clear()
    else:
        del state[emptied]
    with pytest.raises(ValueError, match="incomplete"):
        Optimisers(Llama(shape)).restore(state)
