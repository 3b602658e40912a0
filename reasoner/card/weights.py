"""Blocks of the card on the shipped files: what each model is, and the sha256 of everything."""

import hashlib
import json
from pathlib import Path
from typing import Any

from reasoner.card.sources import Sources, place
from reasoner.card.tables import megabytes, table
from reasoner.training.shape import CONFIG, Shape

LLAMA_CPP, TRANSFORMERS = "model-q8_0.gguf", "model.safetensors"


def models(folder: Path) -> list[Path]:
    """The folders of the shipped models, smallest first."""
    found = (path.parent for path in folder.glob("*/config.json"))
    return sorted(found, key=lambda model: (place(model.name), model.name))


def shape(model: Path) -> Shape:
    """The shape that a model's config.json tells."""
    config: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return Shape(**{own: config[key] for own, key in CONFIG.items()})


def described(sources: Sources) -> str:
    """A row per shipped model: parameters, shape, sizes of both forms."""
    header = ("model", "parameters", "layers", "width", "heads (KV)", "feed-forward", "vocabulary", "context",
              f"`{LLAMA_CPP}` (llama.cpp)", f"`{TRANSFORMERS}` (fp16; transformers, vLLM)")  # fmt: skip
    return table(header, (_described(model) for model in models(sources.weights)))


def _described(model: Path) -> tuple[object, ...]:
    told = shape(model)
    sizes = (megabytes((model / name).stat().st_size) for name in (LLAMA_CPP, TRANSFORMERS))
    heads = f"{told.heads} ({told.kv_heads})"
    return (f"`{model.name}`", f"{told.parameters:,}", told.layers, told.width, heads, told.ff, told.vocab,
            f"{told.context:,}", *sizes)  # fmt: skip


def shipped(folder: Path) -> list[Path]:
    """All files of all models."""
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def files(sources: Sources) -> str:
    """sha256, name and bytes of every shipped file, as a block of text."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(sources.weights)}  {path.stat().st_size}"
        for path in shipped(sources.weights)
    ]
    return "\n".join(("```", *lines, "```"))
