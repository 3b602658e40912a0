"""The network: a Llama as in `transformers`, in the few lines that training on short texts needs.

RMSNorm, rotary position embedding (rotating the two halves of a head against each other), SwiGLU, grouped-query
attention, and an output head that is the embedding itself.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reasoner.training.shape import NORM_EPSILON, Shape

EMBEDDING_STD = 0.02
_BLOCK = 128
"""Queries that attend at once."""


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
        computed_in = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else self.cos.dtype
        turn = self.cos[:length, None].to(computed_in), self.sin[:length, None].to(computed_in)
        mask = torch.full((length, length), -torch.inf, dtype=computed_in).triu(1)
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, turn, mask)
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

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """The stream (rows, length, width) after this block. `turn`: cosine and sine of each position's angles."""
        x = x + self.o(self._attend(self.attention_norm(x), turn, mask))
        # Cast once for both matrices that read it (autocast would, for each of them).
        y = self.feed_norm(x).to(mask.dtype)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))

    def _attend(self, y: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        heads, kv_heads = self.shape.heads, self.shape.kv_heads
        weights = torch.cat((self.q.weight, self.k.weight, self.v.weight))
        of_heads = functional.linear(y, weights).unflatten(-1, (-1, self.shape.head))
        to_turn, v = of_heads.split((heads + kv_heads, kv_heads), 2)
        q, k = rotated(to_turn, *turn).split((heads, kv_heads), 2)
        return attention(q, k, v, mask)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads (..., length, heads, head) with each pair of channels (i, i + head/2) turned by the angle of its position.

    `cos`, `sin`: of the angles, (length, 1, head/2).
    """
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Causal attention of heads (rows, length, heads, head), with fewer heads of keys and values; gives (..., width).

    `mask` is added to the scores: (length, length), minus infinity above the diagonal. PyTorch's own function is two to
    four times slower here: its bfloat16 backward pass is not made for CPUs. Queries go in blocks, each against the keys
    up to its end, which saves most of what the mask would hide.
    """
    rows, length, kv_heads, head = k.shape
    shared = q.shape[2] // kv_heads
    q = q.unflatten(2, (kv_heads, shared)).permute(0, 2, 3, 1, 4).reshape(rows * kv_heads, shared, length, head)
    k, v = (x.transpose(1, 2).reshape(rows * kv_heads, length, head) for x in (k, v))
    blocks = []
    for start in range(0, length, _BLOCK):
        end = min(start + _BLOCK, length)
        # Heads that share keys stand below each other, as more queries of one matrix product.
        queries = q[:, :, start:end].reshape(rows * kv_heads, -1, head)
        hidden = mask[start:end, :end].repeat(shared, 1)[None]
        scores = torch.baddbmm(hidden, queries, k[:, :end].mT, alpha=head**-0.5)
        blocks.append((scores.softmax(-1) @ v[:, :end]).unflatten(1, (shared, -1)))
    mixed = torch.cat(blocks, 2).view(rows, kv_heads, shared, length, head)
    return mixed.permute(0, 3, 1, 2, 4).reshape(rows, length, -1)
