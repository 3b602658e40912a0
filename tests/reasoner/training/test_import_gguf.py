"""Back from GGUF: the same model, tokeniser and chat template that were exported, and nothing else taken for one."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from tokenizers import Tokenizer

from reasoner.training.__main__ import main
from reasoner.training.checkpoint import Checkpoint, Progress
from reasoner.training.network import Llama

gguf = pytest.importorskip("gguf")
pytest.importorskip("safetensors")
export_gguf, import_gguf = (importlib.import_module(f"reasoner.training.{name}_gguf") for name in ("export", "import"))
TEMPLATE = "{{ messages[0]['content'] }}"


def held(tensor: Any) -> Any:
    """The weights of a tensor."""
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


@pytest.fixture
def checkpoint(shape, tokenizer) -> Checkpoint:
    """A model as it was drawn, its weights rounded to 16 bits, with a template of its own."""
    weights = {name: weight.half().float() for name, weight in Llama(shape, seed=4).state_dict().items()}
    return Checkpoint("toy", 0, shape, tokenizer.to_str(), weights, Progress(), template=TEMPLATE)


def test_f16_comes_back_whole(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """Every weight, the shape, the template, and the tokeniser to the last byte."""
    export_gguf.export(checkpoint, tmp_path / "m.gguf", "f16", "toy")
    read = import_gguf.read(tmp_path / "m.gguf")
    assert (read.recipe, read.shape, read.template) == ("toy", checkpoint.shape, TEMPLATE)
    assert Tokenizer.from_str(read.tokenizer).to_str() == checkpoint.tokenizer
    assert read.weights.keys() == checkpoint.weights.keys()
    assert all(torch.equal(read.weights[name], weight) for name, weight in checkpoint.weights.items())


def test_q8_0_comes_back_as_llama_cpp_has_it(tmp_path: Path, checkpoint: Checkpoint, capsys) -> None:
    """The command's folder, written to q8_0 once more, is the same weights: what was rounded is not rounded again."""
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    export_gguf.export(checkpoint, first, "q8_0", "toy")
    assert main(["hf", str(first), str(tmp_path / "folder")]) == 0
    names = {path.name for path in (tmp_path / "folder").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= names
    read = import_gguf.read(first)
    export_gguf.export(read, second, "q8_0", "toy")
    before, after = ({each.name: held(each) for each in gguf.GGUFReader(path).tensors} for path in (first, second))
    for name, weight in before.items():
        assert np.abs(weight - after[name]).max() <= 1e-6 * np.abs(weight).max()
    assert main(["hf", str(tmp_path / "none.gguf"), str(tmp_path / "folder")]) == 1
    assert "no GGUF file at" in capsys.readouterr().err


def test_other_networks_are_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """A tensor too many, and one of another size, are named or counted."""
    more = {**checkpoint.weights, "blocks.2.q.weight": checkpoint.weights["blocks.1.q.weight"]}
    export_gguf.export(replace(checkpoint, weights=more), tmp_path / "more.gguf", "f16", "toy")
    with pytest.raises(ValueError, match="holds 21 tensors, where a network of its shape has 20"):
        import_gguf.read(tmp_path / "more.gguf")
    odd = {**checkpoint.weights, "blocks.1.up.weight": checkpoint.weights["blocks.1.up.weight"][:32]}
    export_gguf.export(replace(checkpoint, weights=odd), tmp_path / "odd.gguf", "f16", "toy")
    with pytest.raises(ValueError, match=r"blk\.1\.ffn_up\.weight is \(32, 32\), not \(64, 32\)"):
        import_gguf.read(tmp_path / "odd.gguf")
