"""Skills: the share of runs that are right, against a slow count by hand."""

import random

import pytest

pytest.importorskip("torch")

import torch

from reasoner.examples import Segment
from reasoner.training.batches import padded
from reasoner.training.network import Llama
from reasoner.training.skills import measured, prepared, share_right
from reasoner.training.tokens import Row


def drawn_rows(dice: random.Random) -> list[Row]:
    """Rows of 20 tokens with runs of weight at random, the first token and the last included."""
    return [Row([dice.randrange(300) for _ in range(20)], dice.choices([0.0, 1.0], k=20)) for _ in range(30)]


def said_by(model: Llama, rows: list[Row]) -> list[list[int]]:
    """What the model finds most likely after each prefix."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return model(padded(rows).ids[:, :-1]).argmax(-1).tolist()


def count(model: Llama, rows: list[Row]) -> tuple[int, int]:
    """Right runs and all runs, one token after the other; a run of nothing but a first token is none."""
    right = runs = 0
    for row, said in zip(rows, said_by(model, rows), strict=True):
        marks = "".join("x" if weight else " " for weight in row.weights)
        at = 0
        for run in marks.split(" "):
            places = [i for i in range(at, at + len(run)) if i > 0]
            at += len(run) + 1
            runs += bool(places)
            right += bool(places) and all(row.ids[i] == said[i - 1] for i in places)
    return right, runs


@pytest.mark.parametrize("seed", range(5))
def test_share_is_that_of_a_slow_count(shape, seed: int) -> None:
    """Runs of one token and of many, right, wrong and half right, count as they do by hand."""
    dice, model = random.Random(seed), Llama(shape, seed)
    rows = drawn_rows(dice)
    # Most tokens become the model's own choice, from left to right: each choice depends on those before.
    for at in range(1, 20):
        for row, said in zip(rows, said_by(model, rows), strict=True):
            if dice.random() < 0.8:
                row.ids[at] = said[at - 1]
    right, runs = count(model, rows)
    assert 0 < right < runs
    assert share_right(model, [padded(rows[:9]), padded(rows[9:])]) == right / runs


def test_measuring_is_independent_of_order_and_leaves_no_gradient(shape, mixture, tokenizer) -> None:
    """The share is of the examples as a set; training is not disturbed."""
    model = Llama(shape, seed=1)
    examples = [mixture(random.Random(seed)) for seed in range(40)]
    value = measured(model, tokenizer, examples)
    assert value == measured(model, tokenizer, examples[::-1])
    assert all(weight.grad is None for weight in model.parameters())


def test_rows_end_with_their_last_probe(tokenizer) -> None:
    """What comes after the last weighted token costs nothing."""
    batches = prepared(tokenizer, [(Segment("7" * 10, 0.0), Segment("8"), Segment("9" * 40, 0.0))])
    assert [batch.tokens for batch in batches] == [11]


def test_example_without_weight_is_refused(tokenizer) -> None:
    """A probe that probes nothing is a mistake."""
    with pytest.raises(ValueError, match="weighs nothing"):
        prepared(tokenizer, [(Segment("1+1=2", 0.0),)])
