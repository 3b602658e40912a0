"""`quorate calibrate`: from recorded samples to a profile that the gateway reads."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cli.diagrams import reliability_diagram
from cli.exports import MissingLibrary, optional
from cli.jobs import cores
from cli.observers import observer
from cli.replay import FAILED, INTERRUPTED, count, fraction, rules, said, shortest
from core.calibration import Profile, Target
from core.profiles import encode
from sim.calibrating import CalibrationError
from sim.observing import Setup
from sim.study import Judged, Study, calibrated, judged, spared
from sim.study_report import account, lines
from sim.traces import Question, TraceError, load
from strategies.self_consistency import DEFAULT

CERTAINTIES = (0.9, 0.95, 0.99)
FEW = 100
"""Questions below which a calibration is hardly worth its name."""
SPARSE = 50
"""Questions held out below which its error is hardly known."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="recorded samples, .jsonl or .jsonl.gz")
    add("--out", type=Path, required=True, metavar="FILE", help="where to write the profile")
    add("--target", type=Target, choices=list(Target), default=Target.AGREEMENT, help="default: %(default)s, no labels")
    add("--reference", type=count, metavar="NUMBER", help="samples to agree with (default: the cap, or 64 if recorded)")
    add("--cap", type=count, default=16, metavar="NUMBER", help="samples at most (default %(default)s)")
    add("--width", type=count, default=8, metavar="NUMBER", help="in flight at most (default %(default)s)")
    add("--rule", type=rule, default=DEFAULT, metavar="NAME", help="when to stop (default: %(default)s)")
    add("--certainty", type=fractions, default=CERTAINTIES, metavar="NUMBERS", help="to certify; default 0.9,0.95,0.99")
    add("--delta", type=part, default=0.05, help="chance that a certificate is wrong (default %(default)s)")
    add("--orders", type=count, default=20, metavar="NUMBER", help="random orders per question (default %(default)s)")
    add("--seed", type=int, default=0, help="chooses orders and split (default %(default)s)")
    add("--holdout", type=part, default=0.5, help="share of the questions kept to judge by (default %(default)s)")
    add("--name", default="", help="of the profile (default: that of the first file)")
    add("--model", default="", help="the model it is for")
    add("--task", default="", help="the family of tasks it is for")
    add("--jobs", type=count, default=cores(), metavar="NUMBER", help="processes (default: all cores, %(default)s)")
    add("--plot", type=Path, metavar="FILE", help="draw the reliability diagram as PNG (needs matplotlib)")


def fractions(text: str) -> tuple[float, ...]:
    """Certainties, separated by commas, each once, in rising order."""
    return tuple(sorted({fraction(number) for number in text.split(",") if number.strip()}))


def part(text: str) -> float:
    """A share above 0 and below 1."""
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)


def rule(text: str) -> str:
    """One rule by name."""
    [name] = rules(text) or [DEFAULT]
    return name


def run(arguments: argparse.Namespace) -> int:
    """Calibrate, print the figures, write the profile; returns the exit status."""
    try:
        check(arguments)
        calibrate(arguments)
    except (TraceError, OSError, MissingLibrary) as error:
        print(f"quorate calibrate: {said(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def check(arguments: argparse.Namespace) -> None:
    """Say before the work is done what will come to nothing. Raises `MissingLibrary` and `OSError`."""
    if arguments.plot:
        optional("matplotlib.figure", "--plot", "bench")
    for path in (arguments.out, arguments.plot):
        if path and not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent}")


def calibrate(arguments: argparse.Namespace) -> None:
    """Raises `TraceError` and `OSError`."""
    questions, names = recorded(arguments.files, labels=arguments.target is Target.CORRECTNESS)
    setup = planned(arguments, shortest(questions))
    with observer(arguments.jobs) as watch:
        study = Study(questions, setup, watch, names)
        try:
            found = calibrated(study, blank(arguments, setup), arguments.certainty, arguments.delta, arguments.holdout)
        except CalibrationError as error:
            raise TraceError(f"{arguments.files[0].name}: {error}") from error
        profile, held = found.profile, found.held
        stated = [None, *(bound.certainty for bound in profile.bounds)]
        rows = [judged(study, found.trial, certainty, held) for certainty in stated]
        abstaining = [spared(study, profile, each, held) for each in profile.abstentions]
    print(heading(profile, setup, len(study.names), len(held)))
    for line in lines(profile, rows, abstaining):
        print(line)
    write(profile, accounted(arguments, setup, len(study.names), held, rows), arguments.out)
    if arguments.plot:
        diagram(rows, profile, arguments.plot)


def recorded(files: Sequence[Path], *, labels: bool) -> tuple[list[Question], list[str]]:
    """All questions of all files, and the id that each has in its file: the same in two files is the same question.

    Raises `TraceError` and `OSError`.
    """
    known: set[Path] = set()
    for path in files:
        if path.resolve() in known:
            raise TraceError(f"{path} is given twice")
        known.add(path.resolve())
    found = [(number, question) for number, path in enumerate(files) for question in load(path, labels=labels)]
    names = [question.id for _, question in found]
    if len(files) == 1:
        return [question for _, question in found], names
    return [Question(f"{number}/{question.id}", question.samples) for number, question in found], names


def planned(arguments: argparse.Namespace, samples: int) -> Setup:
    """How to run. Raises `TraceError` if too few samples are recorded."""
    usual = max(arguments.cap, min(64, samples))
    setup = Setup(
        cap=arguments.cap,
        reference=arguments.reference or usual,
        width=arguments.width,
        orders=arguments.orders,
        seed=arguments.seed,
        rule=arguments.rule,
    )
    if samples < setup.needed:
        raise TraceError(f"{samples} samples are recorded of every question, {setup.needed} are needed")
    return setup


def blank(arguments: argparse.Namespace, setup: Setup) -> Profile:
    """The profile before anything is learned."""
    return Profile(
        name=arguments.name or stem(arguments.files[0]),
        target=arguments.target,
        reference=setup.reference,
        cap=setup.cap,
        width=setup.width,
        model=arguments.model,
        task=arguments.task,
    )


def stem(path: Path) -> str:
    """A trace's name: its file's, without the endings."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def heading(profile: Profile, setup: Setup, questions: int, held: int) -> str:
    """What was done, and a warning where it was done with little."""
    few = f"\nFewer than {FEW} questions: take the figures with care." if questions - held < FEW else ""
    few += f"\nFewer than {SPARSE} questions held out: they hardly tell the error." if held < SPARSE else ""
    return (
        f"{profile.name}: {questions} questions, {held} of them held out, {setup.orders} orders each; "
        f"cap {setup.cap}, width {setup.width}, rule {setup.rule}, {profile.target} with {setup.reference}{few}"
    )


def accounted(
    arguments: argparse.Namespace, setup: Setup, questions: int, held: Sequence[int], rows: Sequence[Judged]
) -> Mapping[str, Any]:
    """What people want to know of a profile."""
    traces = [{"name": path.name, "sha256": sha256(path.read_bytes()).hexdigest()} for path in arguments.files]
    return {
        "made": datetime.now(UTC).date().isoformat(),
        "traces": traces,
        "questions": questions,
        "held_out": len(held),
        "setup": asdict(setup),
        "reliability": account(rows),
    }


def write(profile: Profile, told: Mapping[str, Any], path: Path) -> None:
    """The profile as JSON. Raises `OSError`."""
    path.write_text(json.dumps(encode(profile, told), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"\nprofile: {path}")


def diagram(rows: Sequence[Judged], profile: Profile, path: Path) -> None:
    """The reliability diagram. Raises `OSError`."""
    reliability_diagram([(profile.name, [row for row in rows if row.every])], path)
