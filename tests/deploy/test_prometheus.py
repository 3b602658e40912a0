"""A real Prometheus scrapes the gateway's metrics, and every query of the dashboard returns data."""

import math
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core.calibration import Profile
from core.drift import Drifted
from scheduler.events import BackendMeasured
from server.metrics import Metrics, TokenFates
from server.scheduling_metrics import SchedulingMetrics

pytestmark = pytest.mark.timeout(60)


def one_round(metrics: Metrics) -> None:
    """Programs, samples and troubles of every kind the gateway counts."""
    for backend, outcome in (("small", "finished"), ("small", "aborted"), ("large", "truncated"), ("large", "failed")):
        metrics.sample_started(backend)
        metrics.sample_left(backend)
        metrics.sample_ended("reasoner", backend, outcome, 0.4)
        metrics.sample_aborted_closed(backend, 0.004)
        metrics.backend_up(backend, True)
    spent = TokenFates(selected=120, discarded=300, aborted=40, prompt=900, saved=1_200)
    for strategy, reason, certainty in (("self_consistency", "certain", 0.97), ("direct", "single", None)):
        metrics.program_started()
        metrics.first_byte("reasoner", 0.05)
        metrics.program_ended(
            "reasoner",
            strategy,
            reason,
            seconds=0.9,
            overhead=0.0015,
            certainty=certainty,
            calibrated=True,
            settled=certainty,
            tokens=spent,
        )
    metrics.program_started()
    metrics.program_failed("reasoner", "upstream_error", 502, TokenFates(discarded=10))
    metrics.refused("nobody", "invalid_request_error", 404)
    for stream in (True, False):
        metrics.program_started()
        metrics.client_gone("reasoner", stream=stream, tokens=TokenFates(aborted=5))
    metrics.queued(2)
    metrics.calibration.profiles({Profile(name="school", model="reasoner"): "0123456789ab"}, failed=1)
    metrics.calibration.shadowed("school", "agreed")
    metrics.calibration.shadowed("school", "differed")
    metrics.calibration.drift("school", 30.0)
    metrics.calibration.alarm("school", Drifted.OVERCONFIDENT)
    metrics.shadow_spent("reasoner", TokenFates(discarded=60, prompt=90))
    one_round_of_scheduling(metrics.scheduling)


def one_round_of_scheduling(metrics: SchedulingMetrics) -> None:
    """Load, second attempts, and news of the backends and the store."""
    metrics.price(("small", "large"), 0.004, 1.7)
    metrics.waiting({"school": 3, "": 1})
    metrics.served("school", 40)
    metrics.refused("full")
    metrics.refused("late")
    metrics.halted()
    metrics.widened(2)
    metrics.retried("small")
    metrics.hedged("won")
    metrics.breaker("small", "half_open")
    metrics.slots("small", "learned", 12)
    metrics.slots("small", "leased", 6)
    metrics.measured(BackendMeasured("small", 9, 2, 0.4))
    metrics.decided(0.00002)
    metrics.exchanged(0.001, ok=True)
    metrics.exchanged(0.25, ok=False)


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """Address of a server whose metrics move with every scrape."""
    metrics = Metrics()
    metrics.serve("reasoner", "small")
    metrics.serve("reasoner", "large")
    metrics.calibration.watch("school")
    metrics.scheduling.serve(pools=[("small", "large")], slots={"small": 16, "large": 16}, tenants=["school"])
    metrics.scheduling.reserved("small", "school", 4, 1)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            one_round(metrics)
            body, content_type = metrics.render()
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def scraped(page, start_prometheus):
    """A Prometheus that has scraped the page a few times."""
    prometheus = start_prometheus(page)
    scrapes = prometheus.wait_for("count_over_time(up[1m])", lambda values: values and values[0] >= 3, seconds=20)
    assert scrapes and scrapes[0] >= 3, "Prometheus did not scrape"
    return prometheus


def test_every_query_of_the_dashboard_returns_data(scraped, panel_query):
    """With traffic of every kind, no panel stays empty and no number is undefined."""
    values = scraped.wait_for(panel_query.promql, defined, seconds=5)
    assert defined(values), f"{values}: {panel_query.promql}"


def defined(values: list[float]) -> bool:
    """Whether there is data, a number each; after a scrape that a busy machine missed there is none until the next."""
    return bool(values) and all(math.isfinite(value) for value in values)


def test_the_scrape_itself_is_clean(scraped):
    """The target is up and none of its samples were refused."""
    assert scraped.wait_for('up{job="quorate"}', lambda values: values == [1], seconds=5) == [1]
    (scrape,) = scraped.query('scrape_samples_scraped{job="quorate"}')
    assert scraped.query('scrape_samples_post_metric_relabeling{job="quorate"}') == [scrape]


def test_numbers_are_what_was_counted(scraped):
    """Shares on the dashboard are the shares that went in: the chain from counter to panel keeps its meaning."""
    made = 'sum(rate(quorate_tokens_total{fate!="prompt"}[1m]))'
    assert scraped.query(f'sum(rate(quorate_tokens_total{{fate="selected"}}[1m])) / {made}') == [
        pytest.approx(240 / 1000, rel=0.02)
    ]
    assert scraped.query(
        'sum(rate(quorate_abort_seconds_bucket{le="0.1"}[1m])) / sum(rate(quorate_abort_seconds_count[1m]))'
    ) == [1]


def test_drift_and_broken_profiles_raise_an_alert(scraped):
    """What the gateway finds out about its certainties reaches a person; the other alert waits to be sure."""
    firing = 'ALERTS{alertname="QuorateCalibrationDrift", direction="overconfident", alertstate="firing"}'
    assert scraped.wait_for(firing, bool, seconds=10) == [1]
    assert scraped.query('ALERTS{alertname="QuorateCalibrationDrift", direction="underconfident"}') == []
    assert scraped.wait_for('ALERTS{alertname="QuorateProfileBroken", alertstate="pending"}', bool, seconds=10) == [1]


def test_the_shipped_configuration_is_valid(promtool, root):
    """Prometheus' own linter accepts deploy/prometheus/prometheus.yml without a warning."""
    check = subprocess.run(
        [promtool, "check", "config", "--lint-fatal", str(root / "deploy" / "prometheus" / "prometheus.yml")],
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr
