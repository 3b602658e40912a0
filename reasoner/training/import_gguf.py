"""Back from llama.cpp's file, in any of its forms: for models that are kept as nothing but a GGUF file.

What was rounded stays rounded: of a q8_0 file come the weights of that file, and transformers and vLLM then run the
very model that llama.cpp runs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from reasoner.training.checkpoint import Checkpoint, Progress
from reasoner.training.export_gguf import Weight, named
from reasoner.training.files import reading
from reasoner.training.network import Llama
from reasoner.training.shape import Shape
from reasoner.training.tokens import of_entries

_SIZES: Mapping[str, str] = {
    "width": "llama.embedding_length",
    "layers": "llama.block_count",
    "heads": "llama.attention.head_count",
    "kv_heads": "llama.attention.head_count_kv",
    "ff": "llama.feed_forward_length",
    "vocab": "llama.vocab_size",
    "context": "llama.context_length",
    "theta": "llama.rope.freq_base",
}
_TEXTS = ("tokenizer.chat_template", "tokenizer.ggml.tokens", "tokenizer.ggml.merges")


def read(path: Path) -> Checkpoint:
    """The model of a GGUF file that `export_gguf` wrote, without what training would need to go on.

    ValueError if there is no such file, if it is broken, or if it holds another kind of network.
    """
    if not path.is_file():
        raise ValueError(f"no GGUF file at {path}")
    with reading(path, "a GGUF file"):
        reader = gguf.GGUFReader(path)
        told = {name: field.contents() for name, field in reader.fields.items()}
    if missing := [key for key in (*_SIZES.values(), *_TEXTS) if key not in told]:
        raise ValueError(f"{path} lacks {missing[0]}: not a file that `export` wrote")
    found = {tensor.name: tensor for tensor in reader.tensors}
    with reading(path, "a file that `export` wrote"):
        shape = Shape(**{own: told[key] for own, key in _SIZES.items()})
        weights = {own: _weight(found, own, like.numpy(), shape) for own, like in Llama(shape).state_dict().items()}
        tokenizer = _tokenizer(told)
    if len(found) != len(weights):
        raise ValueError(f"{path} holds {len(found)} tensors, where a network of its shape has {len(weights)}")
    template, name = told["tokenizer.chat_template"], str(told.get("general.name", path.stem))
    return Checkpoint(name, 0, shape, tokenizer, weights, Progress(), template=template)


def _weight(found: Mapping[str, Any], own: str, like: Weight, shape: Shape) -> torch.Tensor:
    """The weight of this name, its rows back in the order of training. `like`: any of the same size."""
    name, _ = named(own, like, shape)
    if name not in found:
        raise ValueError(f"the file has no tensor {name}")
    tensor = found[name]
    held = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    if held.shape != like.shape:
        raise ValueError(f"{name} is {held.shape}, not {like.shape}")
    heads = {"q": shape.heads, "k": shape.kv_heads}.get(own.split(".")[-2])
    return torch.from_numpy(halved(held, heads) if heads else held)


def halved(weight: Weight, heads: int) -> Weight:
    """Rows of each head reordered from pairs to (first half, second half): `export_gguf.interleaved` undone."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _tokenizer(told: Mapping[str, Any]) -> str:
    """The text of tokenizer.json, of the entries in the order of their numbers, and of the merges."""
    entries, merges = told["tokenizer.ggml.tokens"], told["tokenizer.ggml.merges"]
    text: str = of_entries(entries, [merge.split(" ") for merge in merges]).to_str()
    return text
