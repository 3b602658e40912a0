"""A tenant beside a flood in virtual time: sim/scenarios/tenants.toml, and the same with the light tenant alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cli.sim import simulated
from sim.attainment import Record
from sim.scenario import Scenario, from_toml, questions_of
from sim.trials import Stage

SCENARIO = Path(__file__).parents[1] / "sim" / "scenarios" / "tenants.toml"
LIGHT = "light"
SHARE = 0.05
"""Of the programs in the scenario with both, as many are simulated of the light tenant alone."""


@dataclass(frozen=True, slots=True)
class Side:
    """What a tenant saw in one setting. Seconds; `tokens` a program."""

    mode: str
    tenant: str
    programs: int
    attainment: float
    p50: float
    p90: float
    p99: float
    tokens: float


def alone(scenario: Scenario) -> Scenario:
    """The same rate of the light tenant, and nobody else."""
    workload = scenario.workload
    shares = {name: tenant.share for name, tenant in workload.tenants.items()}
    part = shares[LIGHT] / sum(shares.values())
    quiet = replace(
        workload, tenants={LIGHT: workload.tenants[LIGHT]}, loads=tuple(load * part for load in workload.loads)
    )
    return replace(scenario, workload=quiet, programs=max(200, round((scenario.programs or 0) * SHARE)), warmup=50)


def sides(mode: str, rows: Sequence[Record]) -> list[Side]:
    """Every tenant of a run."""
    found = []
    for name, figures in rows[0].tenants.items():
        own: Mapping[str, float] = figures
        times = own["p50"], own["p90"], own["p99"]
        found.append(Side(mode, name, round(own["programs"]), own["attainment"], *times, own["tokens"]))
    return found


def reserving(scenario: Scenario, slots: int) -> Scenario:
    """The same with slots of the engine reserved for the light tenant."""
    policies = [replace(each, scheduler=replace(each.scheduler, reserved={LIGHT: slots})) for each in scenario.policies]
    return replace(scenario, policies=tuple(policies))


def measured(reserved: int) -> list[Side]:
    """Alone, and beside the flood, with so many slots reserved for the light tenant."""
    beside = reserving(from_toml(SCENARIO), reserved)
    found = []
    for mode, scenario in (("alone", alone(beside)), ("beside the flood", beside)):
        stage = Stage(scenario, questions_of(scenario, (SCENARIO.parent,)), scenario.engine.parameters(SCENARIO.parent))
        found += sides(mode, simulated(stage, 1))
    return found


def report(found: Sequence[Side]) -> str:
    """A table in Markdown, and the ratio that counts."""
    lines = [
        "| simulated | tenant | programs | in time | P50, s | P90, s | P99, s | tokens |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        times = f"{each.p50:.2f} | {each.p90:.2f} | {each.p99:.2f}"
        lines.append(
            f"| {each.mode} | {each.tenant} | {each.programs} | {each.attainment:.1%} | {times} | {each.tokens:.0f} |"
        )
    light = {each.mode: each.p90 for each in found if each.tenant == LIGHT}
    ratio = light["beside the flood"] / light["alone"]
    return "\n".join([*lines, "", f"P90 of the light tenant: {ratio:.2f} times that of being alone"])


def run(out: Path, reserved: int = 0) -> None:
    """Print it, and keep it. Raises `ScenarioError` where nothing is left to the flood."""
    found = measured(reserved)
    print(report(found))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([asdict(each) for each in found], indent=1), encoding="utf-8")
