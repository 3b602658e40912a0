"""Recordings of the demonstration models as traces among the others."""

from pathlib import Path
from typing import Any

import pytest

from bench.recordings import HOME, MODELS, RECORDINGS, reported, thinned
from reasoner.record import load, save
from sim.traces import load as replayed


def line(name: str, *, model: str = "m", t: float = 0.8, answers: str = "ab") -> dict[str, Any]:
    """A recorded line with everything that a recording may tell."""
    sample = {"correct": True, "tokens": 9, "steps": 1.0, "confidence": {"mean": 3.0}, "probes": []}
    return {
        "id": name,
        "task": "ledger",
        "gold": "a",
        "question": "How many?",
        "bin": 1,
        "model": model,
        "t": t,
        "greedy": {"answer": "a", **sample},
        "samples": [{"answer": answer, **sample} for answer in answers],
    }


def test_what_is_reported_on_is_chosen(tmp_path: Path) -> None:
    """Held-out questions and newcomers of all files, at each model's lowest temperature; nothing to calibrate on."""
    save(tmp_path / "a.jsonl.gz", [line("held-out/1/0000", t=1.0), line("newcomer/000", t=1.0)])
    save(tmp_path / "b.jsonl.gz", [line("held-out/1/0000"), line("held-out/s1/0000")])
    save(tmp_path / "c.jsonl.gz", [line("newcomer/000")])
    save(tmp_path / "d.jsonl.gz", [line("calibration/1/0000", t=0.1)])
    save(tmp_path / "e.jsonl.gz", [line("held-out/1/0000", model="other", t=1.0)])
    found = {model: [(each["id"], each["t"]) for each in lines] for model, lines in reported(tmp_path).items()}
    assert found == {
        "m": [("held-out/1/0000", 0.8), ("held-out/s1/0000", 0.8), ("newcomer/000", 0.8)],
        "other": [("held-out/1/0000", 1.0)],
    }


def test_a_thin_line_replays_alike(tmp_path: Path) -> None:
    """Answers, flags and tokens are left; what is dropped is what a replay does not read."""
    whole = line("held-out/1/0000")
    thin = thinned(whole)
    assert {key for sample in (thin["greedy"], *thin["samples"]) for key in sample} == {"answer", "correct", "tokens"}
    assert {key: value for key, value in thin.items() if key not in ("greedy", "samples")} == {
        key: value for key, value in whole.items() if key not in ("greedy", "samples")
    }
    save(tmp_path / "t.jsonl.gz", [thin])
    (question,) = replayed(tmp_path / "t.jsonl.gz")
    assert [(sample.answer, sample.tokens) for sample in question.samples] == [("a", 9), ("b", 9)]


@pytest.mark.parametrize("model", MODELS)
def test_traces_are_those_of_the_recordings(model: str) -> None:
    """What `python -m bench.recordings` would write is what there is."""
    expected = [thinned(line) for line in reported(RECORDINGS)[model]]
    assert list(load(HOME / "traces" / f"{model}.jsonl.gz").values()) == expected
