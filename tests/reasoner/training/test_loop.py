"""The loop: learns, obeys its gates, and can be stopped and resumed without a trace."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from reasoner.examples import Example
from reasoner.training.batches import padded
from reasoner.training.checkpoint import load
from reasoner.training.loop import Trainer, weighted_loss
from reasoner.training.network import Llama
from reasoner.training.recipe import GateMissedError, Recipe, Stage
from reasoner.training.tokens import Row


def only_the_end_of_the_thought(example: Example) -> Example:
    """The example up to `</think>`, which alone has weight."""
    at = [segment.text for segment in example].index("</think>\n")
    return (*(replace(segment, weight=0.0) for segment in example[:at]), example[at])


@pytest.fixture
def recipe(mixture, shape) -> Recipe:
    """A stage that ends by its tokens, inside its second pool, and one that ends by its gate."""
    probes = [only_the_end_of_the_thought(mixture(random.Random(seed))) for seed in range(20)]
    stages = (
        Stage("first", mixture, most_tokens=40_000, warm_up=4_000),
        Stage("second", mixture, most_tokens=20_000, gates={"format": 0.9}, least_tokens=4_000, decay=0.5, warm_up=0),
    )
    return Recipe("toy", shape, stages, {"format": probes}, check_every=5_000, skills_every=4, step_tokens=256)


def curve(folder: Path) -> list[dict]:
    """The lines of a run's curve, without the times."""
    lines = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    assert all(line.pop("cpu_seconds") > 0 for line in lines)
    return lines


def same(one: dict, other: dict) -> bool:
    """Whether two states of a model are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def steps(count: int):
    """A wish to stop after so many steps."""
    left = iter([False] * (count - 1))
    return lambda: next(left, True)


@pytest.mark.timeout(60)
def test_resumed_run_equals_one_in_one_go(tmp_path, recipe: Recipe, tokenizer) -> None:
    """Stopped twice (inside a pool, and in the second pool) and taken up, a run has the same weights and curve."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    trainer = Trainer(recipe, tokenizer, whole, seed=3)
    assert trainer.run()
    assert not Trainer(recipe, tokenizer, parts, seed=3, stopping=steps(5)).run()
    for stopping, ended in ((steps(150), False), (steps(1000), True)):
        resumed = Trainer(recipe, tokenizer, parts, seed=3, stopping=stopping)
        resumed.resume()
        assert resumed.run() == ended
    assert same(load(whole / "checkpoint.pt").weights, load(parts / "checkpoint.pt").weights)
    assert curve(whole) == curve(parts)
    assert curve(whole)[-1]["loss"] < 0.6 * curve(whole)[0]["loss"]
    assert sorted(path.name for path in whole.iterdir()) == ["checkpoint.pt", "curve.jsonl", "first.pt", "second.pt"]


def test_seed_decides_the_run(tmp_path, recipe: Recipe, tokenizer) -> None:
    """Another seed gives other weights."""
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        Trainer(recipe, tokenizer, tmp_path / str(seed), seed=seed, stopping=steps(2)).run()
    weights = [load(tmp_path / str(seed) / "checkpoint.pt").weights for seed in (0, 1)]
    assert not same(*weights)


def test_stage_ends_at_its_gate(tmp_path, recipe: Recipe, tokenizer, mixture) -> None:
    """The first check after the least tokens that finds the gate reached ends the stage, with all skills recorded."""
    gated = Stage("only", mixture, most_tokens=50_000, gates={"format": 0.0}, least_tokens=6_000)
    short = replace(recipe, stages=(gated,))
    assert Trainer(short, tokenizer, tmp_path).run()
    lines = curve(tmp_path)
    assert [line["stage_tokens"] // 5_000 for line in lines] == [1, 2]
    assert lines[-1]["skills"].keys() == {"format"}


def test_missed_gate_fails_loudly(tmp_path, recipe: Recipe, tokenizer, mixture) -> None:
    """A stage out of tokens raises with the value it reached, and leaves its checkpoint."""
    gated = Stage("only", mixture, most_tokens=6_000, gates={"format": 1.1})
    short = replace(recipe, stages=(gated,))
    with pytest.raises(GateMissedError, match=r"toy, stage only: after 6\d\d\d tokens format 0\.\d+ of 1\.1"):
        Trainer(short, tokenizer, tmp_path).run()
    assert load(tmp_path / "checkpoint.pt").progress.stage_tokens >= 6_000
    assert not (tmp_path / "only.pt").exists()


def resumed(recipe: Recipe, tokenizer, folder: Path) -> Trainer:
    """The folder's run, taken up."""
    trainer = Trainer(recipe, tokenizer, folder)
    trainer.resume()
    return trainer


def test_missed_gate_is_not_passed_by_resuming(tmp_path, recipe: Recipe, tokenizer, mixture) -> None:
    """Not a step more is trained, the words and the curve are the same; a gate lowered since lets the run go on."""
    gated = Stage("only", mixture, most_tokens=6_000, gates={"format": 1.1})
    strict = replace(recipe, stages=(gated,))
    with pytest.raises(GateMissedError) as first:
        Trainer(strict, tokenizer, tmp_path).run()
    before, lines = load(tmp_path / "checkpoint.pt"), curve(tmp_path)
    with pytest.raises(GateMissedError) as again:
        resumed(strict, tokenizer, tmp_path).run()
    assert str(again.value) == str(first.value)
    after = load(tmp_path / "checkpoint.pt")
    assert after.progress == before.progress
    assert same(after.weights, before.weights)
    assert curve(tmp_path) == lines
    lower = replace(strict, stages=(replace(gated, gates={"format": 0.0}),))
    assert resumed(lower, tokenizer, tmp_path).run()
    assert same(load(tmp_path / "only.pt").weights, before.weights)
    assert curve(tmp_path) == lines


def test_finished_run_goes_on_with_a_stage_that_its_recipe_got_since(
    tmp_path, recipe: Recipe, tokenizer, mixture
) -> None:
    """As it is, it stays as it was; the new stage begins where the last one ended, though all had their tokens."""
    gated = Stage("one", mixture, most_tokens=2_000, gates={"format": 0.0}, least_tokens=2_000)
    short = replace(recipe, stages=(gated,))
    assert Trainer(short, tokenizer, tmp_path).run()
    ended = load(tmp_path / "checkpoint.pt")
    assert resumed(short, tokenizer, tmp_path).run()
    assert load(tmp_path / "checkpoint.pt").progress == ended.progress
    longer = replace(short, stages=(gated, Stage("two", mixture, most_tokens=3_000)))
    assert resumed(longer, tokenizer, tmp_path).run()
    assert load(tmp_path / "checkpoint.pt").progress.tokens >= ended.progress.tokens + 3_000
    assert [line["stage"] for line in curve(tmp_path)] == ["one", "two"]


def test_checkpoint_of_another_run_is_refused(tmp_path, recipe: Recipe, tokenizer) -> None:
    """Neither another seed nor another recipe continues a run."""
    Trainer(recipe, tokenizer, tmp_path, seed=3, stopping=steps(1)).run()
    with pytest.raises(ValueError, match="another seed"):
        Trainer(recipe, tokenizer, tmp_path, seed=4).resume()
    with pytest.raises(ValueError, match="another recipe"):
        Trainer(replace(recipe, name="other"), tokenizer, tmp_path, seed=3).resume()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, "has no optimiser state"),
        ({}, "has no optimiser state"),
        ({"momentum": []}, "that can go on: the optimiser state is incomplete"),
        ({"momentum": 5}, "is broken, or is not the checkpoint of a run that can go on"),
    ],
    ids=repr,
)
def test_checkpoint_that_training_cannot_go_on_from_is_named(
    tmp_path, recipe: Recipe, tokenizer, state, words: str
) -> None:
    """With what it lacks, whether nothing, too little or something else stands where the optimisers' state was."""
    Trainer(recipe, tokenizer, tmp_path, stopping=steps(1)).run()
    path = tmp_path / "checkpoint.pt"
    replace(load(path), optimisers=state).save(path)
    with pytest.raises(ValueError, match=re.escape(words)) as found:
        Trainer(recipe, tokenizer, tmp_path).resume()
    assert str(path) in str(found.value)


def test_tokeniser_must_fit(tmp_path, recipe: Recipe, tokenizer) -> None:
    """A vocabulary of another size is refused before the first step."""
    with pytest.raises(ValueError, match="300 entries, recipe toy 512"):
        Trainer(replace(recipe, shape=replace(recipe.shape, vocab=512)), tokenizer, tmp_path)


def test_first_model_is_trained_on(tmp_path, recipe: Recipe, tokenizer) -> None:
    """A model handed over is where training begins."""
    model = Llama(recipe.shape, seed=9)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    trainer = Trainer(recipe, tokenizer, tmp_path, first=model)
    assert same(trainer.checkpoint().weights, before)
    with pytest.raises(ValueError, match="the first model is"):
        Trainer(replace(recipe, shape=replace(recipe.shape, ff=96)), tokenizer, tmp_path, first=model)


def test_loss_is_the_weighted_mean(shape) -> None:
    """Cross-entropy by token, by hand: weights count, tokens without weight and first tokens do not.

    Where a verdict is to be said, it is what is scored.
    """
    model = Llama(shape, seed=2)
    rows = [Row([5, 6, 7, 8], [1.0, 0.0, 1.0, 0.5]), Row([9, 10, 11], [0.0, 0.25, 0.0], {1: 40})]
    total = weight = 0.0
    for row in rows:
        scores = model(torch.tensor([row.ids])).log_softmax(-1)[0]
        for at in range(1, len(row)):
            total -= row.weights[at] * scores[at - 1, row.verdicts.get(at, row.ids[at])].item()
            weight += row.weights[at]
    assert weighted_loss(model, padded(rows)).item() == pytest.approx(total / weight, rel=0.01)
