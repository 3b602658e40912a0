"""`python -m bench.calibration`: is a calibrated certainty a probability, and are certified risks kept?

Every recorded data set with at least 300 questions, in virtual time. Reliability by cross-fitting over questions: each
is judged by a profile that it had no part in. Risks by 100 random halves: certified on one, realised on the other.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import fmean
from timeit import repeat

from cli.diagrams import reliability_diagram
from cli.jobs import cores
from cli.observers import observer
from core.calibration import Profile, Target
from core.evidence import Evidence
from sim.calibrating import FOLDS, fit, folds
from sim.dice import dice
from sim.observing import Setup
from sim.reliability import Reliability, Statement, error, reliability
from sim.study import LOSSLESS, Judged, Study, abstention, answering, bounds, settled_at, statements, taught
from sim.summary import aligned, percent
from sim.traces import load

HOME = Path(__file__).parent
SETS: Sequence[tuple[str, int, int]] = (
    ("mcqa-exams-gpt35-cot", 16, 64),
    ("mcqa-exams-gpt35-cot", 8, 64),
    ("reasoner-small", 16, 64),
    ("reasoner-large", 16, 64),
    ("math-r1distill7b-m8", 8, 8),
    ("math-qwen25math15b-m8", 8, 8),
    ("gsm8k-qwen25math15b-m8", 8, 8),
)
"""Data set, cap, reference budget: that of the recording where only 8 samples a question are known."""
SHORT = "math-r1distill7b-m8"
CERTAINTIES = (0.9, 0.95)
ABSTAINING = (0.7, 0.8, 0.9, 0.95)
DELTA = 0.05
PARTITIONS = 5
SPLITS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One data set, target and certainty over partitions: mean ECE, its extremes, and the last partition's figures.

    `halves` are mean ECE and mean noise floor of single profiles, each of one half of the questions and judged on the
    other, as many as there are partitions (without a stated certainty).
    """

    trace: str
    cap: int
    target: str
    certainty: float | None
    ece: float
    least: float
    most: float
    early: float | None
    figures: Reliability
    halves: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Kept:
    """Of random halves: those with a certificate below the lossless threshold, those whose risk was kept on the other.

    `risk` is the mean realised risk, `part` the mean of tokens relative to the lossless threshold (stopping) or the
    share of answers given (abstaining), both over the halves with a certificate.
    """

    trace: str
    cap: int
    what: str
    certainty: float
    certified: int
    kept: int
    risk: float
    part: float


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.calibration", description=__doc__)
    add = parser.add_argument
    add("--traces", type=Path, default=HOME / "traces", help="folder of recorded samples (default: bench/traces)")
    add("--short", action="store_true", help="one data set, two orders, ten halves; no picture")
    add("--orders", type=int, default=4, help="random orders per question (default %(default)s)")
    add("--jobs", type=int, default=cores(), help="processes (default: all cores)")
    add("--out", type=Path, default=HOME / "results" / "calibration.json", help="the rows (default: bench/results)")
    add("--plot", type=Path, default=HOME.parent / "docs" / "calibration.png", help="reliability diagrams")
    run(parser.parse_args())


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the tables, write rows and picture."""
    short = arguments.short
    rows: list[Row] = []
    kept: list[Kept] = []
    with observer(arguments.jobs) as watch:
        for name, cap, reference in [each for each in SETS if each[0] == SHORT] if short else SETS:
            setup = Setup(cap, reference, orders=2 if short else arguments.orders)
            study = Study(load(arguments.traces / f"{name}.jsonl.gz"), setup, watch)
            found = [row for target in Target for row in reliable(study, name, target)]
            held = list(halves(study, name, 10 if short else SPLITS))
            print("\n".join(report(found, held)), flush=True)
            rows, kept = [*rows, *found], [*kept, *held]
    print(f"\nProfile.certainty: {microseconds():.1f} us")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"reliability": rows, "risk": kept}, default=plain, indent=1) + "\n", "utf-8")
    if not short:
        reliability_diagram(panels(rows), arguments.plot)


def reliable(study: Study, name: str, target: Target) -> Iterator[Row]:
    """Reliability of every stated certainty, each question judged by a profile fitted and certified without it."""
    partitions = [crossed(study, target, partition) for partition in range(PARTITIONS)]
    for certainty, (every, _) in partitions[-1].items():
        figures = reliability(every)
        errors = [e for stated in partitions if (e := error(stated[certainty][0])) is not None]
        early = [e for stated in partitions if (e := error(stated[certainty][1])) is not None]
        if figures is not None:
            yield Row(
                name,
                study.setup.cap,
                target.value,
                certainty,
                ece=fmean(errors),
                least=min(errors),
                most=max(errors),
                early=fmean(early) if early else None,
                figures=figures,
                halves=halved(study, target) if certainty is None else None,
            )


Statements = list[list[Statement]]


def crossed(study: Study, target: Target, partition: int) -> Mapping[float | None, tuple[Statements, Statements]]:
    """By stated certainty, what was stated of every question, and the part of it that stopped early.

    Bins are those of one profile fitted on all questions: five folds state five certainties of one state.
    """
    found: dict[float | None, tuple[Statements, Statements]] = {each: ([], []) for each in (None, *CERTAINTIES)}
    axis = learned(study, target, range(len(study.questions)))
    for inner, outer in folds(shuffled(len(study.questions), f"partition {partition}"), FOLDS):
        profile = learned(study, target, inner)
        for certainty, (every, early) in found.items():
            groups = study.at(None if certainty is None else settled_at(study, profile, certainty))
            every += [statements(profile, groups[place], axis) for place in outer]
            early += [statements(profile, [seen for seen in groups[place] if seen.early], axis) for place in outer]
    return found


def learned(study: Study, target: Target, places: Sequence[int]) -> Profile:
    """The profile that these questions alone certify and teach."""
    setup = study.setup
    base = Profile(target=target, reference=setup.reference, cap=setup.cap, width=setup.width)
    return taught(study, replace(base, bounds=bounds(among(study, places), CERTAINTIES, DELTA)), CERTAINTIES, places)


def halved(study: Study, target: Target) -> tuple[float, float]:
    """Mean ECE and mean noise floor of single profiles."""
    found = [each for number in range(PARTITIONS) if (each := single(study, target, number)) is not None]
    return fmean(each.ece for each in found), fmean(each.floor for each in found)


def single(study: Study, target: Target, number: int) -> Reliability | None:
    """One profile of one random half, judged on the other half: what a single calibration shows."""
    places = shuffled(len(study.questions), f"single {number}")
    middle = len(places) // 2
    profile = learned(study, target, places[:middle])
    return reliability([statements(profile, study.at(None)[place]) for place in places[middle:]])


def shuffled(count: int, name: str) -> list[int]:
    """The numbers below `count` in a random order."""
    places = list(range(count))
    dice(0, name).shuffle(places)
    return places


def among(study: Study, places: Sequence[int]) -> Callable[[float], list[float]]:
    """Losses of these questions alone, by level."""

    def losses(level: float) -> list[float]:
        every = study.differing(level)
        return [every[place] for place in places]

    return losses


def halves(study: Study, name: str, count: int) -> Iterator[Kept]:
    """How often a risk certified on one half of the questions is kept on the other."""
    cuts = [shuffled(len(study.questions), f"halves {number}") for number in range(count)]
    middle = len(study.questions) // 2
    for certainty in CERTAINTIES:
        stopping = [stopped(study, cut[:middle], cut[middle:], certainty) for cut in cuts]
        yield tallied(name, study.setup.cap, "stopping", certainty, stopping)
    for certainty in ABSTAINING:
        spared = [abstained(study, cut[:middle], cut[middle:], certainty) for cut in cuts]
        yield tallied(name, study.setup.cap, "abstaining", certainty, spared)


Realised = tuple[float, float] | None
"""Realised risk and its part (see `Kept`); None without a certificate."""


def tallied(name: str, cap: int, what: str, certainty: float, realised: Sequence[Realised]) -> Kept:
    """The halves counted. Where nothing is certified nothing is promised, so nothing is broken."""
    known = [each for each in realised if each is not None]
    kept = sum(each is None or each[0] <= 1 - certainty for each in realised)
    means = [fmean(column) for column in zip(*known, strict=True)] if known else [0.0, 1.0]
    return Kept(name, cap, what, certainty, len(known), kept, means[0], means[1])


def stopped(study: Study, inner: Sequence[int], outer: Sequence[int], certainty: float) -> Realised:
    """The share of answers of the outer half that differ from the full budget's, by the threshold of the inner one."""
    [bound] = bounds(among(study, inner), (certainty,), DELTA)
    if bound.settled == LOSSLESS:
        return None
    spent, whole = (fmean(s.tokens for p in outer for s in study.at(at)[p]) for at in (bound.settled, LOSSLESS))
    return fmean(among(study, outer)(bound.settled)), spent / whole


def abstained(study: Study, inner: Sequence[int], outer: Sequence[int], certainty: float) -> Realised:
    """The share of wrong answers among those given on the outer half; the inner one fits and certifies, half each."""
    groups = study.at(certainty, abstain=True)
    fitted, tested = ([groups[place] for place in inner[start::2]] for start in (0, 1))
    profile = fit(fitted, Profile(target=Target.CORRECTNESS, reference=study.setup.reference))
    found = abstention(profile, fitted, tested, certainty, DELTA)
    if found is None:
        return None
    programs = list(chain.from_iterable(answering(profile, found.least, groups[place]) for place in outer))
    given = [right for answered, right in programs if answered]
    return (1 - fmean(given) if given else 0.0), len(given) / len(programs)


def microseconds() -> float:
    """What one call of `Profile.certainty` costs, over the states of a vote; the best of five."""
    weights = (("standing", 0.6), ("share", 0.9), ("votes", -0.3))
    knots = tuple((place / 11, place / 11) for place in range(12))
    profile = Profile(reference=64, weights=weights, knots=knots)
    states = [Evidence((lead, second), 0, lead + second) for lead in range(1, 9) for second in range(1, lead + 1)]
    rounds = 200
    spent = min(repeat(lambda: [profile.certainty(state) for state in states], number=rounds, repeat=5))
    return spent / rounds / len(states) * 1e6


RELIABLE = (
    *("data set", "cap", "target", "certainty", "ECE", "over partitions", "noise floor", "Brier", "log loss"),
    *("ECE of early stops", "one half (floor)"),
)
RISKS = "data set|cap|what|certainty|certified|kept|mean risk|tokens or answers".split("|")


def report(rows: Sequence[Row], kept: Sequence[Kept]) -> Iterator[str]:
    """The tables."""
    yield ""
    yield from aligned([RELIABLE, *[_reliable(row) for row in rows]])
    yield ""
    yield from aligned([RISKS, *[_risk(each) for each in kept]])


def _reliable(row: Row) -> list[str]:
    return [
        row.trace,
        str(row.cap),
        row.target,
        "default" if row.certainty is None else f"{row.certainty:g}",
        f"{row.ece:.4f}",
        f"{row.least:.4f} to {row.most:.4f}",
        *(f"{value:.4f}" for value in (row.figures.floor, row.figures.brier, row.figures.log_loss)),
        "-" if row.early is None else f"{row.early:.4f}",
        "" if row.halves is None else "{:.3f} ({:.3f})".format(*row.halves),
    ]


def _risk(each: Kept) -> list[str]:
    numbers = (f"{each.certainty:g}", str(each.certified), str(each.kept), percent(each.risk), percent(each.part))
    return [each.trace, str(each.cap), each.what, *numbers]


def panels(rows: Sequence[Row]) -> list[tuple[str, list[Judged]]]:
    """Reliability diagrams of the default, target by target."""
    found: dict[str, list[Judged]] = {}
    for row in rows:
        judged = Judged(row.certainty, None, 0.0, 0.0, 0.0, row.figures, None)
        found.setdefault(f"{row.trace}, cap {row.cap}, {row.target}", []).append(judged)
    return list(found.items())


def plain(value: object) -> object:
    """Rows as JSON has them."""
    return {name: getattr(value, name) for name in value.__slots__} if hasattr(value, "__slots__") else str(value)


if __name__ == "__main__":
    main()
