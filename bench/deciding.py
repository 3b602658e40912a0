"""What deciding costs: CPU time per completed sample of a rule with its look ahead, on recorded votes.

    python -m bench.deciding

Timed is all that a completion costs the strategy: counting the vote, gathering the evidence, the certainty and the
settledness that are reported, the rule, and how many samples should fly next. Nothing is warmed up: every rule runs in
a process of its own, and a remembered state was met in an earlier question, as in a gateway that has just started.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from time import process_time_ns

from core.stopping.names import rule_named
from core.stopping.predictive import settled
from core.types import Outcome, Sample, StopReason
from core.votes import Votes
from sim.traces import draw, load
from strategies.self_consistency import in_flight

HERE = Path(__file__).parent
RULES = (
    "curtailment|predictive",
    "curtailment|value-0.0015",
    "adaptive-consistency-0.95",
    "certaindex-0.7@5",
    "esc-5",
)
"""The default, that of `auto`, and three published ones."""
CAP, WIDTH, SPARE = 64, 16, 4


def microseconds(spelling: str, trace: Path, orders: int) -> dict[str, float | str]:
    """CPU time per completed sample: mean over all, and the median over the dearest sample of each program."""
    rule = rule_named(spelling)
    spent, worst = [], []
    for drawn in draw(load(trace), cap=CAP, orders=orders, seed=0).values():
        votes = Votes()
        each = []
        for index, sample in enumerate(drawn):
            finished = Sample(index, Outcome.FINISHED, sample.answer)
            began = process_time_ns()
            votes.add(finished)
            evidence = votes.evidence(remaining=CAP - index - 1)
            votes.answer(StopReason.DEADLINE, settled(evidence))
            rule(evidence)
            in_flight(rule, evidence, WIDTH, SPARE)
            each.append(process_time_ns() - began)
        spent += each
        worst.append(max(each))
    return {"rule": spelling, "mean": sum(spent) / len(spent) / 1000, "dearest": median(worst) / 1000}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, and keep it in bench/results/deciding.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.deciding", description=__doc__)
    parser.add_argument("--trace", type=Path, default=HERE / "traces" / "mcqa100-gpt35-cot.jsonl.gz")
    parser.add_argument("--orders", type=int, default=5)
    arguments = parser.parse_args(argv)
    records = []
    for rule in RULES:
        with ProcessPoolExecutor(1) as fresh:
            records.append(fresh.submit(microseconds, rule, arguments.trace, arguments.orders).result())
        print(
            f"{rule:<28} {records[-1]['mean']:7.1f} us a sample, dearest of a program {records[-1]['dearest']:7.1f} us"
        )
    scipy = "scipy" in sys.modules
    print(f"cap {CAP}, every sample of it decided on; SciPy imported: {scipy}")
    (HERE / "results" / "deciding.json").write_text(json.dumps({"scipy": scipy, "rules": records}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
