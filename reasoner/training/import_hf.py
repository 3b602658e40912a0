"""Back from the folder that transformers and vLLM read: what is made of it holds exactly the same 16-bit weights."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from reasoner.examples import CHAT_TEMPLATE
from reasoner.training import tokens
from reasoner.training.checkpoint import Checkpoint, Progress
from reasoner.training.export_hf import config, name_of
from reasoner.training.files import reading
from reasoner.training.network import Llama
from reasoner.training.shape import CONFIG, Shape


def read(folder: Path) -> Checkpoint:
    """The model of an exported folder, without what training would need to go on.

    ValueError where a file is missing or broken, or where config.json describes another kind of network than
    `export_hf` writes.
    """
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} has no {name}: not a folder that `export` wrote")
    described = _object(folder / "config.json")
    missing = [key for key in CONFIG.values() if key not in described]
    if missing:
        raise ValueError(f"{folder / 'config.json'} lacks {missing[0]}")
    with reading(folder / "config.json", "of a network that `export` writes"):
        shape = Shape(**{own: described[key] for own, key in CONFIG.items()})
        drawn = {own: weight.shape for own, weight in Llama(shape).state_dict().items()}
    for key, value in config(shape, described.get("eos_token_id", 0), described.get("pad_token_id", 0)).items():
        if described.get(key) != value:
            raise ValueError(f"{folder / 'config.json'}: {key} is {described.get(key)!r}, not {value!r}")
    with reading(folder / "model.safetensors", "a file of tensors"):
        found = load_file(folder / "model.safetensors")
    names = {own: name_of(own) for own in drawn}
    if {names[own]: size for own, size in drawn.items()} != {name: weight.shape for name, weight in found.items()}:
        raise ValueError(f"{folder / 'model.safetensors'} holds other tensors than its config.json describes")
    weights = {own: found[name].float() for own, name in names.items()}
    tokens.load(folder / "tokenizer.json")
    tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
    return Checkpoint(folder.resolve().name, 0, shape, tokenizer, weights, Progress(), template=_template(folder))


def _object(path: Path) -> dict[str, Any]:
    with reading(path, "a JSON object"):
        return {**json.loads(path.read_text(encoding="utf-8"))}


def _template(folder: Path) -> str:
    path = folder / "tokenizer_config.json"
    told: dict[str, str] = _object(path) if path.is_file() else {}
    return told.get("chat_template", CHAT_TEMPLATE)
