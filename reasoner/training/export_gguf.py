"""Export for llama.cpp: one GGUF file with weights, tokeniser and chat template."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
from numpy.typing import NDArray

from reasoner.training.checkpoint import Checkpoint
from reasoner.training.shape import NORM_EPSILON, Shape
from reasoner.training.tokens import CONTROL, END_OF_TEXT, TURN_END

Form = Literal["f16", "q8_0"]
Weight = NDArray[np.float32]

_NAMES: Mapping[str, str] = {
    "attention_norm": "attn_norm",
    "feed_norm": "ffn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
_WHOLE: Mapping[str, str] = {
    "embedding.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "output.weight": "output.weight",
}
_BLOCK = 32
"""Weights that share a scale in q8_0."""


def export(checkpoint: Checkpoint, path: Path, form: Form, name: str, *, rerank: str = "") -> None:
    """Write the model, called `name`, with its matrices in 16-bit floats or in 8-bit blocks.

    `rerank`: the prompt of llama.cpp's rerank endpoint, with `{query}` and `{document}` in it. ValueError if a matrix
    has rows that q8_0 cannot divide.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    file_type = gguf.LlamaFileType.MOSTLY_F16 if form == "f16" else gguf.LlamaFileType.MOSTLY_Q8_0
    writer.add_file_type(file_type)
    _describe(writer, checkpoint.shape)
    _add_tokenizer(writer, json.loads(checkpoint.tokenizer))
    writer.add_chat_template(checkpoint.template)
    if rerank:
        writer.add_string(gguf.Keys.Tokenizer.CHAT_TEMPLATE_N.format(name="rerank"), rerank)
    for own, weight in checkpoint.weights.items():
        _add_tensor(writer, *named(own, weight.float().numpy(), checkpoint.shape), form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, shape: Shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ff)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_rope_freq_base(shape.theta)
    writer.add_rope_dimension_count(shape.head)
    writer.add_vocab_size(shape.vocab)


def _add_tokenizer(writer: Any, content: dict[str, Any]) -> None:
    """The entries of a tokenizer.json, in the order of their numbers, each with its type."""
    special = {token["content"]: token["id"] for token in content["added_tokens"]}
    entries = content["model"]["vocab"] | special
    names = sorted(entries, key=entries.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(names)
    writer.add_token_types([_type(name, name in special) for name in names])
    merges = content["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(special[TURN_END])
    writer.add_pad_token_id(special[END_OF_TEXT])
    writer.add_add_bos_token(False)


def _type(name: str, special: bool) -> int:
    """Control tokens are never shown; the tags of the thought are, as text."""
    if name in CONTROL:
        return int(gguf.TokenType.CONTROL)
    return int(gguf.TokenType.USER_DEFINED if special else gguf.TokenType.NORMAL)


def named(own: str, weight: Weight, shape: Shape) -> tuple[str, Weight]:
    """A weight under the name, and with its rows in the order, that llama.cpp knows."""
    if own in _WHOLE:
        return _WHOLE[own], weight
    _, layer, part, _ = own.split(".")
    heads = {"q": shape.heads, "k": shape.kv_heads}.get(part)
    return f"blk.{layer}.{_NAMES[part]}.weight", interleaved(weight, heads) if heads else weight


def interleaved(weight: Weight, heads: int) -> Weight:
    """Rows of each head reordered from (first half, second half) to pairs: llama.cpp turns neighbours, not halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _add_tensor(writer: Any, name: str, weight: Weight, form: Form) -> None:
    if weight.ndim == 1:
        writer.add_tensor(name, weight.astype(np.float32))
    elif form == "f16":
        writer.add_tensor(name, weight.astype(np.float16))
    elif weight.shape[1] % _BLOCK:
        raise ValueError(f"{name} has rows of {weight.shape[1]} weights, no multiple of the {_BLOCK} of q8_0")
    else:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
