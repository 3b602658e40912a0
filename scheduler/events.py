"""What the scheduler is told, and what it tells the driver to do. Plain frozen values that survive JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from core.types import Outcome


@dataclass(frozen=True, slots=True)
class ProgramArrived:
    """A client request was accepted at the door. Lower `priority` goes first (vLLM's convention)."""

    program: str
    backend: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class RequestSubmitted:
    """A program wants a model call."""

    program: str
    index: int


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """A running model call ended by itself."""

    program: str
    index: int
    outcome: Outcome = Outcome.FINISHED


@dataclass(frozen=True, slots=True)
class RequestAborted:
    """The program gave a request up, queued or running."""

    program: str
    index: int


@dataclass(frozen=True, slots=True)
class ProgramReported:
    """The certainty of the program's answer as it stands."""

    program: str
    certainty: float | None


@dataclass(frozen=True, slots=True)
class ProgramEnded:
    """The program is over, whatever ended it."""

    program: str


@dataclass(frozen=True, slots=True)
class Start:
    """Send this request to this backend now."""

    program: str
    index: int
    backend: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Abort this running request: its program is over."""

    program: str
    index: int
    backend: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not serve this program: the queue is full. Try again after `retry_after` seconds."""

    program: str
    retry_after: float


Event = ProgramArrived | RequestSubmitted | RequestEnded | RequestAborted | ProgramReported | ProgramEnded
Command = Start | Cancel | Refuse

EVENTS: Mapping[str, type[Event]] = {
    kind.__name__: kind
    for kind in (ProgramArrived, RequestSubmitted, RequestEnded, RequestAborted, ProgramReported, ProgramEnded)
}


def to_record(event: Event) -> dict[str, Any]:
    """The event as a JSON object, its class under `event`."""
    return {"event": type(event).__name__, **asdict(event)}


def from_record(record: dict[str, Any]) -> Event:
    """The event that `to_record` wrote."""
    fields = {key: value for key, value in record.items() if key not in ("event", "now")}
    if "outcome" in fields:
        fields["outcome"] = Outcome(fields["outcome"])
    event: Event = EVENTS[record["event"]](**fields)
    return event
