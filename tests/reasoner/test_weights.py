"""The shipped models: whole, as documented, and in both forms the same shape."""

import hashlib
import json
import re
from math import prod
from pathlib import Path

import pytest

from tests.reasoner.conftest import WEIGHTS

FILES = {
    "config.json",
    "generation_config.json",
    "model-q8_0.gguf",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
"""Of a model that transformers, vLLM and llama.cpp can serve."""
MODELS = sorted(path.name for path in WEIGHTS.iterdir() if path.is_dir())
IN_BOTH_FORMS = [model for model in MODELS if (WEIGHTS / model / "config.json").exists()]


def test_readme_lists_every_file_with_its_hash(weights: Path) -> None:
    """The provenance page names exactly the files that are there, with their sha256 and size."""
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)  (\d+)$", (weights / "README.md").read_text(), re.MULTILINE)
    there = [
        (hashlib.sha256(path.read_bytes()).hexdigest(), str(path.relative_to(weights)), str(path.stat().st_size))
        for path in sorted(weights.glob("*/*"))
    ]
    assert listed == there


def test_weights_stay_small(weights: Path) -> None:
    """All weights together stay within 20 MB: they travel with every clone."""
    assert sum(path.stat().st_size for path in weights.rglob("*") if path.is_file()) <= 20_000_000


def test_nothing_is_missing(weights: Path) -> None:
    """A model comes in both forms, with all that they need, or as one GGUF file; those of the demonstration in both."""
    assert {"reasoner-small", "reasoner-large"} <= set(IN_BOTH_FORMS)
    for model in MODELS:
        there = {path.name for path in (weights / model).iterdir()}
        assert there == (FILES if model in IN_BOTH_FORMS else {"model-q8_0.gguf"}), model


@pytest.mark.parametrize("model", IN_BOTH_FORMS)
def test_safetensors_fit_the_config(weights: Path, model: str) -> None:
    """The tensors have the layers and widths of config.json, and as many numbers as the provenance page says."""
    config = json.loads((weights / model / "config.json").read_text())
    raw = (weights / model / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    tensors = {name: t["shape"] for name, t in json.loads(raw[8 : 8 + size]).items() if name != "__metadata__"}
    layers = {int(m[1]) for name in tensors if (m := re.match(r"model\.layers\.(\d+)\.", name))}
    assert layers == set(range(config["num_hidden_layers"]))
    assert tensors["model.embed_tokens.weight"] == [config["vocab_size"], config["hidden_size"]]
    assert f" {sum(map(prod, tensors.values())):,} " in (weights / "README.md").read_text()


@pytest.mark.parametrize("model", IN_BOTH_FORMS)
def test_chat_template_opens_the_thought(weights: Path, model: str) -> None:
    """Both forms carry the same chat template, which leaves the reply to begin inside the thought."""
    template = json.loads((weights / model / "tokenizer_config.json").read_text())["chat_template"]
    assert r"<|im_start|>assistant\n<think>\n" in template
    assert template.encode() in (weights / model / "model-q8_0.gguf").read_bytes()
