"""A folder for transformers gives back the model that was written, and the GGUF files beside it are made of it."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("gguf")

import torch

from reasoner.training.__main__ import main
from reasoner.training.checkpoint import Checkpoint, Progress
from reasoner.training.network import Llama


@pytest.fixture
def checkpoint(shape, tokenizer) -> Checkpoint:
    """A model of 32-bit weights, as training leaves it: norms, which start at one, too."""
    noise = torch.Generator().manual_seed(7)
    drawn = Llama(shape, seed=4).state_dict()
    weights = {name: weight + 0.01 * torch.randn(weight.shape, generator=noise) for name, weight in drawn.items()}
    return Checkpoint("toy", 0, shape, tokenizer.to_str(), weights, Progress(), template="{{ messages[0].content }}")


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    """What the command writes."""
    checkpoint.save(tmp_path / "checkpoint.pt")
    assert main(["export", str(tmp_path / "checkpoint.pt"), str(tmp_path / "toy")]) == 0
    return tmp_path / "toy"


def read(folder: Path) -> Checkpoint:
    """The folder's model."""
    found: Checkpoint = importlib.import_module("reasoner.training.import_hf").read(folder)
    return found


def test_what_was_written_comes_back(folder: Path, checkpoint: Checkpoint) -> None:
    """Shape, tokeniser, template, and every weight rounded to 16 bits, in the order of training."""
    found = read(folder)
    assert (found.shape, found.template, found.recipe) == (checkpoint.shape, checkpoint.template, "toy")
    assert json.loads(found.tokenizer) == json.loads(checkpoint.tokenizer)
    assert list(found.weights) == list(checkpoint.weights)
    for name, weight in checkpoint.weights.items():
        assert torch.equal(found.weights[name], weight.half().float())


def test_llama_cpp_is_given_the_same_numbers(folder: Path) -> None:
    """Norms are 32-bit floats in a GGUF file: they too are the folder's, not the checkpoint's unrounded ones."""
    gguf = importlib.import_module("gguf")
    tensors = {each.name: each for each in gguf.GGUFReader(folder / "model-f16.gguf").tensors}
    held = torch.tensor(tensors["output_norm.weight"].data)
    assert torch.equal(held, read(folder).weights["norm.weight"])
    assert torch.equal(held, held.half().float())


@pytest.mark.parametrize("form", ["f16", "q8_0"])
def test_a_gguf_file_follows_from_the_folder(folder: Path, tmp_path: Path, form: str) -> None:
    """Byte for byte: whoever has a folder can make the file that is not beside it."""
    assert main(["gguf", str(folder), str(tmp_path / "made.gguf"), "--form", form]) == 0
    assert (tmp_path / "made.gguf").read_bytes() == (folder / f"model-{form}.gguf").read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rms_norm_eps": 1e-6}, "rms_norm_eps is 1e-06, not 1e-05"),
        ({"num_hidden_layers": 1}, "holds other tensors than its config.json describes"),
        ({"rope_theta": None}, "lacks rope_theta"),
    ],
)
def test_another_network_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """llama.cpp would run it, and say something else."""
    path = folder / "config.json"
    changed = json.loads(path.read_text(encoding="utf-8")) | change
    path.write_text(json.dumps({key: value for key, value in changed.items() if value is not None}), encoding="utf-8")
    assert main(["gguf", str(folder), str(tmp_path / "made.gguf")]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "made.gguf").exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file that it lacks is named."""
    assert main(["gguf", str(tmp_path), str(tmp_path / "made.gguf")]) == 1
    assert "has no config.json" in capsys.readouterr().err


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"{", b"[]", b"7", b"<html>"], ids=repr)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_a_broken_file_is_named(
    folder: Path, tmp_path: Path, name: str, garbage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, whichever of the folder's files it is."""
    (folder / name).write_bytes(garbage)
    capsys.readouterr()
    assert main(["gguf", str(folder), str(tmp_path / "made.gguf")]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"reasoner.training: {folder / name} ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(("key", "value"), [("hidden_size", "32"), ("intermediate_size", 96), ("num_hidden_layers", 0)])
def test_sizes_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, key: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no size, and sizes that the tensors do not have."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    assert main(["gguf", str(folder), str(tmp_path / "made.gguf")]) == 1
    assert str(folder) in capsys.readouterr().err
