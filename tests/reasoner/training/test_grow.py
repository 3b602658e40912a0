"""Growth: the same function at once, and copies that part as soon as training goes on."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from reasoner.training.grow import grown
from reasoner.training.muon import Optimisers
from reasoner.training.network import Llama

WIDER = {"width": 64, "heads": 4, "kv_heads": 2, "ff": 128}


@pytest.fixture
def model(shape) -> Llama:
    """A model none of whose parts is as it was drawn at first: norms are no longer all one."""
    model = Llama(shape, seed=5)
    dice = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=dice), alpha=0.1)
    return model


def some_ids() -> torch.Tensor:
    """Two rows of forty tokens."""
    return torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 3},
        {"layers": 4},
        {"ff": 96},
        {"context": 100},
        WIDER,
        WIDER | {"ff": 160},
        WIDER | {"ff": 160, "layers": 5},
    ],
    ids=str,
)
def test_growth_keeps_the_logits(model: Llama, change: dict[str, int]) -> None:
    """In depth, in units, in width and in all at once, the larger model says what the smaller one said."""
    larger = grown(model, replace(model.shape, **change))
    assert larger.shape == replace(model.shape, **change)
    torch.testing.assert_close(larger(some_ids()), model(some_ids()), rtol=0, atol=1e-4)


def test_layers_after_all_others_change_nothing_yet(model: Llama) -> None:
    """The first layers are the smaller model's own, the new ones are drawn and silent, and a gradient wakes them."""
    larger = grown(model, replace(model.shape, layers=4, ff=96), after=True)
    torch.testing.assert_close(larger(some_ids()), model(some_ids()), rtol=0, atol=1e-4)
    own, new = model.state_dict(), larger.state_dict()
    assert all(torch.equal(new[name], own[name]) for name in own if ".q." in name or ".norm" in name)
    assert not torch.equal(new["blocks.2.q.weight"], new["blocks.3.q.weight"])
    functional.cross_entropy(larger(some_ids()).flatten(0, 1), some_ids().flatten()).backward()
    assert larger.blocks[3].o.weight.grad.abs().sum() > 0


def test_growth_leaves_the_smaller_model_alone(model: Llama) -> None:
    """Training the larger model does not train the smaller."""
    before = model(some_ids())
    larger = grown(model, replace(model.shape, layers=4))
    with torch.no_grad():
        for weight in larger.parameters():
            weight.zero_()
    assert torch.equal(model(some_ids()), before)


def gradients(model: Llama) -> dict[str, torch.Tensor]:
    """Of the loss on some tokens."""
    ids = some_ids()
    functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def test_copies_have_gradients_of_their_own(model: Llama) -> None:
    """From the first step on, two copies of a head, of a unit and of an embedding's channel learn different things."""
    found = gradients(grown(model, replace(model.shape, **WIDER)))
    copied = {
        name: 0 for name in found if name.endswith(("q.weight", "k.weight", "v.weight", "gate.weight", "up.weight"))
    }
    for name, axis in (copied | {"embedding.weight": 1}).items():
        one, other = found[name].chunk(2, axis)
        assert (one - other).norm() > 0.01 * found[name].norm(), name


def test_copies_part(model: Llama) -> None:
    """After three steps no weight of the model has moved as its copy has, on either side of any matrix."""
    larger = grown(model, replace(model.shape, **WIDER))
    before = {name: weight.detach().clone() for name, weight in larger.named_parameters()}
    optimisers = Optimisers(larger)
    for _ in range(3):
        gradients(larger)
        optimisers.step(0.02, 0.004)
    for name, weight in larger.named_parameters():
        moved = weight.detach() - before[name]
        for axis in {"embedding.weight": (1,)}.get(name, range(moved.dim())):
            one, other = moved.chunk(2, axis)
            assert (one - other).norm() > 0.01 * moved.norm(), (name, axis)


def test_copies_stay_equal_without_noise(model: Llama) -> None:
    """The noise is what parts them: without it two copies of a unit learn the same."""
    found = gradients(grown(model, replace(model.shape, **WIDER), noise=0.0))
    one, other = found["blocks.0.gate.weight"].chunk(2)
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-7)


def test_silent_parts_can_learn(model: Llama) -> None:
    """What writes nothing yet gets a gradient that makes it write."""
    found = gradients(grown(model, replace(model.shape, layers=4, ff=96)))
    assert found["blocks.1.o.weight"].abs().max() > 0
    assert found["blocks.0.down.weight"][:, 64:].abs().max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 48}, "not to 48"),
        ({"width": 64}, "2 times the width"),
        ({"layers": 1}, "never shrink"),
        (WIDER | {"ff": 100}, "never shrink"),
        ({"vocab": 400}, "vocab and theta"),
    ],
    ids=str,
)
def test_impossible_growth_is_refused(model: Llama, change: dict[str, int], message: str) -> None:
    """A shape that would change the function is named."""
    with pytest.raises(ValueError, match=message):
        grown(model, replace(model.shape, **change))
