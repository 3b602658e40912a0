"""Writes dashboards/quorate.json from dashboard.yaml. Run it after changing either this or the YAML.

python deploy/grafana/build.py            write the dashboard
python deploy/grafana/build.py --check    exit 1 where the file is not what this would write
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from panels import DATASOURCE, Json, Panel, Query, Row, donut, heatmap, lines, place, stat, states, table

HERE = Path(__file__).parent
TARGET = HERE / "dashboards" / "quorate.json"

KINDS: dict[str, Callable[..., Panel]] = {
    "lines": lines,
    "stat": stat,
    "heatmap": heatmap,
    "donut": donut,
    "table": table,
    "states": states,
}


def read_panel(spec: Json, palettes: dict[str, dict[str, str]]) -> Panel:
    """One panel of the YAML: its keys are the keywords of its kind's function, less the shorthands."""
    spec = dict(spec)
    make = KINDS[spec.pop("kind", "lines")]
    if "percentiles" in spec:
        spec["queries"] = percentiles(spec.pop("percentiles"))
        spec.setdefault("colors", "percentiles")
    if "queries" in spec:
        spec["queries"] = [Query(expr, legend) for legend, expr in spec["queries"].items()]
    return make(spec.pop("title"), spec.pop("about"), colors=palettes.get(spec.pop("colors", ""), {}), **spec)


def percentiles(buckets: str) -> dict[str, str]:
    """p50, p90 and p99 of a histogram, over replicas and all its labels."""
    rate = f"sum by (le) (rate({buckets}[$__rate_interval]))"
    return {f"p{100 * q:.0f}": f"histogram_quantile({q}, {rate})" for q in (0.5, 0.9, 0.99)}


def variables() -> list[Json]:
    """The pickers at the top: where the data lives, and which models to show."""
    models = "label_values(quorate_tokens_total, model)"
    source = {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {"selected": False, "text": "Prometheus", "value": "prometheus"},
    }
    model = {
        "name": "model",
        "label": "Model",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": models, "refId": "models", "qryType": 1},
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }
    common: dict[str, Any] = {"hide": 0, "options": [], "regex": ""}
    return [source | common | {"refresh": 1}, model | common | {"refresh": 2}]


def dashboard() -> Json:
    """The whole dashboard, as Grafana imports it."""
    spec = yaml.safe_load((HERE / "dashboard.yaml").read_text(encoding="utf-8"))
    rows = [Row(row["title"], [read_panel(panel, spec["palettes"]) for panel in row["panels"]]) for row in spec["rows"]]
    return {
        "uid": "quorate",
        "title": "Quorate",
        "description": "Programs, samples, certainty and where the tokens went.",
        "tags": ["quorate"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "fiscalYearStartMonth": 0,
        "links": [],
        "annotations": {"list": []},
        "templating": {"list": variables()},
        "panels": list(place(rows)),
    }


def main(arguments: Sequence[str]) -> str | None:
    """Write or check the file; what is returned is an error for the terminal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the file is stale")
    text = json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"
    if not parser.parse_args(arguments).check:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        return f"{TARGET.name} is not what build.py writes: run python deploy/grafana/build.py and commit the result"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
