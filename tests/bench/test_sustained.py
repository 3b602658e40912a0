"""The study of sustained rates: how a rate is found, and that every policy can be played."""

import json

import pytest

from bench import sustained
from bench.sustained import STEP, TABLES, Try, climb, played, stage, tried
from bench.sustained_found import Found, crossing
from bench.sustained_policies import MAIN, PARTS, POLICIES


def found(rate, attainment=1.0, change=0.0):
    """A trial of which nothing but the rate, the deadlines kept and the accuracy matters."""
    return Found(rate, attainment, change, 0.5, 100.0, 1.0, 2.0, 3.0, 0.0, 0.0, attainment, 0.0)


@pytest.mark.parametrize(
    ("first", "second", "rate"),
    [
        (found(1.0), found(2.0, attainment=0.8), 1.5),
        (found(1.0), found(2.0, change=-0.015), 1 + 1 / 3),
        (found(1.0, attainment=0.8), found(2.0, attainment=0.7), 0.0),
        (found(1.0), found(2.0), 2.0),
    ],
)
def test_a_rate_is_sustained_up_to_where_the_margin_is_gone(first, second, rate):
    """Linear between two trials, by deadlines or accuracy, whichever goes first; nothing where even the least fails."""
    assert crossing([first, second]) == pytest.approx(rate)


@pytest.mark.parametrize("limit", [0.3, 1.0, 7.0])
def test_the_search_ends_around_the_limit(limit):
    """From below or from above it stops once there is a trial on either side, and tries nothing twice."""
    asked = []

    def attempt(rate):
        asked.append(rate)
        return found(rate, attainment=1.0 if rate <= limit else 0.5)

    curve = climb(attempt, capacity=1.0, start=1.0)
    assert len(asked) == len(set(asked)) == len(curve)
    assert limit / STEP < crossing(curve) < limit * STEP


@pytest.mark.parametrize("name", [*MAIN, *PARTS, "ours, told"])
def test_every_policy_names_a_scenario(name):
    """Each can be put on a cluster; fixed budgets get an engine without a queue before it."""
    table = next(iter(TABLES))
    assert stage(Try(table, name, 1.0), 1).scenario.policies == (POLICIES[name],)


def test_a_trial_under_light_load_loses_nothing():
    """Fixed budgets are their own measure: everyone in time, and no change at all."""
    record, whole = played(Try("mcqa100-gpt4-cot", "fixed, engine order", 0.25), 1)
    assert record.attainment == 1.0
    assert record.accuracy == pytest.approx(whole)


def test_a_trial_on_other_samples_is_another_trial(tmp_path, monkeypatch):
    """What was kept of a trial is found again, until its table is recorded anew."""
    table, made = tmp_path / "table.jsonl.gz", []
    monkeypatch.setattr(sustained, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sustained, "TRACES", tmp_path)
    monkeypatch.setattr(sustained, "played", lambda attempt, seed: made.append(seed))
    monkeypatch.setattr(sustained, "_mean", lambda rate, seeds: found(rate, attainment=len(made) / 10))
    attempt = Try("table", "ours", 1.0, seeds=(1,))
    for samples in ("old", "old", "new"):
        table.write_bytes(json.dumps(samples).encode())
        seen = tried(attempt)
    assert (made, seen.attainment) == ([1, 1], 0.2)
