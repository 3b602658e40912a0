"""What comes to a simulated cluster: programs, their questions and samples, and when they arrive.

Everything is drawn by what it is for (`sim.dice`): program k asks the same question, draws the same samples in the same
order and is of the same tenant under every policy, and arrives at the same multiple of the mean gap at every rate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Literal

from core.types import NANOS, YEAR
from sim.dice import dice
from sim.reading import above, at_least, at_most, positive
from sim.traces import Question, Recorded

RECORDED = 64
"""Samples that are made up for each question of a family."""
MANY = 1e9
"""No rate, share or length is above this."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Questions of one difficulty.

    `correct` is the mean probability that a sample is right; the wrong ones are spread over `wrong` answers, the second
    half as likely as the first, and so on by `decay`. Lengths are lognormal: `tokens` is the median; `between` and
    `within` are the deviations of its logarithm between questions and between the samples of one.
    """

    share: float = 1.0
    correct: float = 0.7
    vary: float = 0.1
    wrong: int = 3
    decay: float = 0.5
    tokens: float = 300.0
    between: float = 0.4
    within: float = 0.4

    def __post_init__(self) -> None:
        at_least(0, share=self.share, correct=self.correct, vary=self.vary, between=self.between, within=self.within)
        at_least(1, wrong=self.wrong, tokens=self.tokens)
        at_most(1, correct=self.correct, vary=self.vary)
        at_most(10, between=self.between, within=self.within)
        at_most(100, wrong=self.wrong)
        at_most(MANY, share=self.share, tokens=self.tokens)
        positive(10, decay=self.decay)


@dataclass(frozen=True, slots=True)
class Family:
    """Questions that are made up: a mix of kinds. `longest` cuts the tokens of a sample."""

    kinds: tuple[Kind, ...]
    questions: int = 500
    longest: int = 4096

    def __post_init__(self) -> None:
        at_least(1, questions=self.questions, longest=self.longest)
        at_most(10**6, questions=self.questions)
        at_most(MANY, longest=self.longest)
        if not self.kinds or not any(kind.share for kind in self.kinds):
            raise ValueError("kinds must hold at least one with a share above 0.")


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who sends: its share of the programs, and their priority class (lower goes first)."""

    share: float = 1.0
    priority: int = 0

    def __post_init__(self) -> None:
        at_least(0, share=self.share)
        at_most(MANY, share=self.share)
        at_least(-(10**6), priority=self.priority)
        at_most(10**6, priority=self.priority)


@dataclass(frozen=True, slots=True)
class Step:
    """From second `at` until second `until` programs come `factor` times as fast."""

    at: float
    until: float
    factor: float

    def __post_init__(self) -> None:
        at_least(0, at=self.at)
        at_most(YEAR, at=self.at, until=self.until)
        positive(10**6, factor=self.factor)
        above(self.at, until=self.until)


@dataclass(frozen=True, slots=True)
class Workload:
    """What comes. `rates` are programs a second, `loads` parts of what the engines can serve; one of the two is given.

    `answers` names recorded samples, `family` makes them up; one of the two. Gaps between arrivals are exponential
    (`poisson`), or of a gamma distribution with so many times its variance (`bursty`). `step` comes on top of either.
    """

    rates: tuple[float, ...] = ()
    loads: tuple[float, ...] = ()
    answers: str = ""
    family: Family | None = None
    arrivals: Literal["poisson", "bursty"] = "poisson"
    burstiness: float = 8.0
    step: Step | None = None
    prompt_tokens: int = 200
    tenants: Mapping[str, Tenant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.rates) is bool(self.loads):
            raise ValueError("rates or loads must be given, and not both.")
        if bool(self.answers) is bool(self.family):
            raise ValueError("answers or family must be given, and not both.")
        if self.tenants and not any(tenant.share for tenant in self.tenants.values()):
            raise ValueError("tenants must hold at least one with a share above 0.")
        at_least(1, prompt_tokens=self.prompt_tokens)
        at_most(MANY, prompt_tokens=self.prompt_tokens)
        positive(10**6, burstiness=self.burstiness)
        for name, values in (("rates", self.rates), ("loads", self.loads)):
            for value in values:
                positive(MANY, **{name: value})


@dataclass(frozen=True, slots=True)
class Visitor:
    """A program to come: its name, its question, what its requests will draw, and whose it is."""

    name: str
    question: Question
    samples: tuple[Recorded, ...]
    tenant: str
    priority: int


def visitors(questions: Sequence[Question], workload: Workload, *, cap: int, seed: int) -> Iterator[Visitor]:
    """Programs without end. Every question comes once, in random order, before any comes again."""
    tenants = workload.tenants or {"": Tenant()}
    names, shares = list(tenants), [tenant.share for tenant in tenants.values()]
    order: list[int] = []
    for number in count():
        turn, place = divmod(number, len(questions))
        if not place:
            order = list(range(len(questions)))
            dice(seed, "order", turn).shuffle(order)
        question = questions[order[place]]
        chance = dice(seed, "program", number)
        shuffled = list(question.samples)
        chance.shuffle(shuffled)
        tenant = dice(seed, "tenant", number).choices(names, shares)[0]
        name = f"{number}/{question.id}"
        yield Visitor(name, question, tuple(shuffled[:cap]), tenant, tenants[tenant].priority)


def arrival_times(workload: Workload, rate: float, seed: int) -> Iterator[int]:
    """Times in nanoseconds, without end, `rate` programs a second on average (but for the step)."""
    shape = 1.0 if workload.arrivals == "poisson" else 1.0 / workload.burstiness
    elapsed = 0.0
    for number in count():
        elapsed += dice(seed, "gap", number).gammavariate(shape, 1.0 / shape)
        yield round(_stepped(elapsed / rate, workload.step) * NANOS)


def _stepped(at: float, step: Step | None) -> float:
    """When something comes that without the step would come at this time: time is run through faster within it."""
    if step is None or at <= step.at:
        return at
    within = (step.until - step.at) * step.factor
    if at - step.at <= within:
        return step.at + (at - step.at) / step.factor
    return at - within + (step.until - step.at)


def arriving(times: Iterator[int], *, programs: int | None, duration: float | None) -> list[int]:
    """The first so many times, or those within so many seconds."""
    if programs is not None:
        return list(islice(times, programs))
    found = []
    for at in times:
        if at >= round((duration or 0.0) * NANOS):
            break
        found.append(at)
    return found


def made_up(family: Family, seed: int) -> tuple[Question, ...]:
    """The questions of a family."""
    shares = [kind.share for kind in family.kinds]
    kinds = [dice(seed, "kind", n).choices(family.kinds, shares)[0] for n in range(family.questions)]
    return tuple(_question(f"q{n}", kind, family.longest, seed) for n, kind in enumerate(kinds))


def _question(name: str, kind: Kind, longest: int, seed: int) -> Question:
    chance = dice(seed, f"question {name}")
    right = min(1.0, max(0.0, chance.gauss(kind.correct, kind.vary)))
    median = kind.tokens * chance.lognormvariate(0.0, kind.between)
    weights = [kind.decay**place for place in range(kind.wrong)]
    samples = []
    for _ in range(RECORDED):
        correct = chance.random() < right
        answer = "right" if correct else f"wrong {chance.choices(range(kind.wrong), weights)[0]}"
        tokens = round(median * chance.lognormvariate(0.0, kind.within))
        samples.append(Recorded(answer, correct, min(longest, max(1, tokens))))
    return Question(name, tuple(samples))
