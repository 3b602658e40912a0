"""A calibration as a whole: observe, certify thresholds, fit on one part of the questions, judge on the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from math import ceil
from statistics import fmean

from core.calibration import Abstention, Bound, Profile, Target
from sim.calibrating import CalibrationError, Group, fit, judged_by
from sim.observing import Seen, Setup, observe
from sim.reliability import Reliability, Statement, reliability
from sim.risk import Losses, certified, most_promising_first, selective
from sim.traces import Question
from strategies.self_consistency import DEFAULT

Observe = Callable[[Sequence[Question], Setup, float | None, bool], list[tuple[Seen, ...]]]
LEVELS = (0.999, 0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.92, 0.9, 0.88, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)
"""Settled thresholds in the order in which they are tested."""
LOSSLESS = 1.0
"""The settled threshold that needs no test: it stops only where the leader cannot be caught any more."""
ABSTAINING = tuple(percent / 100 for percent in range(99, 39, -1))
"""Certainties below which to abstain, in the order in which they are tested."""
FEWEST = 10
"""Questions on either side of the split below which there is nothing to learn or to judge."""


class Study:
    """Questions and what is seen of them; every level is replayed once, when it is first asked for.

    Args:
        questions: Each sampled once, or several times, under ids of its own (by several models, say).
        setup: How to run.
        run: What replays.
        names: For each of them what is asked, by default its id. Those of one name are one question: it stands on one
            side of every split, and what is seen of it weighs one together.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        setup: Setup,
        run: Observe = observe,
        names: Sequence[str] | None = None,
    ) -> None:
        self.questions = questions
        self.setup = setup
        self._run = run
        self._copies: dict[str, list[int]] = {}
        for place, name in enumerate(names or [question.id for question in questions]):
            self._copies.setdefault(name, []).append(place)
        self.names = tuple(self._copies)
        self._seen: dict[tuple[float | None, bool], list[tuple[Seen, ...]]] = {}

    def at(self, level: float | None, abstain: bool = False) -> list[tuple[Seen, ...]]:
        """What is seen of every name's question with this target (None: none is stated)."""
        if (level, abstain) not in self._seen:
            groups = self._run(self.questions, self.setup, level, abstain)
            self._seen[level, abstain] = [
                tuple(chain.from_iterable(groups[place] for place in places)) for places in self._copies.values()
            ]
        return self._seen[level, abstain]

    def differing(self, level: float | None, places: Sequence[int] | None = None) -> Losses:
        """For every question (or those at `places`) the share of orders whose answer is not the full budget's."""
        losses = [fmean(seen.differs for seen in group) for group in self.at(level)]
        return losses if places is None else [losses[place] for place in places]


@dataclass(frozen=True, slots=True)
class Judged:
    """A stated certainty on held-out questions: all answers, and those alone that stopped before the cap.

    `differing` is the share that is not the full budget's answer, `early` that which stopped early, `tokens` the mean.
    """

    certainty: float | None
    settled: float | None
    differing: float
    early: float
    tokens: float
    every: Reliability | None
    stopped: Reliability | None


@dataclass(frozen=True, slots=True)
class Spared:
    """An abstention on the questions that certified it: the share answered, and that of wrong answers among those."""

    kept: Abstention
    answered: float
    wrong: float


def split(names: Sequence[str], held: float, seed: int) -> tuple[list[int], list[int]]:
    """Places of the questions to fit on and of those held out, by the hash of seed and name; in order."""
    ranked = sorted(range(len(names)), key=lambda i: sha256(f"{seed}/{names[i]}".encode()).digest())
    count = ceil(len(names) * held) if held else 0
    return sorted(ranked[count:]), sorted(ranked[:count])


def bounds(
    losses: Callable[[float], Losses], certainties: Sequence[float], delta: float, levels: Sequence[float] = LEVELS
) -> tuple[Bound, ...]:
    """For each certainty the least settled threshold that keeps it; `LOSSLESS` where no lower one is certified.

    `losses` are those of the level, question by question.
    """
    risks = [1 - certainty for certainty in certainties]
    found = certified(levels, losses, [risk for risk in risks if risk > 0], delta)
    count = len(losses(levels[0]))
    return tuple(
        Bound(certainty, found.get(risk, LOSSLESS), delta, count)
        for certainty, risk in zip(certainties, risks, strict=True)
    )


def answering(profile: Profile, least: float, group: Group) -> list[tuple[bool, bool]]:
    """Whether each program answers, and whether it is right, if it abstains below `least`."""
    return [(seen.signals is not None and profile.mapped(seen.signals) >= least, seen.right) for seen in group]


def abstention(
    profile: Profile, fitted: Sequence[Group], held: Sequence[Group], certainty: float, delta: float
) -> Abstention | None:
    """The least certainty at which answers are wrong at most as often as stated; None where none is certified.

    Tested on questions that the profile was not fitted on; where the sequence begins is chosen on those it was.
    """
    risk = 1 - certainty

    def losses(groups: Sequence[Group], least: float) -> Losses:
        return selective((answering(profile, least, group) for group in groups), risk)

    levels = most_promising_first(ABSTAINING, lambda least: losses(fitted, least), risk)
    found = certified(levels, lambda least: losses(held, least), [risk], delta)
    return Abstention(certainty, found[risk], delta, len(held)) if found else None


def settled_at(study: Study, profile: Profile, certainty: float) -> float:
    """The settled threshold of a stated certainty, as programs of this study have it."""
    return profile.threshold(certainty, cap=study.setup.cap, width=study.setup.width)


def taught(study: Study, base: Profile, certainties: Sequence[float], places: Sequence[int]) -> Profile:
    """The base, fitted on the states at which answers are given with each of these certainties, and without any."""
    seen = [study.at(None), *(study.at(settled_at(study, base, certainty)) for certainty in certainties)]
    if base.target is Target.CORRECTNESS:
        seen += [study.at(certainty, abstain=True) for certainty in certainties]
    return fit([tuple(chain.from_iterable(groups[place] for groups in seen)) for place in places], base)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a study taught: the profile, and its trial, which had no part in the questions at the places `held`.

    Both map states to the same certainties. The thresholds of the profile are certified on all questions, those of the
    trial on the fitted ones alone, so that what the trial does to the others is no part of how they were chosen.
    """

    profile: Profile
    trial: Profile
    held: list[int]


def calibrated(study: Study, base: Profile, certainties: Sequence[float], delta: float, held: float) -> Calibration:
    """The profile of a study, and how to judge it. Raises `CalibrationError`.

    Settled thresholds do not depend on the fit, so all questions certify them; abstentions do, so the held-out ones do.
    """
    inner, outer = split(study.names, held, study.setup.seed)
    if min(len(inner), len(outer)) < FEWEST:
        few = f"{len(inner)} questions to learn from and {len(outer)} held out are too few"
        raise CalibrationError(f"{few}: at least {FEWEST} of each are needed")
    ruled = certainties if study.setup.rule == DEFAULT else ()
    alone = bounds(lambda level: study.differing(level, inner), ruled, delta)
    trial = taught(study, replace(base, bounds=alone), ruled, inner)
    abstaining = abstentions(study, trial, ruled, delta, (inner, outer)) if base.target is Target.CORRECTNESS else ()
    profile = replace(trial, bounds=bounds(study.differing, ruled, delta), abstentions=abstaining)
    return Calibration(profile, trial, outer)


def abstentions(
    study: Study, profile: Profile, certainties: Sequence[float], delta: float, places: tuple[list[int], list[int]]
) -> tuple[Abstention, ...]:
    """The levels of abstention that can be certified; `places` are those fitted on, and those that test."""
    found = []
    for certainty in certainties:
        groups = study.at(certainty, abstain=True)
        fitted, tested = ([groups[place] for place in side] for side in places)
        found.append(abstention(profile, fitted, tested, certainty, delta))
    return tuple(each for each in found if each is not None)


def judged(study: Study, profile: Profile, certainty: float | None, places: Sequence[int]) -> Judged:
    """What a stated certainty is worth on these questions."""
    settled = None if certainty is None else settled_at(study, profile, certainty)
    groups = [study.at(settled)[place] for place in places]
    programs = [seen for group in groups for seen in group]
    return Judged(
        certainty,
        settled,
        differing=fmean(seen.differs for seen in programs),
        early=fmean(seen.early for seen in programs),
        tokens=fmean(seen.tokens for seen in programs),
        every=reliability([statements(profile, group) for group in groups]),
        stopped=reliability([statements(profile, [seen for seen in group if seen.early]) for group in groups]),
    )


def statements(profile: Profile, group: Group, axis: Profile | None = None) -> list[Statement]:
    """What the profile says of each program that answered, and what came of it; bins by `axis`, if another."""
    judge, ordered = judged_by(profile.target), axis or profile
    return [
        Statement(profile.mapped(seen.signals), judge(seen), ordered.mapped(seen.signals))
        for seen in group
        if seen.signals is not None
    ]


def spared(study: Study, profile: Profile, kept: Abstention, places: Sequence[int]) -> Spared:
    """What abstaining does to these questions."""
    groups = study.at(kept.certainty, abstain=True)
    programs = [pair for place in places for pair in answering(profile, kept.least, groups[place])]
    given = [right for answered, right in programs if answered]
    return Spared(kept, len(given) / len(programs), 1 - fmean(given) if given else 0.0)
