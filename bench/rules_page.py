"""The page of `bench.rules`: what is measured, the table over everything, and one row per data set and cap."""

from collections.abc import Iterator, Mapping, Sequence
from math import exp, log
from pathlib import Path
from statistics import fmean

from sim.records import Record
from sim.summary import percent, points, summary, times

METHOD = """\
# Stopping rules, replayed

<!-- Written by `python -m bench.rules`: change that, not this page. -->

    python -m bench.rules --orders {orders}      # part of `make bench`

Recorded samples of {traces} data sets (`bench/traces`), {questions:,} questions ({split}) in {orders} random orders
each, caps of 8 to 64 where so many samples are recorded, at most 1, 8 or 16 samples in flight. The real strategy,
scheduler and program code in virtual time; every rule gets the same samples in the same orders; aborted tokens are
charged.

- **tokens**: completion tokens relative to Adaptive-Consistency 0.95 at the same width, geometric mean over all pairs
  of data set and cap; **worst** is the largest of these ratios.
- **change**: accuracy minus that of the full budget in the same orders, in percentage points, mean over the pairs;
  **lowest** is the pair that lost most. **below, above** count the pairs whose 95 % bootstrap interval over questions
  excludes zero.
- **frontier**: accuracy minus that of fixed budgets which spend the same tokens, in percentage points, mean over pairs.
- **oracle gap**: share of what a clairvoyant saves that the rule saves. The oracle makes one sample after the other, up
  to the last change of the running majority: the least that any rule could spend which stops only once the leader is,
  and stays, the full budget's answer. A rule that gives up accuracy can spend less, and save more than 100 %.
- **time**: decode steps from arrival to answer at equal speed per sample, relative to the whole budget at once.
- Ties among all samples go to the one drawn first at every width, so that a lossless rule changes nothing.
"""
OVERALL = "| rule | width | tokens | worst | change | lowest | below, above | frontier | oracle gap | time |"
SPLITS: Mapping[str, str] = {"all": "all of them", "a": "half a of them", "b": "half b of them"}


def page(rows: Sequence[Record], split: str, pictures: Sequence[Path]) -> Iterator[str]:
    """Lines of the page."""
    sizes = {row.trace: row.questions for row in rows}
    yield METHOD.format(traces=len(sizes), questions=sum(sizes.values()), split=SPLITS[split], orders=rows[0].orders)
    yield "## Over everything\n"
    yield from overall(rows)
    for picture in pictures:
        yield f"\n![{picture.stem}]({picture.name})"
    yield "\n## By cap: tokens (change in accuracy)\n"
    yield from by_cap(rows)
    for width in dict.fromkeys(row.width for row in rows):
        yield f"\n## By data set, width {width}: tokens saved against the full budget (change in accuracy)\n"
        yield from by_trace([row for row in rows if row.width == width])


def overall(rows: Sequence[Record]) -> Iterator[str]:
    """One line per rule and width over all pairs of data set and cap."""
    yield OVERALL
    yield rule_of(OVERALL)
    for line in summary(rows):
        own = [row for row in rows if (row.rule, row.width) == (line.rule, line.width)]
        below = sum(row.accuracy_change_high < 0 for row in own)
        above = sum(row.accuracy_change_low > 0 for row in own)
        lowest = min(row.accuracy_change for row in own)
        yield cells(
            line.rule,
            line.width,
            times(line.ratio),
            times(line.worst),
            points(line.change),
            points(lowest),
            f"{below}, {above}",
            points(fmean(row.accuracy - row.accuracy_frontier for row in own)),
            percent(line.share),
            f"{relative_time(own):.2f}",
        )


def relative_time(rows: Sequence[Record]) -> float:
    """Geometric mean of the makespan relative to the whole budget at once."""
    return exp(fmean(log(row.makespan / row.makespan_parallel) for row in rows if row.makespan))


def by_cap(rows: Sequence[Record]) -> Iterator[str]:
    """One line per rule and width, one column per cap."""
    caps = sorted({row.cap for row in rows})
    lines = {cap: {(n.rule, n.width): n for n in summary([row for row in rows if row.cap == cap])} for cap in caps}
    head = cells("rule", "width", *(f"cap {cap} ({len({r.trace for r in rows if r.cap == cap})} sets)" for cap in caps))
    yield head
    yield rule_of(head)
    for rule, width in dict.fromkeys((row.rule, row.width) for row in rows):
        known = [lines[cap][rule, width] for cap in caps]
        yield cells(rule, width, *(f"{times(line.ratio)} ({points(line.change)})" for line in known))


def by_trace(rows: Sequence[Record]) -> Iterator[str]:
    """One line per data set and cap, one column per rule; all rows have one width."""
    rules = list(dict.fromkeys(row.rule for row in rows))
    head = cells("data set", "cap", "full budget", "tokens", "oracle", *rules)
    yield head
    yield rule_of(head)
    for trace, cap in dict.fromkeys((row.trace, row.cap) for row in rows):
        own = {row.rule: row for row in rows if (row.trace, row.cap) == (trace, cap)}
        some = own[rules[0]]
        yield cells(
            trace,
            cap,
            f"{some.accuracy_fixed:.1%}",
            f"{some.tokens_fixed:,.0f}",
            f"{1 - some.oracle_tokens / some.tokens_fixed:.0%}",
            *(f"{own[rule].tokens_saved or 0:.0%} ({points(own[rule].accuracy_change)})" for rule in rules),
        )


def cells(*values: object) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, values))} |"


def rule_of(head: str) -> str:
    """The line below the head of a Markdown table."""
    return "|" + "---|" * (head.count("|") - 1)
