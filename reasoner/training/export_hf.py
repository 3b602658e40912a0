"""Export for transformers and vLLM: a folder with a LlamaForCausalLM, its tokeniser and its chat template."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from reasoner.training.checkpoint import Checkpoint
from reasoner.training.shape import NORM_EPSILON, Shape
from reasoner.training.tokens import END_OF_TEXT, TURN_END

_NAMES: Mapping[str, str] = {
    "attention_norm": "input_layernorm",
    "feed_norm": "post_attention_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


def export(checkpoint: Checkpoint, folder: Path) -> None:
    """Write model.safetensors (16-bit floats), config.json, generation_config.json and the tokeniser's two files."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
    end, padding = tokenizer.token_to_id(TURN_END), tokenizer.token_to_id(END_OF_TEXT)
    half = {name: weight.half().contiguous() for name, weight in renamed(checkpoint.weights).items()}
    weights = folder / "model.safetensors"
    save_file(half, weights, metadata={"format": "pt"})
    # It is written for its owner alone, and served by somebody else.
    weights.chmod(0o644)
    _write(folder / "config.json", config(checkpoint.shape, end, padding), indent=1)
    generation = {"eos_token_id": [end], "pad_token_id": padding, "do_sample": True, "temperature": 1.0}
    _write(folder / "generation_config.json", generation)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=False), encoding="utf-8")
    _write(folder / "tokenizer_config.json", _tokenizer_config(checkpoint.shape, checkpoint.template), indent=1)


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names that transformers gives them."""
    return {name_of(own): weight for own, weight in weights.items()}


def name_of(own: str) -> str:
    """The name that transformers gives a weight."""
    if own in ("embedding.weight", "norm.weight"):
        return {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}[own]
    _, layer, part, _ = own.split(".")
    return f"model.layers.{layer}.{_NAMES[part]}.weight"


def config(shape: Shape, end: int, padding: int) -> dict[str, Any]:
    """What config.json says. `end`, `padding`: token numbers."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.width,
        "intermediate_size": shape.ff,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": shape.theta,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": padding,
        "torch_dtype": "float16",
    }


def _tokenizer_config(shape: Shape, template: str) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "model_max_length": shape.context,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
    }


def _write(path: Path, content: dict[str, Any], indent: int | None = None) -> None:
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
