"""`python -m bench.rules [FOLDER]`: the default rule against the published ones, replayed on every recorded trace.

The real strategy, scheduler and program code in virtual time; every rule sees the same samples in the same orders;
aborted tokens are charged. Writes the records, a page of tables and two pictures.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.rules_page import overall, page
from cli.exports import write_json
from cli.jobs import Trace, cores
from cli.plots import frontiers, makespans
from cli.replay import figures, measured, traces
from sim.plan import Measured, Plan
from sim.records import Record, mean
from sim.summary import REFERENCE

HOME = Path(__file__).parent
DOCS = HOME.parent / "docs"
RULES = ("default", REFERENCE, "adaptive-consistency-0.90", "certaindex-0.7@5", "esc-5", "curtailment")
CAPS, WIDTHS = (8, 16, 32, 64), (1, 8, 16)
SHORT = ("mcqa100-gpt35-cot", "math-qwen25math7b-m8", "reasoner-small")
SHOWN = (
    "mcqa-exams-gpt35-cot",
    "mcqa100-gpt4-cot",
    "mcqa100-llama2-70b-cot",
    "game24-gpt4-cot",
    "reasoner-small",
    "reasoner-large",
)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.rules", description=__doc__)
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=HOME / "traces", help="recorded samples (default: bench/traces)")
    add("--short", action="store_true", help="three small traces, caps 8 and 16, three orders; no page is written")
    add("--orders", type=int, default=5, help="random orders per question (default %(default)s)")
    add("--split", choices=("a", "b", "all"), default="all", help="one half of the questions, by the hash of their ids")
    add("--jobs", type=int, default=cores(), help="processes (default: all cores)")
    add("--out", type=Path, default=HOME / "results" / "rules.json", help="records (default: bench/results/rules.json)")
    add("--page", type=Path, default=DOCS / "rules.md", help="tables, pictures beside it (default: docs/rules.md)")
    run(parser.parse_args())


def run(arguments: argparse.Namespace) -> None:
    """Replay, print the table over everything, write the files."""
    short = arguments.short
    wanted = Plan(RULES, CAPS[:2], WIDTHS, 3) if short else Plan(RULES, CAPS, WIDTHS, arguments.orders)
    found = measured(traces(files(arguments.folder, short=short), wanted, arguments.split), arguments.jobs)
    rows = [record for trace, whole in found for record in figures(trace, whole)]
    print("\n".join(overall(rows)))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(rows, arguments.out)
    print(f"\nrecords: {arguments.out}")
    if not short:
        pictures = draw(found, rows, arguments.page)
        arguments.page.write_text("\n".join(page(rows, arguments.split, pictures)) + "\n", encoding="utf-8")
        print(f"page: {arguments.page}")


def files(folder: Path, *, short: bool) -> list[Path]:
    """The traces of a folder, in alphabetical order; with `short` three of them."""
    every = sorted(path for path in folder.iterdir() if path.name.endswith((".jsonl", ".jsonl.gz")))
    return [path for path in every if not short or path.name.partition(".")[0] in SHORT]


def draw(found: Sequence[tuple[Trace, Measured]], rows: Sequence[Record], beside: Path) -> list[Path]:
    """Two pictures of up to six traces, beside the page."""
    shown = [pair for pair in found if pair[0].name in SHOWN] or found[: len(SHOWN)]
    panels = []
    for trace, whole in shown:
        fixed = {size: mean(sums, trace.plan.orders) for size, sums in whole.fixed.items()}
        panels.append((trace.name, fixed, [row for row in rows if row.trace == trace.name]))
    return [
        frontiers(panels, beside.with_name(f"{beside.stem}-frontier.png")),
        makespans(panels, beside.with_name(f"{beside.stem}-makespan.png")),
    ]


if __name__ == "__main__":
    main()
