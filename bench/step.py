"""A step of the load, and what the compute price makes of it: many programs on one engine, under virtual time.

    python -m bench.step

Programs arrive at random (Poisson); each wants up to 16 samples, all of them at once, and reports the value of the next
one after each. Votes are drawn: the right answer has a probability of 0.95, 0.7, 0.5 or 0.3, six wrong ones share the
rest. A program ends when it is halted, has 16 samples, or finds the next one worth nothing by itself (under 0.0005).
Load 1 is the rate at which the engine could serve all 16 samples of every program.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from statistics import fmean

from core.stopping.value import best_ahead
from core.types import NANOS
from scheduler.events import (
    Event,
    Halt,
    ProgramArrived,
    ProgramEnded,
    ProgramReported,
    RequestEnded,
    RequestSubmitted,
    Start,
    Tick,
)
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler

SAMPLES, TOKENS, SPREAD, SETTLED = 16, 200, 0.4, 0.0005
RIGHT = (0.95, 0.7, 0.5, 0.3)
BEFORE, DURING, AFTER = 10, 50, 20
"""Times, in those of one sample: a quiet beginning, the step, and quiet again."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happens: how much load, how long a sample takes (seconds), who goes next, how patient the queue is."""

    load: float
    service: float = 4.0
    slots: int = 64
    policy: Policy = field(default_factory=Policy)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """The queue at one tick; `time` in samples' times since the beginning."""

    time: float
    pressure: float
    price: float
    waiting: int


@dataclass(slots=True)
class _Voter:
    """One program: its votes, and its samples that run."""

    right: float
    votes: Counter[str] = field(default_factory=Counter)
    running: dict[int, Start] = field(default_factory=dict)


class Room:
    """The engine and its programs around one scheduler."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.ticks: list[Seen] = []
        self.drawn: list[tuple[float, int]] = []
        """When each program ended, in samples' times, and how many samples it had."""
        self._scheduler = Scheduler({"engine": step.slots}, step.policy)
        self._dice = Random(step.seed)
        self._heap: list[tuple[int, int, Start | None, bool]] = []
        self._voters: dict[str, _Voter] = {}
        self._serial = 0
        self._now = 0

    def run(self) -> "Room":
        """Play the whole step."""
        service = self.step.service
        end = (BEFORE + DURING + AFTER) * service
        for number in range(int(end * 4)):
            self._at(number / 4, None, tick=True)
        for begin, length, load in ((0, BEFORE, 0.3), (BEFORE, DURING, self.step.load)):
            time = begin * service
            while (time := time + self._dice.expovariate(load * self.step.slots / service / SAMPLES)) < (
                begin + length
            ) * service:
                self._at(time, None)
        while self._heap:
            self._now, _, start, tick = heappop(self._heap)
            if tick:
                self._tick()
            elif start is None:
                self._arrive()
            else:
                self._end(start)
        return self

    def _at(self, seconds: float, start: Start | None, *, tick: bool = False) -> None:
        self._serial += 1
        heappush(self._heap, (round(seconds * NANOS), self._serial, start, tick))

    def _tell(self, event: Event) -> None:
        for command in self._scheduler.handle(event, self._now):
            match command:
                case Start(program, index):
                    length = self._dice.lognormvariate(-SPREAD * SPREAD / 2, SPREAD)
                    self._voters[program].running[index] = command
                    self._at(self._now / NANOS + length * self.step.service, command)
                case Halt(program):
                    self._over(program)

    def _tick(self) -> None:
        self._tell(Tick())
        for queue in self._scheduler.queues.values():
            time = self._now / NANOS / self.step.service
            self.ticks.append(Seen(time, queue.pressure, queue.price, queue.waiting))

    def _arrive(self) -> None:
        name = f"p{self._serial}-{self._now}"
        self._voters[name] = _Voter(self._dice.choice(RIGHT))
        self._tell(ProgramArrived(name, ("engine",), samples=SAMPLES))
        for index in range(SAMPLES):
            self._tell(RequestSubmitted(name, index))

    def _end(self, start: Start) -> None:
        """A sample is there; unless its program is over."""
        voter = self._voters.get(start.program)
        if voter is None or voter.running.pop(start.index, None) is not start:
            return
        self._tell(RequestEnded(start.program, start.index, tokens=TOKENS, attempt=start.attempt))
        if start.program not in self._voters:
            return
        right = self._dice.random() < voter.right
        voter.votes["right" if right else self._dice.choice("abcdef")] += 1
        counts = sorted(voter.votes.values(), reverse=True)
        left = SAMPLES - sum(counts)
        gain = best_ahead(counts[0], sum(counts[1:2]), sum(counts[2:]), left)[0]
        self._tell(ProgramReported(start.program, None, gain, left))
        if not left or gain < SETTLED:
            self._over(start.program)

    def _over(self, name: str) -> None:
        voter = self._voters.pop(name, None)
        if voter is not None:
            self.drawn.append((self._now / NANOS / self.step.service, sum(voter.votes.values())))
            self._tell(ProgramEnded(name))


def mean_of(rooms: Sequence[Room]) -> list[Seen]:
    """The ticks of several runs, averaged: what chance did is gone, what the step did is left."""
    count = min(len(room.ticks) for room in rooms)
    return [
        Seen(
            each[0].time,
            fmean(seen.pressure for seen in each),
            fmean(seen.price for seen in each),
            round(fmean(seen.waiting for seen in each)),
        )
        for each in zip(*(room.ticks[-count:] for room in rooms), strict=True)
    ]


def overshoots(ticks: Sequence[Seen], *, part: float = 0.25) -> int:
    """How often the pressure rises above what it settles at by more than this part, and comes back."""
    level = settled(ticks)
    times, above = 0, False
    for seen in ticks:
        if seen.pressure > (1 + part) * level and not above:
            times, above = times + 1, True
        above = above and seen.pressure > level
    return times


def settled(ticks: Sequence[Seen]) -> float:
    """The mean pressure in the second half of the step."""
    return fmean(seen.pressure for seen in during(ticks, BEFORE + DURING / 2, BEFORE + DURING))


def during(ticks: Sequence[Seen], begin: float, end: float) -> list[Seen]:
    """The ticks in a span of time."""
    return [seen for seen in ticks if begin <= seen.time < end]


def row(order: str, patience: float, load: float, *, seeds: int = 8) -> str:
    """One line of the table."""
    policy = Policy(order, max_waiting=10**6, patience_seconds=patience)
    rooms = [Room(Step(load, policy=policy, seed=seed)).run() for seed in range(seeds)]
    ticks = mean_of(rooms)
    level, late = settled(ticks), BEFORE + DURING / 2
    peak = max(seen.pressure for seen in ticks)
    cost = fmean(seen.price for seen in during(ticks, late, BEFORE + DURING))
    had = fmean(count for room in rooms for time, count in room.drawn if late <= time < BEFORE + DURING)
    rise = next(seen.time for seen in ticks if seen.time > BEFORE and seen.pressure > 0.9 * level) - BEFORE
    fall = max((seen.time for seen in ticks if seen.price > 0), default=0.0) - BEFORE - DURING
    return (
        f"{order:<31}{patience:9.0f}{load:6.0f}{level:10.2f}{peak:7.2f}{overshoots(ticks):12d}"
        f"{cost:10.4f}{had:9.1f}{rise:12.1f}{max(0.0, fall):15.1f}"
    )


def main() -> int:
    """Print the table."""
    print(f"{'order':<31} patience  load  pressure   peak  overshoots     price  samples  90 % after  price 0 after")
    for order in ("marginal_value", "unanswered then marginal_value", "first_come"):
        for patience in (10.0, 2.0):
            for load in (1.0, 2.0, 4.0, 8.0):
                print(row(order, patience, load))
    return 0


if __name__ == "__main__":
    sys.exit(main())
