"""The network: a Llama as in `transformers`, in the few lines that training on short texts needs.

RMSNorm, rotary position embedding (rotating the two halves of a head against each other), SwiGLU, grouped-query
attention, and an output head that is the embedding itself.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reasoner.training.shape import NORM_EPSILON, Shape

EMBEDDING_STD = 0.02


class Llama(nn.Module):
    """A model of the given shape, its weights drawn from `seed`."""

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        frequencies = shape.theta ** -(torch.arange(0, shape.head, 2).float() / shape.head)
        angles = torch.outer(torch.arange(shape.context).float(), frequencies)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self._draw(torch.Generator().manual_seed(seed))

    def _draw(self, dice: torch.Generator) -> None:
        """Matrices at one over the root of their inputs, half that where they write to the residual stream."""
        for name, weight in self.named_parameters():
            if name == "embedding.weight":
                nn.init.normal_(weight, std=EMBEDDING_STD, generator=dice)
            elif weight.dim() == 2:
                scale = 0.5 if name.endswith(("o.weight", "down.weight")) else 1.0
                nn.init.normal_(weight, std=scale * weight.shape[1] ** -0.5, generator=dice)

    def hidden(self, ids: Tensor) -> Tensor:
        """What the output head reads at each position. `ids`: token numbers (rows, length); gives (..., width)."""
        length = ids.shape[1]
        x, turn = self.embedding(ids), (self.cos[:length], self.sin[:length])
        for block in self.blocks:
            x = block(x, turn)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """The score of every token of the vocabulary as the next one: (..., width) to (..., vocab)."""
        return functional.linear(hidden, self.embedding.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits at every position: (rows, length) to (rows, length, vocab)."""
        return self.logits(self.hidden(ids))


class Block(nn.Module):
    """Attention, then a gated feed-forward network, each added to the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.attention_norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        self.feed_norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        for name, (rows, columns) in shape.matrices.items():
            setattr(self, name, nn.Linear(columns, rows, bias=False))

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """The stream (rows, length, width) after this block. `turn`: cosine and sine of each position's angles."""
        x = x + self.o(self._attend(self.attention_norm(x), turn))
        y = self.feed_norm(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))

    def _attend(self, y: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        rows, length, _ = y.shape
        q = rotated(self._heads(self.q(y)), *turn)
        k = rotated(self._heads(self.k(y)), *turn)
        v = self._heads(self.v(y))
        shared = self.shape.heads // self.shape.kv_heads
        k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return mixed.transpose(1, 2).reshape(rows, length, -1)

    def _heads(self, x: Tensor) -> Tensor:
        """(rows, length, heads * head) to (rows, heads, length, head)."""
        return x.unflatten(-1, (-1, self.shape.head)).transpose(1, 2)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads (..., length, head) with each pair of channels (i, i + head/2) turned by the angle of its position."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
