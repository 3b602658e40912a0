"""docs/online.md: the tables and plots of `bench.sustained`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.sustained_found import Found, crossing
from bench.sustained_policies import MAIN, PARTS
from cli.exports import matplotlib

DOCS = Path("docs")
Curves = Mapping[tuple[str, str, str], Sequence[Found]]
Spread = Mapping[tuple[str, str], Sequence[Found]]
HEAD = """\
# Programs a second, in time and no worse

<!-- Written by `python -m bench.sustained`: change that, not this page. -->

    python -m bench.sustained

Dynasor's online study (arXiv 2412.20993, section 5) in virtual time: the gateway's own scheduler and strategies on a
model of vLLM on one A100 with an 8B model (`sim/engine`), recorded answers of real models, Poisson arrivals, at most 20
samples. Each program has the same time (about twelve mean samples in a full batch), which says nothing about its
difficulty; with **oracle** deadlines, Dynasor's own, it has once, twice or three times that, as its question is always,
sometimes or never answered right. Programs arrive for 14 times the deadline; those of the first and the last deadline
are not counted.

**Sustained**: the highest rate at which 90 % are answered in time *and* at most 0.5 points of accuracy are lost against
the majority of all 20 samples of the same programs (refused and failed ones count as wrong). Rates are tried on a grid
of 12 % steps and interpolated; the accuracy of a point has a standard error of about 0.2 points for *ours* (two seeds)
and 0.3 for the others (one). Aborted tokens are work like all others. *ours*: strategy `self_consistency` with its
default rule, order `marginal_value`, compute price, deadline given (the last reported answer is the answer). *ours with
auto*: strategy `auto` at its default price.
"""


def write(curves: Curves, spread: Spread, scales: Sequence[tuple[str, str, float, float]]) -> None:
    """The page and its plots."""
    tables = list(dict.fromkeys(table for table, _, difficulty in curves if difficulty == "none"))
    lines = [HEAD, *sustained(curves, tables), *times(curves, tables)]
    lines += [*tightest(scales), *oracle(curves), *parts(curves), *overload(spread, tables)]
    if spread:
        draw(spread, tables, DOCS / "online.png")
        lines += ["\n![In time, accuracy and latency over the rate](online.png)"]
    (DOCS / "online.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def _best(curves: Curves, table: str, name: str, difficulty: str = "none") -> float:
    return crossing(curves.get((table, name, difficulty), ()))


def sustained(curves: Curves, tables: Sequence[str]) -> Iterator[str]:
    """Rates by table and policy."""
    yield "\n## Sustained, programs a second\n"
    yield _row(["answers", *MAIN])
    yield _rule(1 + len(MAIN))
    for table in tables:
        yield _row([table, *[f"{_best(curves, table, name):.2f}" for name in MAIN]])


def times(curves: Curves, tables: Sequence[str]) -> Iterator[str]:
    """How many times the baselines' rates ours are, and those of in-time answers alone."""
    yield "\n## Ours over the others\n"
    yield _row(
        ["answers", "over fixed, engine order", "over Dynasor", "over Adaptive-Consistency", "auto over Dynasor"]
    )
    yield _rule(5)
    for table in tables:
        ours, auto = _best(curves, table, "ours"), _best(curves, table, "ours with auto")
        fixed, dynasor = _best(curves, table, MAIN[0]), _best(curves, table, "Dynasor")
        waves = _best(curves, table, "Adaptive-Consistency, waves")
        yield _row(
            [table, *[_ratio(a, b) for a, b in ((ours, fixed), (ours, dynasor), (ours, waves), (auto, dynasor))]]
        )


def tightest(scales: Sequence[tuple[str, str, float, float]]) -> Iterator[str]:
    """The tightest deadlines at one rate."""
    if not scales:
        return
    yield "\n## Tightest deadlines\n"
    yield "Scale of the deadlines that is still kept (90 % in time, half a point lost at most) at four fifths of what"
    yield "fixed budgets in engine order sustain; each scale tried is three quarters of the one before.\n"
    yield _row(["answers", "rate", *MAIN])
    yield _rule(2 + len(MAIN))
    for table, rate in dict.fromkeys((table, rate) for table, _, rate, _ in scales):
        own = {name: scale for where, name, _, scale in scales if where == table}
        yield _row([table, f"{rate:.2f}", *[f"{own[name]:.2f}" for name in MAIN]])


def _ratio(rate: float, base: float) -> str:
    return f"{rate / base:.2f}" if base else "-"


def oracle(curves: Curves) -> Iterator[str]:
    """The faithful repetition."""
    found = {(table, name): crossing(curve) for (table, name, kind), curve in curves.items() if kind == "oracle"}
    if not found:
        return
    yield "\n## With oracle deadlines\n"
    yield "Baselines do not know the deadlines; *ours* is given them, and with them what only an oracle knows: how hard"
    yield "the question is. *ours, told* orders and admits by them but is not cut short.\n"
    yield _row(["answers", "policy", "sustained"])
    yield _rule(3)
    for (table, name), rate in found.items():
        yield _row([table, name, f"{rate:.2f}"])


def parts(curves: Curves) -> Iterator[str]:
    """Each part alone, and ours less each part."""
    tables = list(dict.fromkeys(table for table, name, _ in curves if name in PARTS))
    if not tables:
        return
    yield "\n## Part by part\n"
    yield "Sustained programs a second; shortest job first by itself, our stopping rule by itself (as samples complete,"
    yield "the rest aborted), and ours less one part.\n"
    yield _row(["policy", *tables])
    yield _rule(1 + len(tables))
    for name in (*MAIN, *PARTS):
        yield _row([name, *[f"{_best(curves, table, name):.2f}" for table in tables]])


def overload(spread: Spread, tables: Sequence[str]) -> Iterator[str]:
    """From light load to twice what ours sustains."""
    if not spread:
        return
    yield "\n## From light load to overload\n"
    yield "Up to twice what ours sustains. **admitted, in time**: of those that were not refused (429, at once).\n"
    head = "answers, policy|rate|in time|admitted, in time|refused|change, points|tokens|P50|P90|P99|degraded|price"
    yield _row(head.split("|"))
    yield _rule(12)
    for table in tables:
        for (where, name), curve in spread.items():
            if where == table:
                for each in curve:
                    yield _row([f"{table}, {name}", *_cells(each)])


def _cells(each: Found) -> list[str]:
    shares = [f"{100 * share:.1f} %" for share in (each.attainment, each.answered, each.refused)]
    spans = [f"{seconds:.1f}" for seconds in (each.p50, each.p90, each.p99)]
    change, degraded = f"{100 * each.change:+.1f}", f"{100 * each.degraded:.0f} %"
    return [f"{each.rate:.2f}", *shares, change, f"{each.tokens:,.0f}", *spans, degraded, f"{each.price:.4f}"]


def draw(spread: Spread, tables: Sequence[str], path: Path) -> None:
    """In time, change in accuracy, and P90 over the rate, a column for each table."""
    figure = matplotlib().Figure(figsize=(3.2 * len(tables), 7.5))
    axes = figure.subplots(3, len(tables), squeeze=False, sharex="col")
    for column, table in enumerate(tables):
        for (where, name), curve in spread.items():
            if where != table:
                continue
            rates = [each.rate for each in curve]
            for place, values in enumerate(
                (
                    [each.attainment for each in curve],
                    [100 * each.change for each in curve],
                    [each.p90 for each in curve],
                )
            ):
                axes[place][column].plot(rates, values, marker="o", markersize=3, label=name)
        axes[0][column].set_title(table, fontsize=8)
        axes[2][column].set(xlabel="programs a second", yscale="log")
    for place, label in enumerate(("answered in time", "change, points", "P90, s")):
        axes[place][0].set_ylabel(label)
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
