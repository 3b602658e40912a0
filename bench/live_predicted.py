"""What the simulator predicts of `bench.live`: the same policies, rates and deadline, on engines fitted to real vLLM.

    python -m bench.live_predicted

`bench/results/live.json` says what was measured, `bench/results/engine-live-0.json` what an engine is like while the
other one works, too. Questions and samples are the recorded ones of the same model. A rate is simulated as often as
`--seeds` says, each time for as many seconds as it was measured; figures are means.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.asked import HOPELESS, bin_of
from bench.live import BASELINE, MODES, NAME, SEATS
from cli.jobs import cores
from cli.sim import TRACES, simulated
from scheduler.policy import Policy
from sim.attainment import Record
from sim.scenario import Cluster, Contender, Deadlines, Scenario, questions_of
from sim.trials import Stage
from sim.workload import Workload

PROMPT_TOKENS = 100
"""Of a question, on average."""


def policies(live: Mapping[str, Any]) -> tuple[Contender, ...]:
    """Those of the live run: first come first served without shedding, and the defaults of the gateway."""
    fixed = {"name": "self_consistency", "rule": "fixed"}
    cap: int = live["fixed"]
    plain = Contender(
        MODES[0], fixed, cap, min_samples=cap, deadline="given", scheduler=Policy(max_waiting=8192, **BASELINE)
    )
    ours = Policy("marginal_value", max_waiting=8192)
    return plain, Contender(MODES[1], "self_consistency", cap, deadline="given", scheduler=ours)


def stages(live: Mapping[str, Any], hardware: Path, seeds: int) -> list[Stage]:
    """One for every seed."""
    rates = tuple(dict.fromkeys(row["rate"] for row in live["rows"]))
    scenario = Scenario(
        Workload(rates=rates, answers=NAME, prompt_tokens=PROMPT_TOKENS),
        policies(live),
        duration=live["seconds"],
        deadlines=Deadlines(base=live["deadline"]),
        engine=Cluster(str(hardware), replicas=2, max_num_seqs=SEATS),
    )
    asked = [each for each in questions_of(scenario, (TRACES,)) if bin_of(each.id) not in HOPELESS]
    parameters = scenario.engine.parameters(Path())
    return [Stage(replace(scenario, seed=seed), asked, parameters) for seed in range(seeds)]


def predicted(found: Sequence[Record], mode: str, rate: float) -> tuple[float, ...]:
    """In time, right, P50, P90, tokens: means over the seeds."""
    own = [each for each in found if (each.policy, each.rate) == (mode, rate)]
    times = [fmean(getattr(each, name) or 0.0 for each in own) for name in ("p50", "p90")]
    shares = [fmean(getattr(each, name) for each in own) for name in ("attainment", "accuracy")]
    return (*shares, *times, fmean(each.tokens for each in own))


def report(live: Mapping[str, Any], found: Sequence[Record]) -> str:
    """A table in Markdown: measured, and in parentheses predicted."""
    lines = [
        "| programs a second | mode | in time | right | P50, s | P90, s | tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    forms = ("{:.0%}", "{:.0%}", "{:.2f}", "{:.2f}", "{:.0f}")
    for row in live["rows"]:
        seen = [row[name] for name in ("attained", "accuracy", "p50", "p90", "tokens")]
        pairs = zip(forms, seen, predicted(found, row["mode"], row["rate"]), strict=True)
        cells = [f"{form.format(real)} ({form.format(said)})" for form, real, said in pairs]
        lines.append(f"| {row['rate']:g} | {row['mode']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.live_predicted", description=__doc__)
    parser.add_argument("--live", type=Path, default=Path("bench/results/live.json"))
    parser.add_argument("--hardware", type=Path, default=Path("bench/results/engine-live-0.json"))
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    live = json.loads(options.live.read_text(encoding="utf-8"))
    found = [row for stage in stages(live, options.hardware, options.seeds) for row in simulated(stage, cores())]
    print(report(live, found))


if __name__ == "__main__":
    main()
