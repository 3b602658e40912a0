"""Trials: one policy at one rate on a simulated cluster, by the real strategies and scheduler in virtual time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core.errors import Overloaded
from core.types import NANOS, Request, StopReason, Usage
from scheduler.reservations import share
from scheduler.scheduler import Scheduler
from sim.baselines import right
from sim.dice import dice
from sim.engine.engine import Engine
from sim.engine.types import EngineParameters
from sim.faults import Faults, Injector, drawn
from sim.kernel import Kernel
from sim.reading import ScenarioError
from sim.replay import given
from sim.scenario import CHOICES, CROWD, UNBOUNDED, Contender, Scenario
from sim.store import SimulatedStore
from sim.traces import Question, Recorded
from sim.types import Arrival, Drawn, Ended
from sim.workload import Visitor, arrival_times, arriving, visitors


@dataclass(frozen=True, slots=True)
class Trial:
    """A policy by its number, a rate in programs a second, and the scale of the deadlines; None: it does not matter."""

    policy: int
    rate: float
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one program. Times in nanoseconds; `nanos` is None without an answer; `limit` is at scale 1."""

    tenant: str
    limit: float
    nanos: int | None
    right: bool
    tokens: int
    samples: int
    reason: StopReason | None
    refused: bool


@dataclass(frozen=True, slots=True)
class Load:
    """What the engines did: tokens made, preemptions, tokens of prompts and those of them that were cached; the time
    from the first arrival to the last end; means over ticks of requests in the engines, of those that wait at the
    gateways, of the cache in use and of the compute price."""

    generated: int
    preemptions: int
    prompt_tokens: int
    cached_tokens: int
    nanos: int
    running: float
    waiting: float
    kv_usage: float
    price: float


@dataclass(frozen=True, slots=True)
class Outcomes:
    """All programs of a trial in the order in which they came, and the load."""

    trial: Trial
    fates: tuple[Fate, ...]
    load: Load


@dataclass(frozen=True)
class Stage:
    """Everything that trials have in common."""

    scenario: Scenario
    questions: Sequence[Question]
    parameters: EngineParameters

    def __post_init__(self) -> None:
        longest = max(sample.tokens for question in self.questions for sample in question.samples)
        needed, room = self.scenario.workload.prompt_tokens + longest, self.parameters.max_model_len
        if needed > room:
            raise ScenarioError(f"engine.max_model_len must be {needed} for the longest sample, and is {room}.")
        if max(self.rates) * (self.scenario.duration or 0) > CROWD:
            raise ScenarioError(
                f"duration must not bring more than {CROWD} programs, as {max(self.rates):g} a second do."
            )
        for number, policy in enumerate(self.scenario.policies):
            reserved, slots = sum(policy.scheduler.reserved.values()), self.slots(policy)
            if not self.scenario.gateway.store and self.scenario.gateway.replicas > slots:
                said = f"must be at most {slots}: without a store they divide the slots of policies[{number}]."
                raise ScenarioError(f"gateway.replicas {said}")
            if reserved and reserved >= slots:
                said = f"must leave one of an engine's {slots} slots to others, and is {reserved}."
                raise ScenarioError(f"policies[{number}].scheduler.reserved {said}")

    def slots(self, policy: Contender) -> int:
        """Requests that may run on each engine under this policy."""
        return self.parameters.max_num_seqs if policy.slots is None else policy.slots or UNBOUNDED

    @property
    def capacity(self) -> float:
        """Programs a second that the engines can serve if each draws the whole cap; its prompt is read once.

        As many calls run as there are seats, or as fit into the cache at half of their length.
        """
        engine, cap = self.parameters, self.scenario.cap
        lengths = [sample.tokens for question in self.questions for sample in question.samples]
        mean, prompt = sum(lengths) / len(lengths), self.scenario.workload.prompt_tokens
        held = prompt + mean / 2
        batch = max(1, min(engine.max_num_seqs, int(engine.kv_blocks * engine.block_size / held)))
        step = engine.cost.step_nanos(batch, round(batch * held), round(batch / mean * prompt / cap))
        return self.scenario.engine.replicas * batch / step * NANOS / (cap * mean)

    @property
    def rates(self) -> tuple[float, ...]:
        """Programs a second, one after the other."""
        workload = self.scenario.workload
        return workload.rates or tuple(load * self.capacity for load in workload.loads)

    @property
    def trials(self) -> list[Trial]:
        """One for each policy and rate; and for each scale, where the policy knows the deadlines."""
        found = []
        for number, policy in enumerate(self.scenario.policies):
            scales = (None,) if policy.deadline == "measured" else self.scenario.deadlines.scales
            found += [Trial(number, rate, scale) for rate in self.rates for scale in scales]
        return found


class Recordings:
    """A `sim.types.Source`: what each program draws, by its name."""

    def __init__(self, draws: Mapping[str, tuple[Recorded, ...]], prompt: int) -> None:
        self._draws = draws
        self._prompt = prompt

    def __call__(self, request: Request) -> Drawn:
        """The recorded sample with the request's number; how long it takes, the engine decides."""
        recorded = self._draws[request.program][request.index]
        usage = Usage(self._prompt, recorded.tokens)
        course = recorded.course if recorded.confidence else None
        return Drawn(0, recorded.answer, usage=usage, course=course)


class Meters:
    """Sums over the ticks of a run."""

    def __init__(self) -> None:
        self.ticks = 0
        self.running = self.waiting = self.kv_usage = self.price = 0.0

    def read(self, kernel: Kernel) -> None:
        """Add what is seen now."""
        gauges = [service.engine.gauges(kernel.now) for service in kernel.services.values()]
        self.ticks += 1
        self.running += sum(each.running + each.waiting for each in gauges)
        self.kv_usage += sum(each.kv_usage for each in gauges) / len(gauges)
        queues = [queue for gateway in kernel.gateways for queue in gateway.scheduler.queues.values()]
        self.waiting += sum(queue.waiting for queue in queues)
        self.price += sum(queue.price for queue in queues) / max(1, len(queues))


def play(stage: Stage, trial: Trial) -> Outcomes:
    """Run one trial. The same trial gives the same outcomes in every process."""
    scenario = stage.scenario
    policy, workload = scenario.policies[trial.policy], scenario.workload
    times = arriving(
        arrival_times(workload, trial.rate, scenario.seed), programs=scenario.programs, duration=scenario.duration
    )
    comers = visitors(stage.questions, workload, cap=policy.samples, seed=scenario.seed)
    guests = [next(comers) for _ in times]
    arrivals = [_arrival(stage, policy, trial.scale, guest, at) for guest, at in zip(guests, times, strict=True)]
    meters = Meters()
    kernel = _kernel(stage, policy, guests, meters, span=times[-1] if times else 0)
    ended = kernel.run(arrivals)
    fates = tuple(_fate(scenario, guest, end) for guest, end in zip(guests, ended, strict=True))
    return Outcomes(trial, fates, _load(kernel, meters, _span(ended)))


def _kernel(stage: Stage, policy: Contender, guests: Sequence[Visitor], meters: Meters, *, span: int) -> Kernel:
    """The cluster; faults come as long as programs do, the same ones under every policy."""
    scenario = stage.scenario
    gateway, backends, faults = scenario.gateway, scenario.engine.backends, scenario.faults or Faults()
    parameters = replace(stage.parameters, priority_scheduling=policy.priority_scheduling)
    slots = stage.slots(policy)
    many, store = gateway.replicas, SimulatedStore() if gateway.store else None
    shares = [slots if gateway.store else slots // many + (n < slots % many) for n in range(many)]

    def fresh(number: int) -> Scheduler:
        reserved = {name: share(count, shares[number], slots) for name, count in policy.scheduler.reserved.items()}
        return Scheduler(dict.fromkeys(backends, shares[number]), replace(policy.scheduler, reserved=reserved))

    schedule = drawn(faults, span=span, engines=len(backends), replicas=many, seed=scenario.seed)
    source = Recordings({guest.name: guest.samples for guest in guests}, scenario.workload.prompt_tokens)
    injector = Injector(schedule, source, seed=scenario.seed, store=store, fresh=fresh)
    kernel = Kernel(
        [fresh(number) for number in range(many)],
        injector,
        engines={name: Engine(parameters) for name in backends},
        store=store,
        tick=round(gateway.tick * NANOS),
        measure=round(gateway.gauges * NANOS) if policy.gauges else None,
        silence=round(faults.silence * NANOS) if scenario.faults else None,
        late=injector.late,
        on_tick=meters.read,
    )
    injector.install(kernel)
    return kernel


def _arrival(stage: Stage, policy: Contender, scale: float | None, guest: Visitor, at: int) -> Arrival:
    scenario = stage.scenario
    seconds = None if scale is None else scale * scenario.deadlines.base * scenario.deadlines.factor(guest.question)
    return Arrival(
        guest.name,
        CHOICES[policy.spelled],
        budget=policy.budget(seconds if policy.deadline == "given" else None),
        options=policy.options,
        at=at,
        priority=guest.priority,
        backends=scenario.engine.backends,
        tenant=guest.tenant,
        deadline=None if seconds is None else at + round(seconds * NANOS),
        gateway=dice(scenario.seed, f"gateway of {guest.name}").randrange(scenario.gateway.replicas),
    )


def _fate(scenario: Scenario, guest: Visitor, ended: Ended) -> Fate:
    answer = given(ended, guest.samples)
    return Fate(
        guest.tenant,
        scenario.deadlines.base * scenario.deadlines.factor(guest.question) * NANOS,
        None if ended.answer is None else ended.ended - ended.arrived,
        right(answer, guest.samples),
        ended.ledger.completion_tokens,
        ended.ledger.started,
        None if ended.answer is None else ended.answer.stop_reason,
        isinstance(ended.error, Overloaded),
    )


def _span(ended: Sequence[Ended]) -> int:
    """From the first arrival to the last end."""
    first = min((each.arrived for each in ended), default=0)
    return max((each.ended for each in ended), default=first) - first


def _load(kernel: Kernel, meters: Meters, nanos: int) -> Load:
    gauges = [service.engine.gauges(kernel.now) for service in kernel.services.values()]
    ticks = max(1, meters.ticks)
    return Load(
        sum(each.generation_tokens for each in gauges),
        sum(each.preemptions for each in gauges),
        sum(each.prompt_tokens for each in gauges),
        sum(each.cached_tokens for each in gauges),
        nanos,
        meters.running / ticks,
        meters.waiting / ticks,
        meters.kv_usage / ticks,
        meters.price / ticks,
    )
