"""`python -m bench.claims`: what the sources of the stopping rules claim, checked on the recorded traces.

Writes the findings with the records behind them, and a page.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from statistics import fmean

from bench.claims.claim import HELD, Claim, Finding, Live, Replays, checked
from bench.claims.page import page
from bench.claims.table import CLAIMS, UNCLAIMED
from bench.rules import DOCS, HOME, files
from cli.jobs import Trace, cores
from cli.replay import measured, shortest
from sim.plan import Plan, Setting
from sim.records import Record, records
from sim.traces import Question, half, load

LEFT_OUT = ("oracle_tokens", "oracle_gap_share", "oracle_samples", "certainty", "seed", "tokens_saved", "labels")
"""Fields of a record that no check reads, or that follow from others."""
INSIDE = HOME / "results" / "inside.json"
"""What `bench.inside` measured through the gateway."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.claims", description=__doc__)
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=HOME / "traces", help="recorded samples (default: bench/traces)")
    add("--orders", type=int, default=5, help="random orders per question (default %(default)s)")
    add("--questions", type=int, default=200, help="questions of a set, at most, by hash of id (default %(default)s)")
    add("--jobs", type=int, default=cores(), help="processes (default: all cores)")
    add("--out", type=Path, default=HOME / "results" / "claims.json", help="findings and records")
    add("--page", type=Path, default=DOCS / "claims.md", help="the table (default: docs/claims.md)")
    run(parser.parse_args())


def run(arguments: argparse.Namespace) -> None:
    """Replay what the claims need, check them, write the files."""
    sets = {
        path.name.partition(".")[0]: some(load(path), arguments.questions)
        for path in files(arguments.folder, short=False)
    }
    write(replayed(sets, CLAIMS, arguments.orders, arguments.jobs, live(INSIDE)), len(sets), arguments)


def write(replays: Replays, sets: int, arguments: argparse.Namespace) -> None:
    """Check the claims, say what was found, write the files."""
    found = [(claim, checked(claim, replays)) for claim in CLAIMS]
    for claim, finding in found:
        print(f"{finding.verdict:22} {claim.says}\n{'':22} {finding.measured}\n{'':22} {finding.why}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(exported(found, replays.rows), encoding="utf-8")
    said = {"orders": arguments.orders, "questions": arguments.questions, "traces": sets}
    arguments.page.write_text("\n".join(page(found, said, UNCLAIMED)) + "\n", encoding="utf-8")


def some(questions: Sequence[Question], most: int) -> Sequence[Question]:
    """So many of the questions, chosen by the SHA-256 of their ids, in the order of the trace."""
    chosen = {q.id for q in sorted(questions, key=lambda q: sha256(q.id.encode()).digest())[:most]}
    return [question for question in questions if question.id in chosen]


def replayed(
    sets: dict[str, Sequence[Question]], claims: Iterable[Claim], orders: int, jobs: int, modes: Mapping[str, Live]
) -> Replays:
    """The records of every setting that a claim needs, on the sets of its scope that are long enough."""
    claims = tuple(claims)
    traces = [
        Trace(name, questions, plan)
        for name, questions in [*sets.items(), *held(sets)]
        for plan in plans(name, questions, claims, orders)
    ]
    rows = [row for trace, whole in measured(traces, jobs) for row in records(trace.name, whole, trace.plan)]
    samples = [sample for questions in sets.values() for question in questions for sample in question.samples]
    confident = sum(sample.confidence is not None for sample in samples)
    return Replays(rows, samples=len(samples), confidences=confident, live=modes)


def held(sets: Mapping[str, Sequence[Question]]) -> Iterator[tuple[str, Sequence[Question]]]:
    """The sets once more, with the questions alone on which nothing was fitted."""
    for name, questions in sets.items():
        yield name + HELD, [question for question in questions if half(question) == "b"]


def live(path: Path) -> dict[str, Live]:
    """Means by mode of the rows that `bench.inside` wrote, if it did."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    by_mode = {mode: [row for row in rows if row["mode"] == mode] for mode in {row["mode"] for row in rows}}
    return {
        mode: Live(fmean(row["correct"] for row in own), fmean(row["tokens"] for row in own))
        for mode, own in by_mode.items()
    }


def plans(name: str, questions: Sequence[Question], claims: Iterable[Claim], orders: int) -> list[Plan]:
    """What is wanted of a set, one plan per cap and width, so that nothing is replayed in vain or twice."""
    wanted = dict.fromkeys(setting for claim in claims if name in claim.scope for setting in claim.needs)
    most = shortest(questions)
    pairs = dict.fromkeys((setting.cap, setting.width) for setting in wanted if setting.cap <= most)
    return [Plan(rules(wanted, cap, width), (cap,), (width,), orders) for cap, width in pairs]


def rules(wanted: Iterable[Setting], cap: int, width: int) -> tuple[str, ...]:
    """The rules of this cap and width."""
    return tuple(setting.rule for setting in wanted if (setting.cap, setting.width) == (cap, width))


def exported(found: Sequence[tuple[Claim, Finding]], rows: Sequence[Record]) -> str:
    """Findings and records as JSON, one a line."""
    names = [field.name for field in fields(Record) if field.name not in LEFT_OUT]
    findings = [
        {
            "rules": claim.rules,
            "source": claim.source,
            "claim": claim.says,
            "checked_on": claim.scope.label,
            "verdict": finding.verdict,
            "measured": finding.measured,
            "why": finding.why,
        }
        for claim, finding in found
    ]
    kept = [{name: rounded(getattr(row, name)) for name in names} for row in rows]
    lines = [f' "{title}": [\n{listed(items)}\n ]' for title, items in (("claims", findings), ("records", kept))]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def rounded(value: object) -> object:
    """Six digits say all that five orders know."""
    return round(value, 6) if isinstance(value, float) else value


def listed(items: Sequence[object]) -> str:
    """Items of a JSON array, one a line."""
    return ",\n".join(f"  {json.dumps(item, allow_nan=False)}" for item in items)


if __name__ == "__main__":
    main()
