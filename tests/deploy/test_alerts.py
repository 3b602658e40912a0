"""The alerts fire for what they are meant for, after as long as they say, and for nothing else."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

PRICE = 'quorate_compute_price{pool="a", instance="one"}'
BREAKER = 'quorate_backend_breaker{backend="a", instance="one"}'
DRAINING = 'quorate_backend_draining{backend="a", instance="one"}'
STORE = 'quorate_store_up{job="quorate", instance="one"}'
FULL = 'quorate_refusals_total{reason="full"}'
LATE = 'quorate_refusals_total{reason="late"}'
ANSWERED = 'quorate_programs_total{model="m"}'


@pytest.mark.parametrize(
    ("alert", "series", "minutes", "labels"),
    [
        ("QuorateBackendBroken", {BREAKER: "2x30", DRAINING: "0x30"}, 1, {"backend": "a"}),
        ("QuorateBackendBroken", {BREAKER: "2x30"}, 1, {"backend": "a"}),
        ("QuorateBackendBroken", {BREAKER: "2x30", DRAINING: "1x30"}, 20, None),
        ("QuorateBackendBroken", {BREAKER: "1x30", DRAINING: "0x30"}, 20, None),
        ("QuorateBackendBroken", {BREAKER: "2 0 2 0 2 0 2 0 2 0 2 0"}, 10, None),
        ("QuorateStoreDown", {STORE: "0x30"}, 1, {"job": "quorate", "instance": "one"}),
        ("QuorateStoreDown", {STORE: "1x30"}, 20, None),
        ("QuorateDear", {PRICE: "0.01x30"}, 10, {"pool": "a"}),
        ("QuorateDear", {PRICE: "0.01x30"}, 9, None),
        ("QuorateDear", {PRICE: "0.002x30"}, 20, None),
        ("QuorateRefusing", {FULL: "0+1x30", LATE: "0+1x30", ANSWERED: "0+10x30"}, 15, {}),
        ("QuorateRefusing", {FULL: "0+1x30", LATE: "0x30"}, 15, {}),
        ("QuorateRefusing", {FULL: "0+1x30", LATE: "0x30", ANSWERED: "0+1000x30"}, 15, None),
        ("QuorateRefusing", {FULL: "0x30", LATE: "0x30", ANSWERED: "0+10x30"}, 15, None),
    ],
)
def test_an_alert_fires_when_it_should(
    promtool: str,
    root: Path,
    tmp_path: Path,
    alert: str,
    series: Mapping[str, str],
    minutes: int,
    labels: Mapping[str, str] | None,
) -> None:
    """`labels` are those that it fires with, besides its severity; None: it is silent."""
    firing = f'max without (alertname, alertstate, severity) (ALERTS{{alertname="{alert}", alertstate="firing"}})'
    named = "{" + ", ".join(f'{name}="{value}"' for name, value in (labels or {}).items()) + "}"
    expected = [] if labels is None else [{"labels": named, "value": 1}]
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{minutes}m", "exp_samples": expected}],
    }
    rules = root / "deploy" / "prometheus" / "alerts.yml"
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": [case]}), encoding="utf-8")
    command = [promtool, "test", "rules", str(file)]
    check = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    assert check.returncode == 0, check.stdout + check.stderr
