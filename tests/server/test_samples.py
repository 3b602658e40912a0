"""Samples of real traffic as a trace."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from sim.traces import by_agreement, labelled, load

ASK = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
WHOLE = {"max_samples": 3, "min_samples": 3}


def asked(client: httpx.Client, budget: Any, **fields: Any) -> None:
    """One answered request."""
    answer = client.post("/v1/chat/completions", json={**ASK, "compute_budget": budget, **fields})
    assert answer.status_code == 200, answer.text


def test_a_whole_budget_is_recorded_as_a_question(
    gateway: Callable[..., httpx.Client], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    """Answers and counts, plain and streamed, in a file that the replay reads; nothing that anybody said."""
    log = tmp_path / "samples.jsonl"
    client = gateway(scripted("The answer is 4"), sample_log=log)
    asked(client, WHOLE)
    asked(client, WHOLE, stream=True)
    assert not labelled(log)
    first, second = by_agreement(load(log, labels=False))
    assert first.id != second.id
    assert [(sample.answer, sample.correct) for sample in first.samples] == [("4", True)] * 3
    assert all(sample.tokens > 0 for question in (first, second) for sample in question.samples)
    assert {*json.loads(log.read_text(encoding="utf-8").splitlines()[0])} == {"id", "task", "model", "gold", "samples"}


def test_what_stopped_early_or_failed_says_nothing_about_other_rules(
    gateway: Callable[..., httpx.Client], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    """Only budgets that were meant to be drawn whole are recorded."""
    log = tmp_path / "samples.jsonl"
    client = gateway(scripted("The answer is 4"), sample_log=log)
    for budget in ("off", 1, 8, "auto", {"max_samples": 8, "min_samples": 2}):
        asked(client, budget)
    assert log.read_text(encoding="utf-8") == ""
