"""The command line: tokeniser, training, growth of one recipe from another, export, and its exit statuses."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from reasoner.examples import text
from reasoner.training.__main__ import main
from reasoner.training.checkpoint import load
from reasoner.training.recipe import Recipe, Stage


class ToyBook:
    """Two recipes of a few steps, the second grown from the first one's stage, and one that misses its gate."""

    def __init__(self, mixture, shape) -> None:
        stage = Stage("only", mixture, most_tokens=2_000)
        small = Recipe("small", shape, (stage,), step_tokens=1024)
        deep = replace(shape, layers=3)
        probes = {"sum": [mixture(random.Random(0))]}
        strict = replace(stage, gates={"sum": 1.1})
        self._recipes = {
            "small": small,
            "large": replace(small, name="large", shape=deep, grown_from="small/only"),
            "strict": replace(small, name="strict", stages=(strict,), skills=probes),
        }
        self._mixture = mixture

    def recipes(self) -> Mapping[str, Recipe]:
        """By name."""
        return self._recipes

    def tokenizer_text(self) -> Iterator[str]:
        """Sums."""
        dice = random.Random(1)
        return (text(self._mixture(dice)) for _ in range(50))


@pytest.fixture
def book(mixture, shape, tmp_path, tokenizer) -> ToyBook:
    """The book, and its tokeniser where the commands below expect it."""
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    return ToyBook(mixture, shape)


def train(book: ToyBook, folder: Path, name: str, *options: str) -> int:
    """Run `train NAME` with seed 0, in a folder beside those of other recipes."""
    paths = ["--tokenizer", str(folder / "tokenizer.json"), "--out", str(folder / f"{name}-0")]
    return main(["train", name, *paths, *options], book)


def test_recipe_grows_from_another(book: ToyBook, tmp_path) -> None:
    """The ancestor's run of the same seed is found beside, and the exit status says success."""
    assert train(book, tmp_path, "small") == 0
    assert train(book, tmp_path, "large") == 0
    assert load(tmp_path / "large-0" / "checkpoint.pt").shape.layers == 3


def test_missing_ancestor_is_named(book: ToyBook, tmp_path, capsys) -> None:
    """A recipe whose ancestor was not trained says where it looked."""
    assert train(book, tmp_path, "large") == 1
    assert "no checkpoint at" in capsys.readouterr().err


def test_missed_gate_has_a_status_of_its_own(book: ToyBook, tmp_path, capsys) -> None:
    """Scripts can tell a recipe that failed from a command that was wrong."""
    assert train(book, tmp_path, "strict") == 3
    assert "gate missed: strict, stage only" in capsys.readouterr().err


def test_finished_run_is_not_begun_again(book: ToyBook, tmp_path, capsys) -> None:
    """A run's folder is not written over by accident; resuming a finished run does nothing."""
    assert train(book, tmp_path, "small") == 0
    before = load(tmp_path / "small-0" / "checkpoint.pt").progress
    assert train(book, tmp_path, "small") == 1
    assert "--resume it" in capsys.readouterr().err
    assert train(book, tmp_path, "small", "--resume") == 0
    assert load(tmp_path / "small-0" / "checkpoint.pt").progress.tokens == before.tokens


def test_unknown_recipe_is_named(book: ToyBook, tmp_path, capsys) -> None:
    """The message lists the recipes that there are."""
    assert train(book, tmp_path, "huge") == 1
    assert "no recipe called 'huge'; there are small, large, strict" in capsys.readouterr().err


def test_recipes_are_listed_in_order(book: ToyBook, capsys) -> None:
    """A script can train them one after the other."""
    assert main(["recipes"], book) == 0
    assert capsys.readouterr().out.split() == ["small", "large", "strict"]


def test_tokeniser_needs_enough_text(book: ToyBook, tmp_path, capsys) -> None:
    """The toy's text is too poor for 1,024 entries, and the command says so."""
    assert main(["tokenizer", str(tmp_path / "full.json")], book) == 1
    assert "not 2048" in capsys.readouterr().err


def test_export_writes_every_form(book: ToyBook, tmp_path) -> None:
    """One command gives the folder that is shipped."""
    pytest.importorskip("gguf")
    pytest.importorskip("safetensors")
    train(book, tmp_path, "small")
    assert main(["export", str(tmp_path / "small-0" / "checkpoint.pt"), str(tmp_path / "model")]) == 0
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "generation_config.json",
        "model-f16.gguf",
        "model-q8_0.gguf",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
