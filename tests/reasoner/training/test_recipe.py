"""Recipes: schedules that are functions of tokens, and mistakes found before training."""

import pytest

pytest.importorskip("torch")

from reasoner.training.recipe import Recipe, Stage


def test_rate_rises_stays_and_falls(mixture) -> None:
    """Both rates rise over the warm-up, stay, and fall to nothing over the last share of the tokens."""
    stage = Stage("a", mixture, most_tokens=1000, warm_up=100, decay=0.4)
    assert [stage.rate(tokens) for tokens in (0, 50, 100, 600, 800, 1000, 1010)] == [0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0]


def test_rate_is_flat_without_schedules(mixture) -> None:
    """No warm-up and no decay: full rates from the first token to the last."""
    stage = Stage("a", mixture, most_tokens=1000, warm_up=0)
    assert {stage.rate(tokens) for tokens in (0, 500, 1000)} == {1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a/b"}, "letters, digits and hyphens"),
        ({"least_tokens": 20}, "out of order"),
        ({"most_tokens": 0}, "out of order"),
        ({"decay": 1.5}, "decay is a share"),
    ],
)
def test_impossible_stage_is_refused(mixture, change, message: str) -> None:
    """A stage that could not run says what is wrong with it."""
    with pytest.raises(ValueError, match=message):
        Stage(**({"name": "a", "mixture": mixture, "most_tokens": 10} | change))


def test_stages_need_names_of_their_own(mixture, shape) -> None:
    """Equal names would share a checkpoint and a seed."""
    stage = Stage("a", mixture, most_tokens=10)
    with pytest.raises(ValueError, match="names of their own"):
        Recipe("toy", shape, (stage, stage))


def test_gate_must_be_a_skill(mixture, shape) -> None:
    """A gate that nobody measures would be missed for ever; skills may come from a function."""
    stages = (Stage("a", mixture, most_tokens=10, gates={"sum": 0.5}),)
    with pytest.raises(ValueError, match="no skill called 'sum'"):
        Recipe("toy", shape, stages).made_skills()
    assert list(Recipe("toy", shape, stages, skills=lambda: {"sum": []}).made_skills()) == ["sum"]
