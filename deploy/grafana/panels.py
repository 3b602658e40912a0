"""Grafana's JSON for the few kinds of panel the dashboard uses, and their placing on its 24-column grid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Query:
    """One PromQL expression. `instant` asks for one value over the dashboard's range instead of a line."""

    expr: str
    legend: str = ""
    instant: bool = False
    format: str = "time_series"

    def json(self, ref: str) -> Json:
        """The target of a panel; `ref` is its letter."""
        return {
            "refId": ref,
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "legendFormat": self.legend or "__auto",
            "format": self.format,
            "instant": self.instant,
            "range": not self.instant,
        }


@dataclass(frozen=True)
class Panel:
    """One panel: what it says, where its data comes from, and how wide it is (of 24 columns)."""

    title: str
    description: str
    type: str
    queries: Sequence[Query]
    unit: str
    width: int = 8
    height: int = 8
    custom: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()

    def json(self, number: int, x: int, y: int) -> Json:
        """The panel as Grafana keeps it, with its place."""
        defaults = {"unit": self.unit, "noValue": "no data", "custom": dict(self.custom)} | dict(self.defaults)
        return {
            "id": number,
            "type": self.type,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [query.json(_letter(n)) for n, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": defaults, "overrides": list(self.overrides)},
            "options": dict(self.options),
            "transformations": list(self.transformations),
        }


@dataclass(frozen=True)
class Row:
    """A titled line of panels."""

    title: str
    panels: Sequence[Panel]


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    stack: str = "none",
    colors: Mapping[str, str],
    dashed: str | None = None,
    line_at: float | None = None,
    max: float | None = None,
    **size: Any,
) -> Panel:
    """Lines over time. `stack`: "none", "normal" (areas on one another) or "percent" (shares of the whole).

    `dashed` names a series drawn as a line beside the stack; `line_at` is a promise drawn across.
    """
    custom: Json = {
        "drawStyle": "line",
        "lineWidth": 2 if stack == "none" else 1,
        "fillOpacity": 6 if stack == "none" else 45,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": stack, "group": "A"},
        "axisSoftMin": 0,
    }
    defaults: Json = {"color": {"mode": "palette-classic"}} | ({} if max is None else {"max": max})
    if line_at is not None:
        custom["thresholdsStyle"] = {"mode": "dashed"}
        defaults |= _thresholds([(None, "transparent"), (line_at, "#D55E00")])
    options = {"legend": _legend(), "tooltip": {"mode": "multi", "sort": "desc"}}
    overrides = _colored(colors) + ([_beside(dashed)] if dashed else [])
    return Panel(
        title, description, "timeseries", queries, unit, **size, **_fields(custom, defaults, options, overrides)
    )


def stat(
    title: str,
    description: str,
    query: str,
    unit: str,
    *,
    colors: Mapping[str, str],
    limits: Sequence[tuple[float | None, str]] = (),
) -> Panel:
    """One number over the dashboard's whole range; with `limits`, in the colour of the highest step reached."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "textMode": "value",
    }
    plain: Json = {"color": {"mode": "fixed", "fixedColor": "text"}}
    defaults = {"color": {"mode": "thresholds"}} | _thresholds(limits) if limits else plain
    fields = _fields({}, defaults, options, _colored(colors))
    return Panel(title, description, "stat", [Query(query, title, instant=True)], unit, 3, 4, **fields)


def heatmap(title: str, description: str, query: str, unit: str, *, colors: Mapping[str, str], **size: Any) -> Panel:
    """A histogram's buckets over time; darker is more."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "fill": "blue", "exponent": 0.5, "steps": 64, "reverse": False},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "unit": unit, "decimals": 2},
    }
    fields = _fields({}, {}, options, _colored(colors))
    return Panel(title, description, "heatmap", [Query(query, "{{le}}", format="heatmap")], unit, **size, **fields)


def donut(
    title: str, description: str, query: str, unit: str, *, legend: str, colors: Mapping[str, str], **size: Any
) -> Panel:
    """Shares of one whole over the dashboard's range."""
    options = {
        "pieType": "donut",
        "sort": "desc",
        "orientation": "auto",
        "displayLabels": ["percent"],
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "legend": _legend() | {"values": ["value"]},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    fields = _fields({}, {}, options, _colored(colors))
    return Panel(title, description, "piechart", [Query(query, legend, instant=True)], unit, **size, **fields)


def table(
    title: str,
    description: str,
    *,
    label: str,
    columns: Mapping[str, tuple[str, str]],
    colors: Mapping[str, str],
    **size: Any,
) -> Panel:
    """One line per value of `label`; `columns` gives each heading its unit and its expression (by `label`)."""
    names = {f"Value #{_letter(n)}": heading for n, heading in enumerate(columns)}
    organize = {
        "excludeByName": {"Time": True},
        "indexByName": {name: n for n, name in enumerate(["Time", label, *names])},
        "renameByName": names | {label: label.capitalize()},
    }
    units = [_override(heading, {"unit": unit}) for heading, (unit, _) in columns.items()]
    fields = _fields(
        {"align": "auto", "cellOptions": {"type": "auto"}}, {}, {"showHeader": True, "cellHeight": "sm"}, units
    )
    steps: list[Json] = [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]
    queries = [Query(expr, instant=True, format="table") for _, expr in columns.values()]
    return Panel(title, description, "table", queries, "short", transformations=steps, **size, **fields)


def states(
    title: str,
    description: str,
    query: str,
    *,
    legend: str,
    states: Mapping[int, tuple[str, str]],
    colors: Mapping[str, str],
    **size: Any,
) -> Panel:
    """A coloured bar per series over time; `states` gives each value its word and colour."""
    words = {str(value): {"text": text, "color": color, "index": value} for value, (text, color) in states.items()}
    defaults = {"mappings": [{"type": "value", "options": words}]}
    options = {"mergeValues": True, "rowHeight": 0.8, "showValue": "auto", "legend": _legend()}
    fields = _fields({"fillOpacity": 80, "lineWidth": 0}, defaults, options, _colored(colors))
    return Panel(title, description, "state-timeline", [Query(query, legend)], "short", **size, **fields)


def place(rows: Sequence[Row]) -> Iterator[Json]:
    """Each row's title, then its panels from left to right, wrapping where the next would not fit."""
    y, number = 0, 0
    for row in rows:
        x, tallest, number = 0, 0, number + 1
        title = {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": []}
        yield title | {"gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}}
        y += 1
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            yield panel.json(number, x, y)
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def _fields(custom: Json, defaults: Json, options: Json, overrides: Sequence[Json]) -> Json:
    return {"custom": custom, "defaults": defaults, "options": options, "overrides": overrides}


def _letter(n: int) -> str:
    return chr(ord("A") + n)


def _legend() -> Json:
    return {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> Json:
    values = [{"value": value, "color": color} for value, color in steps]
    return {"thresholds": {"mode": "absolute", "steps": values}}


def _override(name: str, properties: Json) -> Json:
    values = [{"id": key, "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": values}


def _colored(colors: Mapping[str, str]) -> list[Json]:
    return [_override(name, {"color": {"mode": "fixed", "fixedColor": color}}) for name, color in colors.items()]


def _beside(name: str) -> Json:
    """Takes one series out of the stack and dashes it."""
    dash = {"fill": "dash", "dash": [8, 6]}
    unstacked = {"mode": "none", "group": "A"}
    return _override(
        name, {"custom.stacking": unstacked, "custom.fillOpacity": 0, "custom.lineStyle": dash, "custom.lineWidth": 2}
    )
