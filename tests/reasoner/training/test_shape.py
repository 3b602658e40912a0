"""Shapes: their size, and the nonsense that they refuse."""

import json
from math import prod
from pathlib import Path

import pytest

from reasoner.training.shape import Shape

WEIGHTS = Path(__file__).parents[3] / "reasoner" / "weights"
NAMES = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "ff": "intermediate_size",
    "vocab": "vocab_size",
}
"""Fields of a shape, as config.json has them."""


@pytest.mark.parametrize("folder", sorted(path.parent for path in WEIGHTS.glob("*/config.json")), ids=lambda p: p.name)
def test_parameters_are_those_of_the_shipped_model(folder: Path) -> None:
    """A shape counts as many numbers as there are in the tensors of a model that has it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    raw = (folder / "model.safetensors").read_bytes()
    tensors = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    stored = sum(prod(each["shape"]) for name, each in tensors.items() if name != "__metadata__")
    assert Shape(**{field: config[name] for field, name in NAMES.items()}).parameters == stored


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "positive"),
        ({"heads": 3}, "width 128 does not split into 3 heads"),
        ({"heads": 128}, "heads of an even size"),
        ({"kv_heads": 3}, "no multiple of kv_heads"),
    ],
)
def test_impossible_shape_is_refused(change: dict[str, int], message: str) -> None:
    """Sizes that do not fit together are named."""
    with pytest.raises(ValueError, match=message):
        Shape(**({"width": 128, "layers": 4, "heads": 4, "kv_heads": 2, "ff": 352} | change))
