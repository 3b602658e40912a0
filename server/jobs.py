"""What the live driver is given for one client request, and what it gives back."""

from asyncio import Task
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.calibration import UNCALIBRATED, Profile
from core.errors import BackendError
from core.program import Program
from core.types import Answer, Prompt, Request, Sample, Usage
from server.assembly import Assembly
from server.backends.base import Backend, Chunk
from server.budgets import Plan
from strategies.answers import Kind


class Sink(Protocol):
    """Where a program's signs of life go: the streamed response, or nowhere."""

    def accepted(self) -> None:
        """A backend has accepted the first request."""

    async def relay(self, chunk: Chunk) -> None:
        """A chunk of the sample that is shown as it is made; waits while the client is slow."""

    def progress(self, answer: Answer, program: Program) -> None:
        """The answer as it stands after one more sample."""


class Silence:
    """The sink of a plain response."""

    def accepted(self) -> None:
        """Nothing to open."""

    async def relay(self, chunk: Chunk) -> None:
        """Nobody watches."""

    def progress(self, answer: Answer, program: Program) -> None:
        """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Job:
    """One client request, ready to run. `id` is ours, `request_id` the client's where it named one.

    `backends` are those that serve the
    model. `plain` asks for an unstreamed body when one sample is relayed. Lower `priority` goes first.
    """

    id: str
    request_id: str
    model: str
    backends: tuple[str, ...]
    plan: Plan
    prompt: Prompt
    kind: Kind
    plain: bool = True
    priority: int = 0
    tenant: str = ""
    """Whose request it is; empty: nobody's that the settings name."""
    profile: Profile = UNCALIBRATED
    """What calibration learned of the model on such tasks."""
    known: tuple[str, ...] = ()
    """Answers under whose spelling equal ones are counted, whoever gave them."""


@dataclass(eq=False, slots=True)
class Attempt:
    """One try at a request, on one backend: what it has made, when its connection was open, what it failed with.

    `rank` is its place in the engine's own queue, as the scheduler wants it (`scheduler.events.Start`).
    """

    number: int
    backend: Backend
    rank: int
    started: int
    closed: int | None = None
    error: BackendError | None = None
    assembly: Assembly = field(default_factory=Assembly)
    aside: Usage = field(default_factory=Usage)
    """What of it counts as lost, since another attempt is on the request's account (`server.attempts`)."""
    task: Task[None] | None = None

    def cancel(self) -> None:
        """End it, if it runs."""
        if self.task is not None:
            self.task.cancel()


@dataclass(slots=True)
class Record:
    """What the driver knows of one request: when it ran, its chunks, and its verbatim body if it was plain."""

    request: Request
    submitted: int
    started: int | None = None
    ended: int | None = None
    closed: int | None = None
    superfluous: bool = False
    """Another sample already stands for its answer: its chunks will never be shown."""
    attempts: dict[int, Attempt] = field(default_factory=dict)
    won: int | None = None
    """The attempt that came to an end that counts."""
    shown: int | None = None
    """The attempt of which some has been relayed: no other may take its place."""
    lost: Usage = field(default_factory=Usage)
    """What attempts made that came to nothing."""
    assembly: Assembly = field(default_factory=Assembly)
    body: Mapping[str, Any] | None = None
    sample: Sample | None = None

    @property
    def open(self) -> list[Attempt]:
        """Attempts whose connection is open."""
        return [attempt for attempt in self.attempts.values() if attempt.closed is None]


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a program: the answer, the books, and the times in nanoseconds.

    `overhead` is the gateway's own time: no request in flight, none waiting for a slot. `queued` is the time in which
    nothing ran because all that there was waited.
    """

    job: Job
    answer: Answer
    program: Program
    records: Mapping[int, Record]
    elapsed: int
    overhead: int
    queued: int

    @property
    def selected(self) -> Record | None:
        """The record of the selected sample."""
        return None if self.answer.sample is None else self.records[self.answer.sample.index]


def settle_words(answer: Answer, records: Mapping[int, Record]) -> None:
    """Give the answer's record the words that a stream shows, where it has not kept them as they came.

    That is where the strategy has put them together itself, or has chosen a sample for whose answer another one stood.
    """
    sample = answer.sample
    if sample is None:
        return
    record = records[sample.index]
    own = record.sample is not None and record.sample.message is sample.message
    if own and not record.superfluous:
        return
    extra, logprobs = (record.assembly.extra, record.assembly.logprobs) if own else ({}, None)
    record.assembly = said(sample, logprobs)
    record.assembly.extra = extra
    record.body = record.body if own else None


def said(sample: Sample, logprobs: Mapping[str, Any] | None) -> Assembly:
    """A sample's message as if it had been streamed in one piece."""
    assembly = Assembly(keep=True)
    delta = {key: value for key, value in sample.message.items() if value is not None}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(delta["tool_calls"])]
    assembly.add({"choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}]})
    end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": sample.finish_reason}
    assembly.add({"choices": [end]})
    return assembly
