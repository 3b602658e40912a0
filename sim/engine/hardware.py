"""Servers by name: what a step costs on a GPU, from the sheet of the card and the configuration of the model.

A step takes the longer of two times, plus an overhead (a roofline):

    memory:  (bytes of weights + bytes of the cache that is read) / (bandwidth x MEMORY_SHARE)
    compute: 2 x parameters x tokens of the step / (FLOP/s x COMPUTE_SHARE)

What attention computes is left out: 3 % of the whole at 2,000 tokens of context with the 8B model. The two shares and
the overheads are of published or assumed origin, as said at each; `sim.engine.fitting` replaces all of them by what a
live server shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sim.engine.cost import Linear, StepCost
from sim.engine.types import EngineParameters

MEMORY_SHARE = 0.80
"""Achieved share of the card's bandwidth. With STEP_OVERHEAD it gives 6.5 ms a token for one call to Llama 3.1 8B on an
H100, where 6.48 were measured (vLLM 0.21, yobitelcomm.github.io/bench/recipes/concurrency-sweep), and 13.4 ms on an
A100 of 40 GB (1,555 GB/s), where 13.3 were (vLLM 0.23, johnmusgrave.com/p/vllm-throughput-latency-sweep-on)."""

COMPUTE_SHARE = 0.60
"""Achieved share of the card's dense bf16 FLOP/s in prefill. Assumed: no published measurement with a method was found.
Large matrix products alone reach about 0.8."""

STEP_OVERHEAD = 500_000.0
"""Nanoseconds of a step that are neither: kernel launches, sampling, scheduling. Assumed, see MEMORY_SHARE."""

ALL_REDUCE = 10_000.0
"""Nanoseconds of one small all-reduce over NVLink, assumed; tensor parallelism makes two a layer (Shoeybi et al. 2019,
section 3)."""

USABLE = 0.92
"""vLLM's default `--gpu-memory-utilization` (0.32)."""

ACTIVATIONS = 2.0e9
"""Bytes on each card for activations and CUDA graphs. Assumed; vLLM measures them when it starts."""

BLOCK = 16
"""Tokens in a block of the KV cache: vLLM's default on NVIDIA cards."""

BF16 = 2
"""Bytes of one weight, and of one number in the cache."""


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU: bytes a second, dense bf16 FLOP/s, bytes, and what vLLM's API server takes as defaults on it."""

    bandwidth: float
    flops: float
    memory: float
    max_num_seqs: int
    max_num_batched_tokens: int


@dataclass(frozen=True, slots=True)
class Model:
    """A dense transformer: parameters, layers, heads of keys and values, and their size."""

    parameters: float
    layers: int
    kv_heads: int
    head_size: int

    @property
    def kv_bytes(self) -> int:
        """Bytes that one token takes in the cache: keys and values of every layer."""
        return 2 * self.layers * self.kv_heads * self.head_size * BF16


A100 = Card(2.039e12, 312e12, 80e9, 256, 2048)
"""A100 SXM 80 GB: NVIDIA A100 datasheet. Defaults: vllm/engine/arg_utils.py, `get_batch_defaults`."""

H100 = Card(3.35e12, 989e12, 80e9, 1024, 8192)
"""H100 SXM 80 GB: NVIDIA H100 datasheet (1,979 TFLOPS are with sparsity). Defaults: as for the A100."""

LLAMA_8B = Model(8.03e9, 32, 8, 128)
"""Llama 3.1 8B: config.json and model card of meta-llama/Llama-3.1-8B."""

LLAMA_70B = Model(70.6e9, 80, 8, 128)
"""Llama 3.1 70B: config.json and model card of meta-llama/Llama-3.1-70B."""


def server(card: Card, model: Model, cards: int = 1, *, max_model_len: int = 8192, name: str = "") -> EngineParameters:
    """A model on so many cards by tensor parallelism, which share weights, cache and work evenly.

    Raises ValueError if it does not fit.
    """
    weights = model.parameters * BF16
    room = cards * (card.memory * USABLE - ACTIVATIONS) - weights
    blocks = int(room // (model.kv_bytes * BLOCK))
    if blocks * BLOCK < max_model_len:
        raise ValueError(f"{cards} cards leave no room for one sequence of {max_model_len} tokens beside the weights.")
    bandwidth, flops = cards * card.bandwidth * MEMORY_SHARE / 1e9, cards * card.flops * COMPUTE_SHARE / 1e9
    token = 2 * model.parameters / flops
    memory = Linear(fixed=weights / bandwidth, per_kv=model.kv_bytes / bandwidth)
    compute = Linear(per_decode=token, per_prefill=token)
    reduce = 2 * model.layers * ALL_REDUCE if cards > 1 else 0.0
    return EngineParameters(
        StepCost((memory, compute), STEP_OVERHEAD + reduce),
        kv_blocks=blocks,
        block_size=BLOCK,
        max_num_seqs=card.max_num_seqs,
        max_num_batched_tokens=card.max_num_batched_tokens,
        max_model_len=max_model_len,
        name=name,
    )


HARDWARE: Mapping[str, tuple[Card, Model, int]] = {
    "a100-8b": (A100, LLAMA_8B, 1),
    "h100-8b": (H100, LLAMA_8B, 1),
    "a100x4-70b": (A100, LLAMA_70B, 4),
    "h100x4-70b": (H100, LLAMA_70B, 4),
}
"""Name to card, model and number of cards."""


def named(name: str, *, max_model_len: int = 8192) -> EngineParameters:
    """The server of this name. Raises ValueError, naming those that there are."""
    if name not in HARDWARE:
        raise ValueError(f"There is no hardware {name!r}; there is {', '.join(HARDWARE)}.")
    card, model, cards = HARDWARE[name]
    return server(card, model, cards, max_model_len=max_model_len, name=name)
