"""What to ask of a live server so that its answers tell what a step costs, and what it answered."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Self

from sim.engine.engine import serve
from sim.engine.fitting import NANOS, Timing
from sim.engine.types import EngineParameters, Work

LONGEST = 2048
"""Tokens of the longest prompt that is asked: context beyond costs as much a token, and takes long to fill."""
SHORTEST = 48
"""Tokens of the shortest: a chat template alone makes some twenty."""
LEAST = 8
"""Tokens of an answer that show what a step costs."""
FEW = 64
"""Calls of different lengths in one experiment, at least; more where there are more than half as many seats."""
BRIEF = 3
"""How much more often a brief experiment is made."""
FLOW = 0.7
"""Share of the seats that the even flow of calls keeps busy, about."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call to be made `at` so many seconds after the run begins: tokens of its prompt, about, and to be made."""

    prompt: int
    completion: int
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Served:
    """A call that a live server answered: its tokens, and when, in seconds since the run began on the idle server.

    `first` is when the client had the first token, `ended` when it had the end of the answer.
    """

    prompt: int
    completion: int
    submitted: float
    first: float
    ended: float

    @property
    def latency(self) -> float:
        """Seconds from call to end."""
        return self.ended - self.submitted


@dataclass(frozen=True, slots=True)
class Experiment:
    """Calls to an idle server. `brief`: they are over so soon that they are to be made more often."""

    name: str
    calls: tuple[Asked, ...]
    brief: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """An experiment that was made."""

    name: str
    calls: tuple[Served, ...]

    @property
    def seconds(self) -> float:
        """From its first call to its last end."""
        return max(call.ended for call in self.calls) - min(call.submitted for call in self.calls)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "calls": [asdict(call) for call in self.calls]}

    @classmethod
    def read(cls, record: dict[str, Any]) -> Self:
        """From JSON as `record` makes it."""
        return cls(record["name"], tuple(Served(**call) for call in record["calls"]))

    def timing(self) -> Timing | None:
        """What it says of single steps, if all of its calls came together, were alike and made more than one token."""
        completions = {call.completion for call in self.calls}
        if self.name.split()[0] not in {"alone", "batch"} or len(completions) > 1 or completions == {1}:
            return None
        return Timing(
            prompt=round(fmean(call.prompt for call in self.calls)),
            completion=completions.pop(),
            first_seconds=fmean(call.first - call.submitted for call in self.calls),
            total_seconds=fmean(call.latency for call in self.calls),
            concurrency=len(self.calls),
        )


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the experiments are: seats of the server, tokens of a short and a long prompt, and of an answer.

    `pause` is the time between two calls of the even flow, in seconds.
    """

    seats: int
    short: int
    long: int
    answer: int
    pause: float

    def experiments(self) -> Iterator[Experiment]:
        """Alone, in batches, prompts alone, more calls than seats, and an even flow of them."""
        yield Experiment("alone short", self._alike(1, self.short, self.answer))
        yield Experiment("alone long", self._alike(1, self.long, self.answer))
        for size in doubling(self.seats):
            yield Experiment(f"batch {size} short", self._alike(size, self.short, self.answer))
        for size in sorted({-(-self.seats // 4), -(-self.seats // 2)} - {1}):
            yield Experiment(f"batch {size} long", self._alike(size, self.long, self.answer))
        for name, tokens in (("short", self.short), ("middle", self.long // 2), ("long", self.long)):
            yield Experiment(f"prompt {name}", self._alike(1, tokens, 1), brief=True)
        for size in sorted({min(4, self.seats), self.seats} - {1}):
            yield Experiment(f"prompts {size} short", self._alike(size, self.short, 1), brief=True)
        yield Experiment("crowd", self._mixed(0.0))
        yield Experiment("flow", self._mixed(self.pause))

    def _alike(self, size: int, prompt: int, completion: int) -> tuple[Asked, ...]:
        return (Asked(prompt, completion),) * size

    def _mixed(self, pause: float) -> tuple[Asked, ...]:
        """Some calls a seat, of prompts from short to half of long and of answers from a half to one and a half.

        Spread evenly, in the order of two additive recurrences (golden ratio and square root of two).
        """
        calls = []
        for k in range(max(FEW, 2 * self.seats)):
            prompt = self.short + (self.long // 2 - self.short) * (k * 0.6180339887 % 1)
            answer = self.answer * (0.5 + k * 0.4142135624 % 1)
            calls.append(Asked(max(1, round(prompt)), max(2, round(answer)), k * pause))
        return tuple(calls)


def sizes(look: EngineParameters, seconds: float) -> Sizes:
    """Experiments, as large as they can be, that take about so many seconds on a server like this, each made once.

    `look` is what a first look at the server tells. Raises ValueError if there is too little time, or if sequences are
    too short, to see anything.
    """
    long = min(look.max_model_len // 2, LONGEST)
    short = min(SHORTEST, long // 2)
    answer = (look.max_model_len - long) * 2 // 3 - 1
    while answer >= LEAST:
        found = Sizes(look.max_num_seqs, short, long, answer, _pause(look, short, long, answer))
        if sum(_forecast(look, each) for each in found.experiments()) <= seconds:
            return found
        answer, long = answer * 7 // 8, max(2 * short, 4 * SHORTEST, long * 15 // 16)
    raise ValueError(
        f"{seconds:.0f} seconds a round and sequences of {look.max_model_len} tokens are too little: "
        f"answers would be shorter than {LEAST} tokens."
    )


def _pause(look: EngineParameters, short: int, long: int, answer: int) -> float:
    """Seconds between two calls of the flow, so that FLOW of the seats are busy."""
    batch = max(1, round(FLOW * look.max_num_seqs))
    prompt = (short + long // 2) // 2
    step = look.cost.step_nanos(batch, batch * (prompt + answer // 2), 0)
    # Whoever is in the batch waits for the prompts of all that come while it makes its tokens.
    return (answer * step / batch + look.cost.step_nanos(0, 0, prompt)) / NANOS


def _forecast(look: EngineParameters, experiment: Experiment) -> float:
    """Seconds that an experiment will take."""
    works = ((each.at, Work(key, each.prompt, each.completion)) for key, each in enumerate(experiment.calls))
    return max(serve(look, works).values()) * (BRIEF if experiment.brief else 1)


def doubling(most: int) -> list[int]:
    """2, 4, 8, and so on, and the most itself; nothing for 1."""
    sizes = []
    size = 2
    while size < most:
        sizes.append(size)
        size *= 2
    return [*sizes, most] if most > 1 else []


def typical(runs: list[Run]) -> list[Run]:
    """Of the runs of every experiment the one of median length (the shorter, of two in the middle)."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.name, []).append(run)
    return [sorted(each, key=lambda run: run.seconds)[(len(each) - 1) // 2] for each in found.values()]


def scatter(runs: list[Run]) -> float:
    """How far apart the runs of one experiment were, relative to the shortest: the median over the experiments."""
    found: dict[str, list[float]] = {}
    for run in runs:
        found.setdefault(run.name, []).append(run.seconds)
    spreads = sorted(max(each) / min(each) - 1 for each in found.values())
    return spreads[len(spreads) // 2]
