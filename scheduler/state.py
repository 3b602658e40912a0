"""Book-keeping of one program: what it may want, what waits, what runs, what it has come to."""

from dataclasses import dataclass, field

from scheduler.events import ProgramArrived


@dataclass(slots=True, eq=False)
class Attempt:
    """One try at a request, on a backend, since a time in nanoseconds. `charged` tokens were expected of it; one that
    `hangs` is no service (`scheduler.hanging`)."""

    backend: str
    since: int
    charged: float
    hangs: bool = False


@dataclass(slots=True, eq=False)
class Program:
    """A program as the scheduler knows it.

    `waiting` maps indices to tickets (submission numbers), in order of submission; `running` maps indices to their
    attempts by number; what hangs on a dead backend does both. `in_flight` counts attempts, but for those that hang.
    `worth` and `remaining` are what it last reported; `tokens` those of its `finished` requests.
    """

    asked: ProgramArrived
    number: int
    arrived: int
    worth: float | None = None
    remaining: int | None = None
    certainty: float | None = None
    finished: int = 0
    tokens: int = 0
    in_flight: int = 0
    halted: bool = False
    again: bool = False
    """Whether a request was to be tried again, now or before."""
    home: str | None = None
    hungry_since: int | None = None
    waiting: dict[int, int] = field(default_factory=dict)
    running: dict[int, dict[int, Attempt]] = field(default_factory=dict)
    tried: dict[int, list[str]] = field(default_factory=dict)
    """Backends where a request has failed, by its index."""
    alone: set[int] = field(default_factory=set)
    """Requests whose attempts that run are to stay the only ones."""
    settled: set[int] = field(default_factory=set)
    """Requests that ended while an attempt that had lost still ran."""

    @property
    def name(self) -> str:
        """The program's name."""
        return self.asked.program

    @property
    def wanted(self) -> int:
        """Samples that it may still want, those in flight included; at least one."""
        left = self.asked.samples - self.finished if self.remaining is None else self.remaining
        return max(1, left)

    def length(self, typical: float) -> float:
        """Tokens to be expected of its next sample: the mean of its own, and the typical one counted once.

        Samples of one program are alike in length (Dynasor's program locality, arXiv 2412.20993, section 4).
        """
        prior = self.asked.length or typical
        return (prior + self.tokens) / (1 + self.finished)
