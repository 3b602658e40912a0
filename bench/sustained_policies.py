"""The policies of `bench.sustained`: published ones, ours, and the parts of ours one by one."""

from collections.abc import Mapping
from typing import Any

from scheduler.policy import Policy
from sim.scenario import Contender

CAP = 20
"""Samples at most, as in Dynasor's study."""
PATIENT: Mapping[str, Any] = {"max_waiting": 10**9, "admit_late": True, "hedge": False}
"""Schedulers of the literature take everyone in."""
PLAIN: Mapping[str, Any] = {**PATIENT, "shed": False, "spend_idle": False}
FIXED: Mapping[str, Any] = {"name": "waves", "rule": "fixed", "sizes": [0]}
DYNASOR: Mapping[str, Any] = {"name": "waves", "rule": "certaindex-0.7@1", "sizes": [5, 0]}
WAVES: Mapping[str, Any] = {"name": "waves", "rule": "adaptive-consistency-0.95", "sizes": [5]}


def _baseline(name: str, strategy: Mapping[str, Any] | str, order: str, **changes: Any) -> Contender:
    return Contender(name, strategy, CAP, scheduler=Policy(order, **PLAIN), **changes)


def _ours(name: str, strategy: Mapping[str, Any] | str = "self_consistency", **changes: Any) -> Contender:
    policy = {"order": "marginal_value", "max_waiting": 8192, **changes}
    deadline = policy.pop("deadline", "given")
    return Contender(name, strategy, CAP, deadline=deadline, scheduler=Policy(**policy))


POLICIES: Mapping[str, Contender] = {
    each.name: each
    for each in (
        _baseline("fixed, engine order", FIXED, "first_come", slots=0, gauges=False),
        _baseline("fixed, gang (Parrot)", FIXED, "gang"),
        _baseline("Dynasor", DYNASOR, "started then shortest_job"),
        _baseline("Adaptive-Consistency, waves", WAVES, "gang"),
        _ours("ours"),
        _ours("ours, told", deadline="told"),
        _ours("ours with auto", "auto"),
        _baseline("fixed, shortest job", FIXED, "shortest_job"),
        _baseline("Dynasor, arrival order", DYNASOR, "gang"),
        _baseline("our rule, arrival order", "self_consistency", "gang"),
        _baseline("our rule, shortest job", "self_consistency", "shortest_job"),
        _baseline("our rule, marginal value", "self_consistency", "marginal_value"),
        _ours("ours without the price", shed=False),
        _ours("ours without widening", spend_idle=False),
        _ours("ours in arrival order", order="gang"),
        _ours("ours, deadline not used", deadline="measured"),
    )
}
MAIN = (
    "fixed, engine order",
    "fixed, gang (Parrot)",
    "Dynasor",
    "Adaptive-Consistency, waves",
    "ours with auto",
    "ours",
)
PARTS = (
    "fixed, shortest job",
    "Dynasor, arrival order",
    "our rule, arrival order",
    "our rule, shortest job",
    "our rule, marginal value",
    "ours without the price",
    "ours without widening",
    "ours in arrival order",
    "ours, deadline not used",
)
