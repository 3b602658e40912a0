"""Faults on a seeded schedule: what goes wrong in a simulated cluster, when, and for how long."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from core.errors import BackendRejected
from core.types import NANOS, YEAR, Request
from scheduler.scheduler import Scheduler
from sim.dice import Dice, dice
from sim.kernel import Kernel
from sim.reading import at_least, positive
from sim.service import Service
from sim.store import SimulatedStore
from sim.types import Drawn, Source

LATEST = 3.0
"""Seconds by which a response comes late, at most."""
SLOWEST = 6.0
"""Times as long as usual that a slow engine takes, at most."""
OFTEN = 10**5
"""Faults of one kind in a thousand seconds, at most."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong `at` a time and lasts so long, both in nanoseconds.

    `target` numbers the engine or the replica that it strikes; `size`, from 0 to 1, says how hard: the share of the
    requests or clients that it hits, or the part of the slowest and of the latest.
    """

    kind: str
    at: int
    lasts: int
    target: int
    size: float

    @property
    def until(self) -> int:
        """When it is over."""
        return self.at + self.lasts


@dataclass(frozen=True, slots=True)
class Schedule:
    """All that goes wrong in a run, in order of time."""

    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Faults:
    """What is to go wrong: for each kind how often in a thousand seconds, on average; each lasts `seconds`, on average.

    An attempt of which an engine sends nothing for `silence` seconds, or twice that, is given up.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 5.0
    silence: float = 20.0

    def __post_init__(self) -> None:
        positive(YEAR, seconds=self.seconds, silence=self.silence)
        for name, rate in self.rates.items():
            if name not in KINDS:
                raise ValueError(f"rates.{name} is not known; there is {', '.join(KINDS)}.")
            at_least(0, **{f"rates.{name}": rate})
            positive(OFTEN, **{f"rates.{name}": rate or None})


def drawn(faults: Faults, *, span: int, engines: int, replicas: int, seed: int) -> Schedule:
    """The faults of so many nanoseconds: independent of one another, exponential in their gaps and lengths."""
    found = [
        fault
        for kind, rate in sorted(faults.rates.items())
        if rate
        for fault in _of_kind(kind, rate, faults.seconds, span, KINDS[kind].targets(engines, replicas), seed)
    ]
    return Schedule(tuple(sorted(found, key=lambda each: (each.at, each.kind))))


def _of_kind(kind: str, rate: float, seconds: float, span: int, targets: int, seed: int) -> Iterator[Fault]:
    chance = dice(seed, f"faults {kind}")
    at = 0
    while True:
        at += round(chance.expovariate(rate / 1000) * NANOS)
        if at >= span:
            return
        lasts = 1 + round(chance.expovariate(1 / seconds) * NANOS)
        yield Fault(kind, at, lasts, chance.randrange(max(1, targets)), chance.random())


class Injector:
    """Lets a schedule come true in one kernel: a `sim.types.Source` around another one, and a `Lateness`.

    Args:
        schedule: What goes wrong.
        source: What requests turn out to be where nothing does.
        seed: Decides whom a fault hits that hits some.
        store: The one that the replicas share, if they do.
        fresh: Makes the scheduler of a new replica, by its number.
    """

    def __init__(
        self,
        schedule: Schedule,
        source: Source,
        *,
        seed: int,
        store: SimulatedStore | None = None,
        fresh: Callable[[int], Scheduler],
    ) -> None:
        self.struck: Counter[str] = Counter()
        """What has gone wrong so far, by kind: faults, and for some kinds those whom they hit."""
        self.tardy: set[str] = set()
        """Programs that a response reached late, or never."""
        self.store = store
        self.fresh = fresh
        self.active: dict[str, list[Fault]] = {}
        self._schedule = schedule
        self._source = source
        self._seed = seed

    def __call__(self, request: Request) -> Drawn:
        """What a request turns out to be; raises `BackendRejected` where the engine refuses it."""
        if self.active.get("reject"):
            chance = self._chance("rejected", request)
            if any(chance.random() < fault.size for fault in self.active["reject"]):
                self.struck["requests rejected"] += 1
                raise BackendRejected(400, {"message": "This request cannot be served."})
        return self._source(request)

    def late(self, backend: str, request: Request) -> int | None:
        """See `sim.types.Lateness`."""
        for fault in self.active.get("lose", ()):
            if self._chance("lost", request).random() < fault.size:
                self.struck["responses lost"] += 1
                self.tardy.add(request.program)
                return None
        late = [self._chance("late", request).random() * fault.size for fault in self.active.get("delay", ())]
        if not late:
            return 0
        self.struck["responses delayed"] += 1
        self.tardy.add(request.program)
        return round(max(late) * LATEST * NANOS)

    def install(self, kernel: Kernel) -> None:
        """Put the schedule on the kernel's agenda."""
        for fault in self._schedule.faults:
            kernel.at(fault.at, partial(self._begin, kernel, fault))

    def _begin(self, kernel: Kernel, fault: Fault) -> None:
        """What is struck already is not struck again: the fault that is under way ends as it was to."""
        kind = KINDS[fault.kind]
        under_way = self.active.setdefault(fault.kind, [])
        if kind.exclusive and any(each.target == fault.target for each in under_way):
            return
        if not kind.begin(self, kernel, fault):
            return
        self.struck[fault.kind] += 1
        if kind.end is not None:
            under_way.append(fault)
            kernel.at(fault.until, partial(self._end, kernel, fault))

    def _end(self, kernel: Kernel, fault: Fault) -> None:
        self.active[fault.kind].remove(fault)
        end = KINDS[fault.kind].end
        if end is not None:
            end(self, kernel, fault)

    def hits(self, fault: Fault, program: str) -> bool:
        """Whether a fault that strikes some of the clients strikes this one."""
        return dice(self._seed, f"{fault.kind} at {fault.at} {program}").random() < fault.size

    def _chance(self, what: str, request: Request) -> Dice:
        return dice(self._seed, f"{what} {request.program}", request.index)


Effect = Callable[[Injector, Kernel, Fault], object]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault does when it begins (False: nothing, it could not) and when it ends; None: it is over at once.

    `exclusive`: a target is struck by one of them at a time.
    """

    begin: Effect
    end: Effect | None
    strikes: str
    exclusive: bool = True

    def targets(self, engines: int, replicas: int) -> int:
        """How many there are that it may strike."""
        return {"engines": engines, "replicas": replicas}.get(self.strikes, 1)


def _service(kernel: Kernel, fault: Fault) -> Service:
    return list(kernel.services.values())[fault.target]


def _kill(_: Injector, kernel: Kernel, fault: Fault) -> bool:
    kernel.kill(_service(kernel, fault).name)
    return True


def _restart(_: Injector, kernel: Kernel, fault: Fault) -> None:
    _service(kernel, fault).restart()


def _freeze(_: Injector, kernel: Kernel, fault: Fault) -> bool:
    service = _service(kernel, fault)
    if service.up:
        service.freeze(kernel.now)
    return service.up


def _thaw(_: Injector, kernel: Kernel, fault: Fault) -> None:
    _service(kernel, fault).thaw(kernel.now)


def _slow(_: Injector, kernel: Kernel, fault: Fault) -> bool:
    _service(kernel, fault).slow(1 + (SLOWEST - 1) * fault.size, kernel.now)
    return True


def _hurry(_: Injector, kernel: Kernel, fault: Fault) -> None:
    _service(kernel, fault).slow(1.0, kernel.now)


def _fill(_: Injector, kernel: Kernel, fault: Fault) -> bool:
    _service(kernel, fault).full = True
    return True


def _empty(_: Injector, kernel: Kernel, fault: Fault) -> None:
    _service(kernel, fault).full = False


def _leave(injector: Injector, kernel: Kernel, fault: Fault) -> bool:
    names = [name for name in kernel.programs if injector.hits(fault, name)]
    for name in names:
        kernel.disconnect(name)
    injector.struck["clients gone"] += len(names)
    return bool(names)


def _crash(injector: Injector, kernel: Kernel, fault: Fault) -> bool:
    before = len(kernel.programs)
    kernel.crash(fault.target)
    injector.struck["programs crashed"] += before - len(kernel.programs)
    return True


def _renew(injector: Injector, kernel: Kernel, fault: Fault) -> None:
    kernel.start(fault.target, injector.fresh(fault.target))


def _deafen(_: Injector, kernel: Kernel, fault: Fault) -> bool:
    kernel.gateways[fault.target].deaf = True
    return True


def _hear(_: Injector, kernel: Kernel, fault: Fault) -> None:
    kernel.gateways[fault.target].deaf = False


def _cut(injector: Injector, kernel: Kernel, fault: Fault) -> bool:
    if injector.store is not None:
        injector.store.cut(kernel.gateways[fault.target].name)
    return injector.store is not None


def _mend(injector: Injector, kernel: Kernel, fault: Fault) -> None:
    if injector.store is not None:
        injector.store.mend(kernel.gateways[fault.target].name)


def _forget(injector: Injector, _: Kernel, __: Fault) -> bool:
    if injector.store is not None:
        injector.store.lose()
    return injector.store is not None


def _only(*_: object) -> bool:
    """That it is under way is all there is to it."""
    return True


KINDS: Mapping[str, Kind] = {
    "kill": Kind(_kill, _restart, "engines"),
    "freeze": Kind(_freeze, _thaw, "engines"),
    "slow": Kind(_slow, _hurry, "engines"),
    "fill": Kind(_fill, _empty, "engines"),
    "lose": Kind(_only, _only, "responses", exclusive=False),
    "delay": Kind(_only, _only, "responses", exclusive=False),
    "reject": Kind(_only, _only, "requests", exclusive=False),
    "leave": Kind(_leave, None, "clients"),
    "crash": Kind(_crash, _renew, "replicas"),
    "deafen": Kind(_deafen, _hear, "replicas"),
    "cut": Kind(_cut, _mend, "replicas"),
    "forget": Kind(_forget, None, "store"),
}
"""Name to kind: the one line to add. What each does is in docs/simulation.md."""
