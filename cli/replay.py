"""`quorate replay`: stopping rules on recorded samples, by the real strategy and scheduler in virtual time."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from cli.exports import MissingLibrary, matplotlib, pyarrow, write_json, write_parquet
from cli.jobs import Progress, Trace, cores, replay
from cli.plots import draw_all
from core.errors import InvalidRequest
from core.stopping.names import rule_named
from sim.plan import Measured, Plan
from sim.records import Record, records
from sim.summary import report
from sim.traces import Question, TraceError, by_agreement, half, labelled, load
from strategies.self_consistency import DEFAULT

RULES = (DEFAULT, "adaptive-consistency-0.95", "certaindex-0.7@5", "esc-5", "curtailment", "fixed")
CAPS, WIDTHS = (8, 16), (1, 8)
FAILED, INTERRUPTED = 1, 130
T = TypeVar("T")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="recorded samples, .jsonl or .jsonl.gz")
    add("--rules", "--rule", type=rules, action="extend", metavar="NAMES", help=f"default: {','.join(RULES)}")
    add("--caps", "--cap", type=counts, action="extend", metavar="NUMBERS", help="samples at most; default: 8,16")
    add("--widths", "--width", type=counts, action="extend", metavar="NUMBERS", help="in flight at most; default: 1,8")
    add("--orders", type=count, default=20, metavar="NUMBER", help="random orders per question (default %(default)s)")
    add("--seed", type=int, default=0, help="chooses the orders (default %(default)s)")
    add("--certainty", type=fraction, metavar="NUMBER", help="target of the default rule, above 0 and at most 1")
    add("--split", choices=("a", "b", "all"), default="all", help="one half of the questions, by the hash of their ids")
    add("--jobs", type=count, default=cores(), metavar="NUMBER", help="processes (default: all cores, %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the records as JSON")
    add("--parquet", type=Path, metavar="FILE", help="write the records as Parquet (needs pyarrow)")
    add("--plots", type=Path, metavar="FOLDER", help="draw the frontiers as PNG (needs matplotlib)")


def rules(text: str) -> list[str]:
    """Names of rules, separated by commas."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        try:
            _ = name == DEFAULT or rule_named(name)
        except InvalidRequest as error:
            raise argparse.ArgumentTypeError(error.message) from None
    return some(names)


def some(values: list[T]) -> list[T]:
    """The values of a list, of which there is at least one: nothing is no way to ask for the defaults."""
    if not values:
        raise argparse.ArgumentTypeError("the list is empty")
    return values


def counts(text: str) -> list[int]:
    """Positive numbers, separated by commas."""
    return some([count(number) for number in text.split(",") if number.strip()])


def count(text: str) -> int:
    """A positive number."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def fraction(text: str) -> float:
    """A target certainty."""
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return float(text)


def run(arguments: argparse.Namespace) -> int:
    """Replay, print the tables, write the files; returns the exit status."""
    try:
        check(arguments)
        found = measured(traces(arguments.files, plan(arguments), arguments.split), arguments.jobs)
        rows = [record for trace, whole in found for record in figures(trace, whole)]
        print(*report(rows), sep="\n", flush=True)  # what was worked out is seen even where a file cannot be written
        write(found, rows, arguments)
    except (TraceError, OSError, MissingLibrary) as error:
        print(f"quorate replay: {said(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def figures(trace: Trace, whole: Measured) -> Iterator[Record]:
    """The records of a trace."""
    return records(trace.name, whole, trace.plan, labels=trace.labels)


def said(error: Exception) -> str:
    """An error as a sentence for the terminal."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def check(arguments: argparse.Namespace) -> None:
    """Whether the files asked for can be written, before the work is done. Raises `MissingLibrary` and `OSError`."""
    if arguments.parquet:
        pyarrow()
    if arguments.plots:
        matplotlib()
    for path in (arguments.json, arguments.parquet):
        if path and not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent}")
        if path and path.is_dir():
            raise IsADirectoryError(f"{path} is a folder, not a file")
    if arguments.plots and arguments.plots.exists() and not arguments.plots.is_dir():
        raise NotADirectoryError(f"{arguments.plots} is a file, not a folder")


def plan(arguments: argparse.Namespace) -> Plan:
    """What the command line asks for; repeated values count once."""
    wanted = (arguments.rules or RULES, arguments.caps or CAPS, arguments.widths or WIDTHS)
    chosen, caps, widths = (tuple(dict.fromkeys(values)) for values in wanted)
    return Plan(chosen, caps, widths, arguments.orders, arguments.seed, arguments.certainty)


def traces(files: Sequence[Path], wanted: Plan, split: str = "all") -> list[Trace]:
    """The traces with as much of the plan as their recordings allow; what is skipped is said on standard error.

    Raises `TraceError` if a file cannot be replayed or is given twice, or none is long enough.
    """
    each_once(files)
    stems = [file.name.removesuffix(".gz").removesuffix(".jsonl") for file in files]
    found = []
    for file, stem in zip(files, stems, strict=True):
        name = stem if stems.count(stem) == 1 else str(file)
        labels = has_labels(file, name)
        questions = [question for question in replayable(file, labels=labels) if split in ("all", half(question))]
        trace = Trace(name, questions, wanted.within(shortest(questions)), labels)
        for cap in wanted.caps:
            if cap not in trace.plan.caps:
                print(f"{name}: skipped at cap {cap}, {shortest(questions)} samples are recorded", file=sys.stderr)
        if trace.plan.caps:
            found.append(trace)
            note_blind(trace)
    if not found:
        raise TraceError("no file has as many recorded samples as the smallest cap")
    return found


def each_once(files: Sequence[Path]) -> None:
    """Raises `TraceError` if a file is there twice, by whatever path: it would weigh double in every mean."""
    seen: set[Path] = set()
    for file in files:
        if file.resolve() in seen:
            raise TraceError(f"{file} is given twice")
        seen.add(file.resolve())


def has_labels(file: Path, name: str) -> bool:
    """Whether the file says what is right; it is said on standard error if not."""
    if labelled(file):
        return True
    print(f"{name}: no labels, so right is what the majority of all its recorded samples says", file=sys.stderr)
    return False


def replayable(file: Path, *, labels: bool) -> Sequence[Question]:
    """The questions of a file. Without labels, right is what the majority of all that was recorded says."""
    return load(file) if labels else by_agreement(load(file, labels=False))


def note_blind(trace: Trace) -> None:
    """Say which rules cannot work on a trace, because its samples do not carry what they read."""
    if any(sample.confidence for question in trace.questions for sample in question.samples):
        return
    for rule in trace.plan.rules:
        if rule != DEFAULT and rule_named(rule).confidence:
            print(f"{trace.name}: {rule} reads token confidences, and none are recorded", file=sys.stderr)


def shortest(questions: Sequence[Question]) -> int:
    """Samples that every question has."""
    return min((len(question.samples) for question in questions), default=0)


def measured(found: Sequence[Trace], jobs: int) -> list[tuple[Trace, Measured]]:
    """Replay the traces, with a progress bar for who looks on."""
    with bar(sum(trace.work for trace in found)) as progress:
        return list(zip(found, replay(found, jobs, progress), strict=True))


@contextmanager
def bar(total: int, unit: str = "samples") -> Iterator[Progress]:
    """A progress bar on standard error, if that is a terminal and tqdm is installed."""
    if sys.stderr.isatty() and find_spec("tqdm"):
        tqdm = import_module("tqdm").tqdm
        with tqdm(total=total, unit=f" {unit}", unit_scale=True, file=sys.stderr, leave=False) as shown:
            yield shown.update
    else:
        yield lambda _: None


def write(found: Sequence[tuple[Trace, Measured]], rows: Sequence[Record], arguments: argparse.Namespace) -> None:
    """The files that were asked for."""
    if arguments.json:
        write_json(rows, arguments.json)
    if arguments.parquet:
        write_parquet(rows, arguments.parquet)
    if arguments.plots:
        draw_all(found, rows, arguments.plots)
