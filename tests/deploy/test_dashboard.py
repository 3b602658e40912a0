"""The dashboard shows every metric, invents none, and is laid out so that nothing overlaps."""

import itertools
import re
import subprocess
import sys

import pytest
import yaml

from server.metrics import Metrics

SUFFIXES = ("_bucket", "_sum", "_count")
METRIC = re.compile(r"\b(?:quorate|process)_[a-z_]+\b")
UNITS = {"short", "none", "percentunit", "s", "bytes"}


def exported():
    """Names of the gateway's metrics, and the types Prometheus is told."""
    text = Metrics().render()[0].decode()
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, flags=re.MULTILINE))


def base(name):
    """The metric that a series belongs to."""
    types = exported()
    stem = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
    return stem if types.get(stem) == "histogram" else name


def named(expr):
    """Metrics that an expression names (its labels and functions aside)."""
    return {base(name) for name in METRIC.findall(expr)}


def panels(dashboard):
    """Panels that draw something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_every_metric_a_panel_names_is_exported(queries):
    """No panel asks for what the gateway does not count."""
    unknown = {query.panel: named(query.expr) - set(exported()) for query in queries}
    assert not {panel: names for panel, names in unknown.items() if names}


def test_every_query_names_a_metric(queries):
    """The check above looks at something in each expression."""
    assert [query.expr for query in queries if not named(query.expr)] == []


def test_every_exported_metric_is_on_a_panel(queries):
    """What the gateway counts can be seen."""
    shown = set().union(*(named(query.expr) for query in queries))
    ours = {name for name in exported() if name.startswith("quorate_")}
    assert len(ours) >= 17
    assert ours - shown == set()


def test_counters_are_read_as_rates_and_gauges_as_they_are(queries):
    """A bare counter only ever rises: each use stands inside rate() or increase(), and no gauge does."""
    types = exported()
    for query in queries:
        for found in METRIC.finditer(query.expr):
            kind = types[base(found[0])]
            moving = query.expr[: found.start()].endswith(("rate(", "increase("))
            assert moving == (kind in ("counter", "histogram")), f"{found[0]} in {query.expr}"


def test_model_is_filtered_wherever_it_can_be(queries):
    """Panels whose metrics carry the label follow the model picker (CPU for each answer is the gateway's alone)."""
    labelled = {"programs", "program_errors", "certainty", "tokens", "tokens_saved", "program_seconds"}
    labelled |= {"first_byte_seconds", "overhead_seconds", "samples", "settled"}
    for query in queries:
        for name, selector in re.findall(
            r"quorate_(\w+?)(?:_bucket|_sum|_count|_total)?(\{[^}]*\}|(?=[\[) ]))", query.expr
        ):
            if name in labelled and query.panel != "CPU time per answer":
                assert 'model=~"$model"' in selector, query.expr


def test_the_dashboard_is_what_its_source_says(root):
    """dashboards/quorate.json was made from dashboard.yaml and committed with it."""
    build = [sys.executable, str(root / "deploy" / "grafana" / "build.py"), "--check"]
    check = subprocess.run(build, capture_output=True, text=True, timeout=20, check=False)
    assert check.returncode == 0, check.stderr


def test_panels_have_ids_titles_descriptions_units_and_their_own_data(dashboard):
    """Each panel can be read without asking its author."""
    ids = [panel["id"] for panel in dashboard["panels"]]
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)
    for panel in panels(dashboard):
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"].endswith("."), panel["title"]
        assert unit in UNITS or unit.startswith(("si:", "suffix:")), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


def test_si_units_do_not_begin_with_a_prefix(dashboard):
    """Grafana reads the first letter after `si:` as a scale when it can be one: `si:programs` would be pico-rograms."""
    for panel in panels(dashboard):
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert not re.match(r"si:[fpnuµmkMGTPEZY]", unit), f"{panel['title']}: {unit}"


def test_panels_fill_the_grid_without_overlap(dashboard):
    """Every cell of the 24 columns belongs to one panel, and no line has a hole."""
    cells = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in cells, f"{panel['title']} lies on {cells.get(cell)}"
            cells[cell] = panel["title"]
    height = max(y for _, y in cells) + 1
    assert len(cells) == 24 * height


def test_titles_fit_their_panels(dashboard):
    """No title is cut off on a small screen."""
    for panel in panels(dashboard):
        columns = panel["gridPos"]["w"]
        pixels = columns * 1280 / 24 - 30
        assert len(panel["title"]) * 6.6 <= pixels, f"{panel['title']!r} in {columns} columns"


def test_one_meaning_has_one_colour(dashboard):
    """A series name keeps its colour from panel to panel."""
    colors = {}
    for panel in panels(dashboard):
        for override in panel["fieldConfig"]["overrides"]:
            for entry in override["properties"]:
                if entry["id"] == "color":
                    colors.setdefault(override["matcher"]["options"], set()).add(entry["value"]["fixedColor"])
    assert {"selected", "finished", "certain", "p99"} <= set(colors)
    assert {name: found for name, found in colors.items() if len(found) > 1} == {}


def test_pickers_are_the_data_source_and_the_model(dashboard):
    """The dashboard can be pointed at any Prometheus and narrowed to some models."""
    pickers = {picker["name"]: picker for picker in dashboard["templating"]["list"]}
    assert list(pickers) == ["datasource", "model"]
    assert pickers["datasource"]["query"] == "prometheus"
    assert pickers["model"]["multi"]
    assert pickers["model"]["allValue"] == ".*"
    assert named(pickers["model"]["query"]["query"]) == {"quorate_tokens_total"}


@pytest.fixture
def provisioning(root):
    """The two provisioning files: data sources and dashboards."""
    folder = root / "deploy" / "grafana" / "provisioning"
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/*.yml"))]
    dashboards, sources = read
    return sources["datasources"], dashboards["providers"]


def test_grafana_finds_prometheus_and_the_dashboard(provisioning, compose, root):
    """Provisioning names a service that exists, and the folder where compose mounts the dashboards."""
    (source,), (provider,) = provisioning
    host, port = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()
    assert host in compose["services"]
    assert compose["services"][host]["ports"][0].endswith(f":{port}")
    mounts = dict(mount.split(":")[1::-1] for mount in compose["services"]["grafana"]["volumes"])
    assert mounts[provider["options"]["path"]] == "./deploy/grafana/dashboards"
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    folder, _, file = home.rpartition("/")
    assert folder == provider["options"]["path"]
    assert (root / "deploy" / "grafana" / "dashboards" / file).exists()


def test_grafana_knows_the_scrape_interval(provisioning, root):
    """$__rate_interval is made from it: shorter than the truth, and every rate would be empty."""
    config = yaml.safe_load((root / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (source,), _ = provisioning
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
