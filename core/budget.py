"""What a program may spend, and what it has spent."""

from dataclasses import dataclass, replace
from math import isfinite

from core.errors import InvalidRequest
from core.types import NANOS, Answer, Outcome, Sample, StopReason, Usage

ABSTAIN_BELOW = 0.95


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one program: samples (counts), tokens (all samples together), seconds, certainty target in (0, 1].

    Without a target the strategy has its own; an abstention then needs less than `ABSTAIN_BELOW`.
    """

    max_samples: int = 1
    min_samples: int = 1
    max_tokens: int | None = None
    max_seconds: float | None = None
    certainty: float | None = None
    abstain: bool = False

    def __post_init__(self) -> None:
        if self.max_samples < 1:
            raise InvalidRequest("max_samples must be at least 1.", param="compute_budget.max_samples")
        if not 1 <= self.min_samples <= self.max_samples:
            raise InvalidRequest("min_samples must be between 1 and max_samples.", param="compute_budget.min_samples")
        if self.certainty is not None and not 0 < self.certainty <= 1:
            raise InvalidRequest("certainty must be above 0 and at most 1.", param="compute_budget.certainty")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InvalidRequest("max_tokens must be at least 1.", param="compute_budget.max_tokens")
        if self.max_seconds is not None and not (self.max_seconds > 0 and isfinite(self.max_seconds)):
            raise InvalidRequest("max_seconds must be above 0 and finite.", param="compute_budget.max_seconds")

    def settle(self, answer: Answer, least: float | None = None) -> Answer:
        """The answer, or with `abstain` an abstention where its certainty stays below the target.

        `least` is the calibrated certainty that keeps the target (`core.calibration.Profile.least`).
        """
        below = least if least is not None and answer.calibrated else self.target
        withheld = answer.stop_reason is StopReason.ABSTAINED  # by the selector, for reasons of its own
        if self.abstain and not withheld and (answer.certainty or 0.0) < below:
            return replace(answer, stop_reason=StopReason.ABSTAINED, below=below)
        return answer

    @property
    def target(self) -> float:
        """The certainty below which a program that may abstain does."""
        return ABSTAIN_BELOW if self.certainty is None else self.certainty

    @property
    def max_nanos(self) -> int | None:
        """The deadline as a span in nanoseconds."""
        return None if self.max_seconds is None else max(1, round(self.max_seconds * NANOS))


class Ledger:
    """What one program has spent so far. Tokens of running requests count as they are made.

    `started` and `outcomes` count all requests, `sampled` and `samples` without those beside the samples (probes, ...).
    `usage` is by request; `lost` is that of attempts at requests which came to nothing, and were made again elsewhere.
    """

    def __init__(self) -> None:
        self.started = 0
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.sampled = 0
        self.samples: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self._beside: set[int] = set()
        self.usage: dict[int, Usage] = {}
        self.lost = Usage()
        self._completion = 0

    @property
    def completion_tokens(self) -> int:
        """All generated tokens: finished, running and aborted requests alike."""
        return self._completion

    @property
    def total(self) -> Usage:
        """Sum over all requests."""
        return sum(self.usage.values(), self.lost)

    def start(self, index: int, *, beside: bool = False) -> None:
        """A request was handed to a backend."""
        self.started += 1
        self.sampled += not beside
        if beside:
            self._beside.add(index)
        self.usage.setdefault(index, Usage())

    def progress(self, index: int, usage: Usage) -> None:
        """A request has made this many tokens in all; counts never fall."""
        known = self.usage.get(index, Usage())
        merged = Usage(
            max(known.prompt, usage.prompt),
            max(known.completion, usage.completion),
            max(known.reasoning, usage.reasoning),
        )
        self._completion += merged.completion - known.completion
        self.usage[index] = merged

    def lose(self, index: int) -> Usage:
        """The attempt whose tokens are on this request's account came to nothing; another one takes its place."""
        gone = self.usage.get(index, Usage())
        self.lost += gone
        self.usage[index] = Usage()
        return gone

    def waste(self, usage: Usage) -> None:
        """An attempt on nobody's account has made this much more; less than nothing where it comes onto one."""
        self.lost += usage
        self._completion += usage.completion

    def cut(self, sample: Sample, was: Outcome = Outcome.ABORTED) -> None:
        """A request that was counted as ended otherwise stands as the answer: it ended like this, then."""
        self._count(sample.index, was, -1)
        self._count(sample.index, sample.outcome, 1)

    def _count(self, index: int, outcome: Outcome, by: int) -> None:
        self.outcomes[outcome] += by
        if index not in self._beside:
            self.samples[outcome] += by

    def end(self, sample: Sample) -> None:
        """A request ended; its final counts replace the running ones."""
        self._count(sample.index, sample.outcome, 1)
        self.progress(sample.index, sample.usage)
