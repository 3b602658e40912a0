"""What the gateway counts: names, labels and the books that must balance."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from core.calibration import Profile
from core.drift import Drifted
from server.answers import AnswerReader
from server.gateway import make_metrics
from server.metrics import OTHER, Metrics, TokenFates


def value(metrics, name, **labels):
    """The value of one series now, or None where it does not exist."""
    return metrics.registry.get_sample_value(name, labels)


def answered(metrics, model="m", certainty=0.97, calibrated=False, settled=0.93, **tokens):
    """Start and answer one program."""
    metrics.program_started()
    metrics.program_ended(
        model,
        "self_consistency",
        "certain",
        seconds=1.5,
        overhead=0.002,
        certainty=certainty,
        calibrated=calibrated,
        settled=settled,
        tokens=TokenFates(**tokens),
    )


@pytest.fixture
def metrics():
    """Metrics of a gateway that serves model `m` from backend `b`."""
    made = Metrics()
    made.serve("m", "b")
    return made


def test_an_answered_program_is_counted_once_everywhere(metrics):
    """One answer moves its counter, its histograms and each token fate by exactly what it spent."""
    answered(metrics, selected=10, discarded=20, aborted=5, prompt=40, saved=300)
    assert value(metrics, "quorate_programs_total", model="m", strategy="self_consistency", stop_reason="certain") == 1
    assert value(metrics, "quorate_program_seconds_sum", model="m", strategy="self_consistency") == 1.5
    assert value(metrics, "quorate_overhead_seconds_sum", model="m") == 0.002
    assert value(metrics, "quorate_certainty_sum", model="m", calibrated="false") == 0.97
    assert value(metrics, "quorate_settled_sum", model="m") == 0.93
    fates = {fate: value(metrics, "quorate_tokens_total", model="m", fate=fate) for fate in ("selected", "discarded")}
    assert fates == {"selected": 10, "discarded": 20}
    assert value(metrics, "quorate_tokens_total", model="m", fate="aborted") == 5
    assert value(metrics, "quorate_tokens_total", model="m", fate="prompt") == 40
    assert value(metrics, "quorate_tokens_saved_total", model="m") == 300


def test_an_answer_without_certainty_leaves_the_histogram_alone(metrics):
    """Certainty None is not zero certainty, and what was never asked is not unsettled."""
    answered(metrics, certainty=None, settled=None)
    for calibrated in ("true", "false"):
        assert value(metrics, "quorate_certainty_count", model="m", calibrated=calibrated) == 0
    assert value(metrics, "quorate_settled_count", model="m") == 0


def test_calibrated_certainties_are_counted_apart(metrics):
    """A probability that was checked does not mix with a number that only looks like one."""
    answered(metrics, certainty=0.8, calibrated=True)
    answered(metrics, certainty=0.6)
    sums = {each: value(metrics, "quorate_certainty_sum", model="m", calibrated=each) for each in ("true", "false")}
    assert sums == {"true": 0.8, "false": 0.6}


def test_shadows_spend_under_a_fate_of_their_own(metrics):
    """What no client asked for is generated all the same, and is no part of any answer."""
    metrics.shadow_spent("m", TokenFates(discarded=30, aborted=4, prompt=14))
    fates = {fate: value(metrics, "quorate_tokens_total", model="m", fate=fate) for fate in ("shadow", "prompt")}
    assert fates == {"shadow": 34, "prompt": 14}
    assert value(metrics, "quorate_tokens_total", model="m", fate="discarded") == 0


def test_a_profile_that_is_gone_leaves_only_its_counts(metrics):
    """Versions, evidence and alarms are of what is in use; what shadows showed stays counted."""
    calibration, profile = metrics.calibration, Profile(name="p", model="m", task="math")
    calibration.profiles({profile: "v1"}, failed=1)
    calibration.watch("p")
    calibration.shadowed("p", "agreed")
    calibration.alarm("p", Drifted.OVERCONFIDENT)
    assert value(metrics, "quorate_profile_info", profile="p", model="m", task="math", version="v1") == 1
    assert value(metrics, "quorate_profiles", state="failed") == 1
    alarm = {"profile": "p", "direction": "overconfident"}
    assert value(metrics, "quorate_calibration_alarm", **alarm) == 1
    calibration.profiles({}, failed=0)
    calibration.forget("p")
    assert value(metrics, "quorate_profile_info", profile="p", model="m", task="math", version="v1") is None
    assert value(metrics, "quorate_calibration_alarm", **alarm) is None
    assert value(metrics, "quorate_calibration_drift", profile="p") is None
    assert value(metrics, "quorate_shadows_total", profile="p", outcome="agreed") == 1


@given(ends=st.lists(st.sampled_from(["ended", "failed", "gone"]), max_size=20), running=st.integers(0, 5))
def test_programs_in_flight_is_what_started_less_what_ended(ends, running):
    """However programs end, the gauge holds those that have not."""
    metrics = Metrics()
    for _ in range(running):
        metrics.program_started()
    for end in ends:
        if end == "ended":
            answered(metrics)
            continue
        metrics.program_started()
        if end == "failed":
            metrics.program_failed("m", "server_error", 500)
        else:
            metrics.client_gone("m", stream=True)
    assert value(metrics, "quorate_programs_in_flight") == running


def test_failed_and_abandoned_programs_still_pay_for_their_tokens(metrics):
    """Tokens count whether or not anybody saw an answer."""
    metrics.program_started()
    metrics.program_failed("m", "upstream_error", 502, TokenFates(discarded=7))
    metrics.program_started()
    metrics.client_gone("m", stream=False, tokens=TokenFates(aborted=9))
    assert value(metrics, "quorate_tokens_total", model="m", fate="discarded") == 7
    assert value(metrics, "quorate_tokens_total", model="m", fate="aborted") == 9
    assert value(metrics, "quorate_program_errors_total", model="m", type="upstream_error", status="502") == 1
    assert value(metrics, "quorate_disconnects_total", stream="false") == 1


def test_a_sample_leaves_its_backend_once(metrics):
    """A sample is in flight between start and end, and counted by how it left."""
    metrics.sample_started("b")
    metrics.sample_started("b")
    metrics.sample_left("b")
    assert value(metrics, "quorate_samples_in_flight", backend="b") == 1
    metrics.sample_ended("m", "b", "aborted", 0.25)
    metrics.sample_aborted_closed("b", 0.003)
    assert value(metrics, "quorate_samples_in_flight", backend="b") == 1
    assert value(metrics, "quorate_samples_total", model="m", backend="b", outcome="aborted") == 1
    assert value(metrics, "quorate_sample_seconds_sum", backend="b") == 0.25
    assert value(metrics, "quorate_abort_seconds_bucket", backend="b", le="0.005") == 1
    assert value(metrics, "quorate_abort_seconds_bucket", backend="b", le="0.0025") == 0


def test_gauges_hold_the_last_value(metrics):
    """The queue's length and a backend's health are what was said last."""
    metrics.queued(4)
    metrics.queued(1)
    metrics.backend_up("b", True)
    metrics.backend_up("b", False)
    assert value(metrics, "quorate_samples_queued") == 1
    assert value(metrics, "quorate_backend_up", backend="b") == 0


def test_declared_series_exist_before_their_first_event(metrics):
    """A served model's counters are at zero from the start, so that rate() sees the first event."""
    assert value(metrics, "quorate_tokens_total", model="m", fate="selected") == 0
    assert value(metrics, "quorate_samples_total", model="m", backend="b", outcome="truncated") == 0
    assert value(metrics, "quorate_tokens_saved_total", model="m") == 0
    assert value(metrics, "quorate_first_byte_seconds_count", model="m") == 0
    assert value(metrics, "quorate_abort_seconds_count", backend="b") == 0


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30))
def test_a_client_cannot_create_a_model_series(names):
    """Model names that are not served fold into one label value."""
    metrics = Metrics()
    for name in names:
        metrics.program_started()
        metrics.program_failed(name, "invalid_request_error", 404)
        metrics.first_byte(name, 0.1)
    series = [s for m in metrics.registry.collect() for s in m.samples if s.name == "quorate_program_errors_total"]
    assert [s.labels["model"] for s in series] == [OTHER]
    assert series[0].value == len(names)


def test_an_upstream_cannot_create_error_types_without_end(metrics):
    """Error types are the upstream's words: the first few are kept apart, the rest counted together."""
    for n in range(100):
        metrics.program_started()
        metrics.program_failed("m", f"type-{n}", 400)
    errors = [s for m in metrics.registry.collect() for s in m.samples if s.name == "quorate_program_errors_total"]
    assert len(errors) == 33
    assert sum(s.value for s in errors) == 100
    assert value(metrics, "quorate_program_errors_total", model="m", type="type-0", status="400") == 1


def test_two_gateways_in_one_process_count_apart():
    """No registry is shared unless passed in."""
    one, two = Metrics(), Metrics()
    answered(one)
    assert value(two, "quorate_programs_total", model=OTHER, strategy="self_consistency", stop_reason="certain") is None
    given_one = CollectorRegistry()
    assert Metrics(given_one).registry is given_one


def test_render_is_prometheus_text(metrics):
    """The page parses, says so in its type, tells the version, and carries no `_created` series."""
    answered(metrics, selected=3)
    body, content_type = metrics.render()
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert families["quorate_programs"].type == "counter"
    assert families["quorate_build_info"].samples[0].labels["version"]
    assert "process_cpu_seconds" in families
    assert not [name for name in families if name.endswith("_created")]


@pytest.mark.parametrize("edge", ["0.5", "0.6", "0.7", "0.8", "0.9", "0.95", "0.99", "1.0"])
def test_certainty_is_resolved_where_targets_lie(metrics, edge):
    """The usual certainty targets are bucket edges, so that shares above them are exact."""
    assert value(metrics, "quorate_certainty_bucket", model="m", calibrated="true", le=edge) == 0


def test_overhead_is_resolved_from_a_quarter_millisecond(metrics):
    """A fast gateway's overhead does not drown in the first bucket."""
    answered(metrics)
    assert value(metrics, "quorate_overhead_seconds_bucket", model="m", le="0.00025") == 0
    assert value(metrics, "quorate_overhead_seconds_bucket", model="m", le="0.002") == 1


def test_names_follow_prometheus_conventions(metrics):
    """promtool, Prometheus' own linter, has nothing to say about the page."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("PROMTOOL IS MISSING: metric names are not linted (apt-get install prometheus)")
    answered(metrics)
    page = metrics.render()[0]
    lint = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=15, check=False)
    assert (lint.returncode, lint.stderr, lint.stdout) == (0, b"", b"")


def test_a_refused_request_is_an_error_but_never_was_a_program(metrics):
    """What is turned away at the door counts as an error and leaves the gauge of running programs alone."""
    metrics.refused("m", "invalid_request_error", 400)
    assert value(metrics, "quorate_program_errors_total", model="m", type="invalid_request_error", status="400") == 1
    assert value(metrics, "quorate_programs_in_flight") == 0


def test_an_answer_that_is_being_read_is_at_no_backend(gateway, scripted, monkeypatch):
    """Its slot is another sample's already: when the last of them is read, none is in flight."""
    made, seen = [], []
    read = AnswerReader.read

    def kept(settings):
        made.append(make_metrics(settings))
        return made[-1]

    async def looked(self, *args):
        seen.append(value(made[0], "quorate_samples_in_flight", backend="scripted"))
        return await read(self, *args)

    monkeypatch.setattr("server.gateway.make_metrics", kept)
    monkeypatch.setattr(AnswerReader, "read", looked)
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "2 + 2?"}],
        "compute_budget": {"max_samples": 3, "strategy": "self_consistency"},
    }
    assert gateway(scripted("So \\boxed{4}.")).post("/v1/chat/completions", json=body).status_code == 200
    assert seen
    assert seen[-1] == 0
