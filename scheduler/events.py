"""What the scheduler is told, and what it tells the driver to do. Plain frozen values that survive JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from core.types import Outcome


@dataclass(frozen=True, slots=True)
class ProgramArrived:
    """A client request was accepted at the door.

    `backends` are those that serve its model. Lower `priority` goes first (vLLM's convention). `deadline` is a time in
    nanoseconds (None: none), `samples` the most that it may want, `prefix` a key that equal prompts share, `length` the
    tokens a sample is expected to have (0: nobody knows).
    """

    program: str
    backends: tuple[str, ...]
    priority: int = 0
    tenant: str = ""
    deadline: int | None = None
    samples: int = 1
    prefix: str = ""
    length: int = 0


@dataclass(frozen=True, slots=True)
class RequestSubmitted:
    """A program wants a model call."""

    program: str
    index: int


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """An attempt at a model call ended by itself, and this is how the call ended. `tokens` were generated.

    `fault`: it failed through its backend, but is not to be tried again.
    """

    program: str
    index: int
    outcome: Outcome = Outcome.FINISHED
    tokens: int = 0
    attempt: int = 0
    fault: bool = False


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """An attempt failed through no fault of the request; nothing of it was shown, so it may be tried again.

    `fault`: whether the backend is to blame (broken off, no byte) or only full (429, 503).
    """

    program: str
    index: int
    attempt: int = 0
    fault: bool = True
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class RequestAborted:
    """The program gave a request up, queued or running; with `attempt`, only that one of several attempts is over."""

    program: str
    index: int
    attempt: int | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class ProgramReported:
    """The program's answer as it stands, after a sample.

    `worth` is the expected gain of one more sample (`core.worth`), None where it cannot be told; `remaining` are the
    samples it may still want.
    """

    program: str
    certainty: float | None
    worth: float | None = None
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class ProgramEnded:
    """The program is over, whatever ended it."""

    program: str


@dataclass(frozen=True, slots=True)
class BackendMeasured:
    """What an engine says of itself: requests that run and wait in it, share of its KV cache in use (None: unknown)."""

    backend: str
    running: int
    waiting: int
    kv_usage: float | None = None


@dataclass(frozen=True, slots=True)
class BackendChecked:
    """The verdict of a health check, ours or another replica's; `False` also when no byte comes from a busy engine."""

    backend: str
    healthy: bool


@dataclass(frozen=True, slots=True)
class BackendDrained:
    """The operator takes a backend out of service (nothing new is sent there), or back in."""

    backend: str
    draining: bool


@dataclass(frozen=True, slots=True)
class SlotsLeased:
    """So many of a backend's slots are this replica's (`scheduler.shares`)."""

    backend: str
    slots: int


@dataclass(frozen=True, slots=True)
class TenantServed:
    """Other replicas generated so many tokens for a tenant on these backends."""

    backends: tuple[str, ...]
    tenant: str
    tokens: int


@dataclass(frozen=True, slots=True)
class PressureShared:
    """The pressure on these backends as all replicas together see it (`scheduler.price`)."""

    backends: tuple[str, ...]
    pressure: float


@dataclass(frozen=True, slots=True)
class DemandShared:
    """What other replicas have and want of these backends: slots, and requests that wait and run, by tenant.

    `rest` is the weight of those that are not named (`scheduler.wants.REST`).
    """

    backends: tuple[str, ...]
    slots: int
    waiting: Mapping[str, int]
    running: Mapping[str, int]
    rest: float = 1.0


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. The driver says so a few times a second."""


@dataclass(frozen=True, slots=True)
class Start:
    """Send this request to this backend now. `rank` orders requests inside the engine (vLLM's `priority`)."""

    program: str
    index: int
    backend: str
    attempt: int = 0
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Cancel:
    """Abort this attempt: its program is over, or another attempt has won."""

    program: str
    index: int
    backend: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Fail:
    """No attempt is left: the request has failed, with the error of its last attempt."""

    program: str
    index: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not serve this program. Try again after `retry_after` seconds.

    `late`: not because the queue is full, but because even one sample could not be had before its deadline.
    """

    program: str
    retry_after: float
    late: bool = False


@dataclass(frozen=True, slots=True)
class Halt:
    """More samples cost others more than they are worth to this program: it answers now with what it has."""

    program: str


@dataclass(frozen=True, slots=True)
class Widen:
    """Engines idle: this program may have so many more samples in flight."""

    program: str
    by: int


Event = (
    ProgramArrived
    | RequestSubmitted
    | RequestEnded
    | RequestFailed
    | RequestAborted
    | ProgramReported
    | ProgramEnded
    | BackendMeasured
    | BackendChecked
    | BackendDrained
    | SlotsLeased
    | TenantServed
    | PressureShared
    | DemandShared
    | Tick
)
Command = Start | Cancel | Fail | Refuse | Halt | Widen

EVENTS: Mapping[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        ProgramArrived,
        RequestSubmitted,
        RequestEnded,
        RequestFailed,
        RequestAborted,
        ProgramReported,
        ProgramEnded,
        BackendMeasured,
        BackendChecked,
        BackendDrained,
        SlotsLeased,
        TenantServed,
        PressureShared,
        DemandShared,
        Tick,
    )
}


def to_record(event: Event) -> dict[str, Any]:
    """The event as a JSON object, its class under `event`."""
    return {"event": type(event).__name__, **asdict(event)}


def from_record(record: dict[str, Any]) -> Event:
    """The event that `to_record` wrote."""
    fields = {key: value for key, value in record.items() if key not in ("event", "now")}
    if "outcome" in fields:
        fields["outcome"] = Outcome(fields["outcome"])
    if "backends" in fields:
        fields["backends"] = tuple(fields["backends"])
    event: Event = EVENTS[record["event"]](**fields)
    return event
