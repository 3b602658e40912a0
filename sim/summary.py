"""Records for the eye: a table per trace and cap, and one line per rule over all of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import exp, log
from statistics import fmean

from sim.records import Record

REFERENCE = "adaptive-consistency-0.95"
FIXED = "the fixed budget"


@dataclass(frozen=True, slots=True)
class Line:
    """One rule at one width over all pairs of trace and cap.

    `ratio` is the geometric mean of its tokens relative to the reference at the same width, `worst` the largest of
    these ratios and `where` its trace and cap. `change` is the mean accuracy change against the fixed budget, `share`
    the mean share of the oracle gap (None: nowhere a gap).
    """

    rule: str
    width: int
    pairs: int
    ratio: float | None
    worst: float | None
    where: str
    change: float
    share: float | None


def reference(records: Sequence[Record]) -> str:
    """What tokens are relative to: Adaptive-Consistency at 0.95 if it was replayed, else the fixed budget."""
    return REFERENCE if any(record.rule == REFERENCE for record in records) else FIXED


def summary(records: Sequence[Record]) -> list[Line]:
    """One line per rule and width, in the order of the records."""
    known = {(r.trace, r.cap, r.width): r.tokens for r in records if r.rule == REFERENCE}
    settings = dict.fromkeys((record.rule, record.width) for record in records)
    return [_line([r for r in records if (r.rule, r.width) == setting], known) for setting in settings]


def _line(records: Sequence[Record], known: dict[tuple[str, int, int], float]) -> Line:
    against = [known.get((r.trace, r.cap, r.width), 0.0) if known else r.tokens_fixed for r in records]
    pairs = [(r, base) for r, base in zip(records, against, strict=True) if base and r.tokens]
    ratios = [(r.tokens / base, f"{r.trace}, cap {r.cap}") for r, base in pairs]
    worst, where = max(ratios, default=(None, ""))
    shares = [record.oracle_gap_share for record in records if record.oracle_gap_share is not None]
    return Line(
        records[0].rule,
        records[0].width,
        len(records),
        exp(fmean(log(ratio) for ratio, _ in ratios)) if ratios else None,
        worst,
        where,
        fmean(record.accuracy_change for record in records),
        fmean(shares) if shares else None,
    )


COLUMNS: Sequence[tuple[str, Callable[[Record], str]]] = (
    ("rule", lambda r: r.rule),
    ("width", lambda r: str(r.width)),
    ("accuracy", lambda r: f"{r.accuracy:.3f}"),
    ("change, points (95 %)", lambda r: f"{points(r.accuracy_change)} ({bounds(r)})"),
    ("tokens", lambda r: f"{r.tokens:,.1f}"),
    ("saved", lambda r: percent(r.tokens_saved)),
    ("of oracle gap", lambda r: percent(r.oracle_gap_share)),
    ("samples", lambda r: f"{r.samples:.2f}"),
    ("makespan", lambda r: f"{r.makespan:,.1f}"),
    ("agreement", lambda r: f"{r.agreement:.3f}"),
)
TOTALS: Sequence[tuple[str, Callable[[Line], str]]] = (
    ("rule", lambda line: line.rule),
    ("width", lambda line: str(line.width)),
    ("tokens, geometric mean", lambda line: times(line.ratio)),
    ("worst", lambda line: times(line.worst)),
    ("accuracy change, points", lambda line: points(line.change)),
    ("of oracle gap", lambda line: percent(line.share)),
    ("worst on", lambda line: line.where),
)


def report(records: Sequence[Record]) -> Iterator[str]:
    """The lines to print."""
    for _, group in groupby(records, key=lambda record: (record.trace, record.cap)):
        rows = list(group)
        yield f"\n{heading(rows[0])}\n"
        yield from aligned([[name for name, _ in COLUMNS], *[[cell(row) for _, cell in COLUMNS] for row in rows]])
    lines = summary(records)
    pairs = len({(record.trace, record.cap) for record in records})
    yield f"\nAll {pairs} pairs of trace and cap, tokens relative to {reference(records)}\n"
    yield from aligned([[name for name, _ in TOTALS], *[[cell(line) for _, cell in TOTALS] for line in lines]])


def heading(record: Record) -> str:
    """What all rules of a trace and cap have in common."""
    r = record
    right = "right" if r.labels else "agreeing with the majority of all recorded (no labels)"
    return (
        f"{r.trace}, cap {r.cap}: {r.questions} questions x {r.orders} orders; fixed {r.accuracy_fixed:.3f} {right}, "
        f"{r.tokens_fixed:,.1f} tokens a question, {r.makespan_parallel:,.1f} decode steps all at once; "
        f"oracle {r.oracle_tokens:,.1f} tokens, {r.oracle_samples:.2f} samples"
    )


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells as lines of text, the first column to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()


def points(fraction: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return f"{100 * fraction:+.2f}"


def bounds(record: Record) -> str:
    """The interval of the change in accuracy, in percentage points."""
    return f"{points(record.accuracy_change_low)} to {points(record.accuracy_change_high)}"


def percent(fraction: float | None) -> str:
    """A share in percent, a dash where there is none."""
    return "-" if fraction is None else f"{fraction:.1%}"


def times(ratio: float | None) -> str:
    """A ratio, a dash where there is none."""
    return "-" if ratio is None else f"{ratio:.3f}"
