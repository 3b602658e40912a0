"""Frozen values that travel between strategies, scheduler and drivers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.errors import QuorateError

NANOS = 1_000_000_000
"""Nanoseconds in a second: time is an integer everywhere below the server."""

YEAR = 31_536_000
"""Seconds in 365 days: more than anybody waits, and far from where nanoseconds as floats lose their meaning."""


class RequestKind(StrEnum):
    """What a model call is for."""

    SAMPLE = "sample"
    PROBE = "probe"
    JUDGE = "judge"
    SCORE = "score"


class Outcome(StrEnum):
    """How a request ended, if it has."""

    FINISHED = "finished"
    TRUNCATED = "truncated"
    FAILED = "failed"
    ABORTED = "aborted"
    RUNNING = "running"
    """Not ended yet: what a strategy that watches a sample sees of it."""


class StopReason(StrEnum):
    """Why a program stopped sampling; part of the wire."""

    CERTAIN = "certain"
    CURTAILED = "curtailed"
    FUTILE = "futile"
    MAX_SAMPLES = "max_samples"
    MAX_TOKENS = "max_tokens"
    DEADLINE = "deadline"
    SINGLE = "single"
    LOAD = "load"
    ABSTAINED = "abstained"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request. `completion` includes `reasoning`."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.prompt + other.prompt, self.completion + other.completion, self.reasoning + other.reasoning)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.prompt - other.prompt, self.completion - other.completion, self.reasoning - other.reasoning)


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure the model's tokens were in one sample, in nats.

    Token confidence is the mean negative log-probability of the top-k candidates (higher: more peaked), group
    confidence its mean over a window of tokens: DeepConf (arXiv 2508.15260), section 3. `mean` is over the whole
    sample, `bottom` over its lowest tenth of groups, `lowest` its lowest group, `tail` its last window.
    `logprob` is the mean log-probability of the tokens chosen (at most 0), over `tokens` tokens; `answer` the same
    over the tokens of the final answer alone, where it could be told apart.
    """

    mean: float
    bottom: float
    lowest: float
    tail: float
    logprob: float
    tokens: int
    answer: float | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked: an OpenAI chat body, opaque to strategies and schedulers."""

    body: Mapping[str, Any]

    def with_body(self, **changes: Any) -> "Prompt":
        """A copy with some fields of the body replaced; a value of None removes the field."""
        removed = {key for key, value in changes.items() if value is None}
        body = {**self.body, **changes}
        return Prompt({key: value for key, value in body.items() if key not in removed})


@dataclass(frozen=True, slots=True)
class Request:
    """One model call owned by a program. `index` numbers the program's requests from 0, in order of launch."""

    program: str
    index: int
    prompt: Prompt
    kind: RequestKind = RequestKind.SAMPLE
    relay: bool = False
    """Show the tokens to the client as they arrive (width 1)."""
    every: int | None = None
    """Show the strategy what there is each time this many more tokens were made."""
    window: int = 2048
    """Tokens of a group when its confidence is measured (`core.confidence`)."""

    @property
    def key(self) -> tuple[str, int]:
        """Identity of the request among all programs."""
        return (self.program, self.index)


@dataclass(frozen=True, slots=True)
class Sample:
    """What an ended request returned.

    `answer` is the canonical answer that votes (None: empty, truncated, failed or nothing comparable);
    `message` is the assistant message as the backend gave it; `seconds` is the time from launch to end.
    """

    index: int
    outcome: Outcome
    answer: str | None = None
    message: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    usage: Usage = Usage()
    seconds: float = 0.0
    error: QuorateError | None = None
    empty: bool = False
    """Whole, but nothing was said outside of the reasoning: never a vote, an answer only where there is no other."""
    confidence: Confidence | None = None
    """Known only where the strategy asked for log-probabilities."""

    @property
    def usable(self) -> bool:
        """Whether the sample says anything at all: a failed one never does."""
        return self.outcome in (Outcome.FINISHED, Outcome.TRUNCATED)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a strategy decides on: the selected sample, why sampling stopped, and how settled it is.

    `certainty` is None when nothing comparable was found. `distribution` counts votes by answer, largest first.
    """

    sample: Sample | None
    stop_reason: StopReason
    certainty: float | None = None
    distribution: tuple[tuple[str, int], ...] = ()
    settled: float | None = None
    """Probability that the full budget would give this answer; what stopping was decided on, where it was."""
    calibrated: bool = False
    """Whether `certainty` is a probability that was checked against outcomes."""
    share: float | None = None
    """Part of the weight that the selector's winner has, where it was too small for the selector to answer."""
    below: float | None = None
    """Of an answer that is withheld: what its `share`, or without one its `certainty`, would have had to be."""
