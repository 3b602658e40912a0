"""The command line: tokeniser, training, growth of one recipe from another, export, and its exit statuses."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from reasoner.examples import text
from reasoner.training.__main__ import _imported, main
from reasoner.training.checkpoint import load
from reasoner.training.grow import grown
from reasoner.training.recipe import Recipe, Stage

ROOT = Path(__file__).parents[3]


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


def refused(status: int, path: Path, capsys, also: Sequence[str] = ()) -> bool:
    """Whether the command failed in one line that names the file, and has these words `also`."""
    told = capsys.readouterr().err
    words = all(word in told for word in (str(path), *also))
    return status == 1 and told.startswith("reasoner.training: ") and words and told.count("\n") == 1


def test_recipe_grows_from_another(book: ToyBook, tmp_path) -> None:
    """The ancestor's run of the same seed is found beside, and the exit status says success."""
    assert train(book, tmp_path, "small") == 0
    assert train(book, tmp_path, "large") == 0
    assert load(tmp_path / "large-0" / "checkpoint.pt").shape.layers == 3


def test_missing_ancestor_is_named(book: ToyBook, tmp_path, capsys) -> None:
    """A recipe whose ancestor was not trained says where it looked."""
    assert train(book, tmp_path, "large") == 1
    assert "no checkpoint at" in capsys.readouterr().err


def test_seed_draws_what_growth_adds(book: ToyBook, tmp_path, monkeypatch) -> None:
    """Another seed grows another model of the same checkpoint, and seed 0 the one it always did."""
    assert train(book, tmp_path, "small") == 0
    # The width doubles, and noise tells the copies apart.
    wide = replace(book.recipes()["large"].shape, width=64, heads=4, kv_heads=2, ff=128, layers=2)
    recipe = replace(book.recipes()["large"], shape=wide)
    kept = load(tmp_path / "small-0" / "only.pt").model()
    begun = []
    monkeypatch.setattr("reasoner.training.loop.Trainer.run", lambda self: begun.append(self.model) or True)
    monkeypatch.setitem(book.recipes(), "large", recipe)
    for seed in ("0", "1"):
        init = ("--seed", seed, "--init", str(tmp_path / "small-0" / "only.pt"))
        assert train(book, tmp_path, "large", *init) == 0
    for seed, model in enumerate(begun):
        own = grown(kept, wide, seed=seed).state_dict()
        assert all(torch.equal(own[name], weight) for name, weight in model.state_dict().items())
    one, other = (model.state_dict()["blocks.0.q.weight"] for model in begun)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        *(("--threads", value, f"{value!r} is no positive integer") for value in ("0", "-1", "many")),
        *(
            ("--seed", value, f"{value} is no integer of 64 bits")
            for value in ("99999999999999999999", "-9223372036854775809", "many")
        ),
    ],
)
def test_wrong_numbers_are_of_the_command_line(
    book: ToyBook, tmp_path, option: str, value: str, told: str, capsys
) -> None:
    """Threads are positive and a seed is one that PyTorch takes; the message names the option."""
    with pytest.raises(SystemExit) as ended:
        train(book, tmp_path, "small", option, value)
    assert ended.value.code == 2
    assert f"argument {option}: {told}" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-9223372036854775808", "18446744073709551615"])
def test_any_seed_that_pytorch_takes_will_do(book: ToyBook, tmp_path, seed: str) -> None:
    """The smallest and the largest."""
    assert train(book, tmp_path, "small", "--seed", seed) == 0
    assert train(book, tmp_path, "small", "--seed", seed, "--resume") == 0


def swapped(path: Path) -> None:
    """Have two entries of a tokenizer.json change places."""
    content = json.loads(path.read_text(encoding="utf-8"))
    entries = content["model"]["vocab"]
    entries["1"], entries["2"] = entries["2"], entries["1"]
    path.write_text(json.dumps(content), encoding="utf-8")


def test_model_of_another_tokeniser_is_refused(book: ToyBook, tmp_path, capsys) -> None:
    """Its embedding would be of other tokens: whether it was named or is the ancestor, and nothing is left behind."""
    assert train(book, tmp_path, "small") == 0
    kept, tokenizer = tmp_path / "small-0" / "only.pt", tmp_path / "tokenizer.json"
    swapped(tokenizer)
    capsys.readouterr()
    for name, options in (("large", ()), ("strict", ("--init", str(kept)))):
        assert refused(
            train(book, tmp_path, name, *options), kept, capsys, also=(str(tokenizer), "--tokenizer", "--init")
        )
        assert not (tmp_path / f"{name}-0").exists()


def test_tokeniser_may_be_set_out_otherwise(book: ToyBook, tmp_path, tokenizer) -> None:
    """It is the same one indented, with its keys in another order and its merges as older versions wrote them."""
    assert train(book, tmp_path, "small") == 0
    content = json.loads(tokenizer.to_str())
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content, indent=3, sort_keys=True), encoding="utf-8")
    assert train(book, tmp_path, "large") == 0


def test_early_errors_leave_no_folder(book: ToyBook, tmp_path, capsys) -> None:
    """Nothing to resume, no ancestor, no such checkpoint, no tokeniser, a recipe that does not fit it: each says so."""
    missing = str(tmp_path / "missing")
    wrong = replace(book.recipes()["small"], name="wrong", shape=replace(book.recipes()["small"].shape, vocab=512))
    book.recipes()["wrong"] = wrong
    for name, options, words in (
        ("small", ("--resume",), f"no checkpoint at {tmp_path / 'small-0' / 'checkpoint.pt'}"),
        ("large", (), f"no checkpoint at {tmp_path / 'small-0' / 'only.pt'}"),
        ("small", ("--init", missing), f"no checkpoint at {missing}"),
        ("small", ("--tokenizer", missing), f"no tokeniser at {missing}"),
        ("wrong", (), "300 entries, recipe wrong 512"),
    ):
        assert train(book, tmp_path, name, *options) == 1, words
        assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def pressing(mixture: Callable, times: int) -> Callable:
    """The mixture; while its first example is drawn, Ctrl-C is pressed so many times."""
    left = iter(range(times))

    def drawn(dice: random.Random):
        for _ in left:
            signal.raise_signal(signal.SIGINT)
        return mixture(dice)

    return drawn


def test_second_interrupt_ends_at_once(book: ToyBook, mixture, tmp_path, capsys) -> None:
    """The first Ctrl-C stops a run after its step; a second one, while examples are drawn, leaves the files alone."""
    small = book.recipes()["small"]

    def pressed(times: int, *options: str) -> str:
        stage = replace(small.stages[0], mixture=pressing(mixture, times))
        book.recipes()["small"] = replace(small, stages=(stage,))
        assert train(book, tmp_path, "small", *options) == 130
        return capsys.readouterr().err

    assert pressed(1).endswith("reasoner.training: stopped; --resume goes on from here\n")
    before = {path.name: path.read_bytes() for path in (tmp_path / "small-0").iterdir()}
    told = pressed(2, "--resume")
    assert "reasoner.training: interrupted; --resume goes on from the run's checkpoint" in told
    assert "Traceback" not in told
    assert {path.name: path.read_bytes() for path in (tmp_path / "small-0").iterdir()} == before


def test_interrupted_export_says_so(book: ToyBook, tmp_path, monkeypatch, capsys) -> None:
    """In one line, and the checkpoint is as it was."""
    pytest.importorskip("gguf")
    pytest.importorskip("safetensors")
    train(book, tmp_path, "small")
    kept = tmp_path / "small-0" / "checkpoint.pt"
    before = kept.read_bytes()
    capsys.readouterr()
    monkeypatch.setattr(
        "reasoner.training.export_gguf.named", lambda *_: signal.raise_signal(signal.SIGINT), raising=True
    )
    assert main(["export", str(kept), str(tmp_path / "model")]) == 130
    assert capsys.readouterr().err == "reasoner.training: interrupted; the same command writes everything anew\n"
    assert kept.read_bytes() == before


def test_interrupted_import_is_not_lost(tmp_path, monkeypatch) -> None:
    """Though the module swallows it, as those of PyTorch do; then Ctrl-C is again what it was."""
    swallowing = (
        "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\nexcept BaseException:\n    pass\nended = True\n"
    )
    (tmp_path / "swallowing.py").write_text(swallowing, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        _imported("swallowing")
    assert sys.modules.pop("swallowing").ended
    assert signal.getsignal(signal.SIGINT) is before


def test_nothing_slow_is_imported_before_the_command_runs() -> None:
    """Until `main` runs, a Ctrl-C is a traceback."""
    code = (
        "import sys, reasoner.training.__main__; print(sorted({'torch', 'tokenizers', 'numpy'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


GARBAGE = {"text": b"<html>no such model</html>\n", "nothing": b"", "bytes": bytes(range(256)) * 8}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_by_name(book: ToyBook, tmp_path, garbage: bytes, capsys) -> None:
    """Whatever a command is given for a model or a tokeniser."""
    path, out = tmp_path / "given", tmp_path / "out"
    path.write_bytes(garbage)
    assert refused(train(book, tmp_path, "small", "--init", str(path)), path, capsys)
    assert refused(train(book, tmp_path, "small", "--tokenizer", str(path)), path, capsys)
    pytest.importorskip("gguf")
    pytest.importorskip("safetensors")
    for command in ("export", "hf", "rank"):
        assert refused(main([command, str(path), str(out)]), path, capsys), command
    assert not out.exists()


def test_torn_files_are_refused_by_name(book: ToyBook, tmp_path, capsys) -> None:
    """A copy that broke off, of a checkpoint and of a GGUF file; and a checkpoint of weights of another shape."""
    for name in ("gguf", "safetensors"):
        pytest.importorskip(name)
    assert train(book, tmp_path, "small") == 0
    kept, model = tmp_path / "small-0" / "only.pt", tmp_path / "model"
    assert main(["export", str(kept), str(model)]) == 0
    capsys.readouterr()
    torn, out = tmp_path / "torn", tmp_path / "out"
    for whole, command in ((kept, "export"), (model / "model-f16.gguf", "hf"), (model / "model-f16.gguf", "rank")):
        size = whole.stat().st_size
        for length in (3, size // 50, size // 2, size - 1):
            torn.write_bytes(whole.read_bytes()[:length])
            assert refused(main([command, str(torn), str(out)]), torn, capsys), (command, length)
    found = load(kept)
    replace(found, shape=replace(found.shape, layers=3)).save(torn)
    assert refused(main(["export", str(torn), str(out)]), torn, capsys)


def test_missed_gate_has_a_status_of_its_own(book: ToyBook, tmp_path, capsys) -> None:
    """Scripts can tell a recipe that failed from a command that was wrong."""
    assert train(book, tmp_path, "strict") == 3
    assert "gate missed: strict, stage only" in capsys.readouterr().err
    assert train(book, tmp_path, "strict", "--resume") == 3


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
