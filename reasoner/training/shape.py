"""The size of a model."""

from collections.abc import Mapping
from dataclasses import dataclass

NORM_EPSILON = 1e-5
CONFIG: Mapping[str, str] = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "ff": "intermediate_size",
    "vocab": "vocab_size",
    "context": "max_position_embeddings",
    "theta": "rope_theta",
}
"""Fields of a shape, as config.json of transformers names them."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama with tied embedding: `layers` blocks on a residual stream of `width` channels.

    Each block has `heads` attention heads (`kv_heads` of keys and values) and `ff` feed-forward units. `context` is the
    longest sequence in tokens, `theta` the base of the rotary embedding. ValueError where the numbers do not fit.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    ff: int
    vocab: int = 2048
    context: int = 1280
    theta: float = 10_000.0

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads, self.kv_heads, self.ff, self.vocab, self.context) < 1:
            raise ValueError(f"every size of a shape is positive: {self}")
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} does not split into {self.heads} heads of an even size")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) is no multiple of kv_heads ({self.kv_heads})")

    @property
    def head(self) -> int:
        """Channels of one head."""
        return self.width // self.heads

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of the matrices of one block, by name."""
        queries, keys = self.heads * self.head, self.kv_heads * self.head
        return {
            "q": (queries, self.width),
            "k": (keys, self.width),
            "v": (keys, self.width),
            "o": (self.width, queries),
            "gate": (self.ff, self.width),
            "up": (self.ff, self.width),
            "down": (self.width, self.ff),
        }

    @property
    def parameters(self) -> int:
        """How many numbers the model has; the embedding is counted once."""
        block = sum(rows * columns for rows, columns in self.matrices.values()) + 2 * self.width
        return self.vocab * self.width + self.layers * block + self.width
