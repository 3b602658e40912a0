"""What goes into the engine model, and what comes out. Times are integer nanoseconds."""

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from sim.engine.cost import StepCost


@dataclass(frozen=True, slots=True)
class EngineParameters:
    """One server: what a step costs and how the scheduler is set.

    The names are those of vLLM's options; `kv_blocks` is what `--num-gpu-blocks-override` would set. The last two are
    of its front, the process that speaks HTTP and makes tokens of text: a call keeps it busy for `intake` nanoseconds,
    one call after another, and reaches the engine's queue `admission` nanoseconds later (there and back again). Raises
    ValueError, naming the field, for what vLLM would not start with.
    """

    cost: StepCost
    kv_blocks: int
    block_size: int = 16
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    max_model_len: int = 8192
    prefix_caching: bool = True
    priority_scheduling: bool = False
    name: str = ""
    intake: int = 0
    admission: int = 0

    def __post_init__(self) -> None:
        for field in ("kv_blocks", "block_size", "max_num_seqs", "max_num_batched_tokens", "max_model_len"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}, and must be at least 1.")
        for field in ("intake", "admission"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} is {getattr(self, field)}, and must be at least 0 nanoseconds.")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens ({self.max_num_batched_tokens}) is less than "
                f"max_num_seqs ({self.max_num_seqs})."
            )
        if self.kv_blocks * self.block_size < self.max_model_len:
            raise ValueError(
                f"kv_blocks holds {self.kv_blocks * self.block_size} tokens, "
                f"less than one sequence of max_model_len ({self.max_model_len})."
            )

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "cost": self.cost.record()}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """From JSON as `record` makes it; what is left out has its default. Raises ValueError if it is not that."""
        try:
            return cls(**{**record, "cost": StepCost.read(record["cost"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"These are not the parameters of an engine: {error}.") from error


@dataclass(frozen=True, slots=True)
class Work:
    """One model call: `prompt` tokens in, `completion` tokens to be made (both at least 1).

    `prefix` names a text: calls with the same non-empty prefix share the beginning of their prompts, the whole prompt
    where the lengths are equal. `priority`: lower goes first, where the engine schedules by priority.
    """

    key: Hashable
    prompt: int
    completion: int
    prefix: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """A call that made its last token `at`: prompt tokens from the prefix cache, and how often it lost its seat."""

    key: Hashable
    at: int
    cached: int
    preempted: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """What `/metrics` would say: `kv_usage` is a share in [0, 1], the last four are totals since the engine was made.

    A prompt is counted, and what the cache held of it, when it is first admitted.
    """

    running: int
    waiting: int
    kv_usage: float
    preemptions: int
    prompt_tokens: int
    cached_tokens: int
    generation_tokens: int
