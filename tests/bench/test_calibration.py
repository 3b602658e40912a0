"""The measurement of calibration: cross-fitted figures, risks on the other half, and what is written."""

import json
from argparse import Namespace
from dataclasses import asdict

import pytest

from bench.calibration import Kept, among, halves, microseconds, panels, reliable, report, run, shuffled, tallied
from core.calibration import Target
from sim.dice import dice
from sim.observing import Setup
from sim.study import Study
from sim.traces import Question, Recorded


def questions(count):
    """Half of them easy, half of them scattered, eight samples each."""
    chance = dice(0, "bench")
    for number in range(count):
        p = 0.95 if number % 2 else 0.5
        yield Question(f"q{number}", tuple(Recorded(a, a == "A", 10) for a in chance.choices("AB", (p, 1 - p), k=8)))


@pytest.fixture(scope="module")
def study():
    """Forty questions in two orders."""
    return Study(list(questions(40)), Setup(8, 8, orders=2))


@pytest.mark.timeout(60)
def test_every_question_is_judged_once_by_others(study):
    """A row for each stated certainty, over all questions, with extremes about its mean."""
    rows = list(reliable(study, "forty", Target.CORRECTNESS))
    assert [row.certainty for row in rows] == [None, 0.9, 0.95]
    for row in rows:
        assert row.figures.questions == 40
        assert row.least <= row.ece <= row.most
    assert [title for title, _ in panels(rows)] == ["forty, cap 8, correctness"]


@pytest.mark.timeout(60)
def test_risks_are_realised_on_the_other_half(study):
    """Stopping and abstaining at every certainty; what is not certified breaks no promise."""
    found = list(halves(study, "forty", 4))
    assert [(each.what, each.certainty) for each in found] == [
        ("stopping", 0.9),
        ("stopping", 0.95),
        ("abstaining", 0.7),
        ("abstaining", 0.8),
        ("abstaining", 0.9),
        ("abstaining", 0.95),
    ]
    assert all(each.kept >= 4 - each.certified for each in found)
    assert sum("forty" in line for line in report([], found)) == len(found)


def test_halves_are_counted():
    """One keeps its risk, one does not, one promised nothing."""
    found = tallied("t", 8, "stopping", 0.9, [(0.1 - 1e-9, 0.5), (0.2, 0.7), None])
    assert found == Kept("t", 8, "stopping", 0.9, 2, 2, pytest.approx(0.15), pytest.approx(0.6))


def test_losses_are_those_of_the_places(study):
    """In their order."""
    every = study.differing(0.5)
    assert among(study, [3, 1, 2])(0.5) == [every[3], every[1], every[2]]


def test_places_are_shuffled_by_name():
    """The same for the same name."""
    assert sorted(shuffled(9, "a")) == list(range(9))
    assert shuffled(9, "a") == shuffled(9, "a") != shuffled(9, "b")


def test_a_certainty_costs_microseconds():
    """Far below a millisecond even on a busy machine."""
    assert 0 < microseconds() < 500


@pytest.mark.timeout(60)
def test_rows_are_written(tmp_path, capsys):
    """The short run: one data set, no picture."""
    lines = [json.dumps({"id": q.id, "samples": [asdict(sample) for sample in q.samples]}) for q in questions(24)]
    (tmp_path / "math-r1distill7b-m8.jsonl.gz").write_text("\n".join(lines), encoding="utf-8")
    out, plot = tmp_path / "results" / "rows.json", tmp_path / "plot.png"
    run(Namespace(traces=tmp_path, short=True, orders=2, jobs=1, out=out, plot=plot))
    found = json.loads(out.read_text(encoding="utf-8"))
    assert len(found["reliability"]) == 6
    assert len(found["risk"]) == 6
    assert found["reliability"][0]["figures"]["questions"] == 24
    assert not plot.exists()
    assert "Profile.certainty" in capsys.readouterr().out
