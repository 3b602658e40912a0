"""What is counted as a shadow's cost, and that the bench's gateway is one that shadows."""

import tomllib
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from bench.shadows import DEMO, MODEL, TRACE, body, cost, counters, report, settings, short
from server.settings import Settings

SPENT = {"selected": 100.0, "discarded": 250.0, "aborted": 50.0, "shadow": 500.0, "prompt": 9000.0}


def page() -> str:
    """Metrics as a gateway shows them: tokens of two models by fate, and shadows of a profile by outcome."""
    registry = CollectorRegistry()
    tokens = Counter("quorate_tokens_total", "Tokens.", ["model", "fate"], registry=registry)
    shadows = Counter("quorate_shadows_total", "Shadows.", ["profile", "outcome"], registry=registry)
    for fate, value in SPENT.items():
        for model in ("small", "large"):
            tokens.labels(model, fate).inc(value / 2)
    shadows.labels("exams", "agreed").inc(7)
    shadows.labels("exams", "withdrawn").inc(0)
    return generate_latest(registry).decode()


def test_the_cost_is_what_was_generated() -> None:
    """Over all models, without what was read; an outcome that nothing had is not named."""
    paid = cost(counters(page()))
    assert (paid.answers, paid.shadows, paid.outcomes) == (400.0, 500.0, {"agreed": 7.0})
    assert paid.ratio == pytest.approx(1.25)


def test_times_of_creation_are_not_counted() -> None:
    """A counter's page has a `_created` line beside each total, which is seconds since 1970."""
    assert "_created" in page()
    assert max(counters(page()).values()) == SPENT["prompt"]


def test_the_report_has_milliseconds() -> None:
    """Latencies are measured in seconds."""
    paid = cost(counters(page()))
    said = report(paid, {"with": [0.008, 0.009, 0.010], "without": [0.003]}, paid)
    assert "500 tokens for 400 of the answers, 1.25 times as many" in said
    assert "3 short requests with shadows: P10 8.2 ms, P50 9.0 ms, P90 9.8 ms." in said


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_its_gateways_shadow_what_they_are_told(share: float, tmp_path: Path) -> None:
    """The settings are ones that a gateway takes, of a model and recordings that are there."""
    made = Settings.model_validate(tomllib.loads(settings(tmp_path, share)))
    assert (made.shadow, made.models[0].name) == (share, MODEL)
    assert DEMO.is_file()
    assert TRACE.is_file()


def test_the_short_request_is_one_sample_beside_a_vote() -> None:
    """Of the same model, so that it needs the slots that the shadow has."""
    assert short()["model"] == body("?", 1)["model"] == MODEL
    assert short()["compute_budget"] == "off"
