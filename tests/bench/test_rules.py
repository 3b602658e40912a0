"""The page of stopping rules: made from a folder of traces, with figures that are those of the records."""

import json
import shutil
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from bench.rules import HOME, SHORT, files, run
from bench.rules_page import by_trace, cells, overall, relative_time, rule_of
from sim.plan import Plan, measure
from sim.records import records
from sim.traces import Question, Recorded, load

DATA = Path(__file__).parents[1] / "data" / "mcqa-gpt35-20.jsonl.gz"


@pytest.fixture
def rows():
    """Two rules on a question of four equal samples: one stops after two, one never."""
    question = Question("q", (Recorded("A", True, 10),) * 4)
    plan = Plan(("at-least-2", "adaptive-consistency-0.95"), (4,), (1,), orders=1)
    return list(records("set", measure([question], plan), plan))


def test_the_table_over_everything_is_made_of_the_records(rows):
    """Tokens relative to Adaptive-Consistency, time relative to the whole budget at once."""
    _, _, first, second = overall(rows)
    assert first == "| at-least-2 | 1 | 0.500 | 0.500 | +0.00 | +0.00 | 0, 0 | +0.00 | 66.7% | 2.00 |"
    assert second.startswith("| adaptive-consistency-0.95 | 1 | 1.000 | 1.000 |")


def test_significant_losses_are_counted(rows):
    """A pair counts as below if its whole interval does."""
    lost = [replace(row, accuracy_change=-0.2, accuracy_change_low=-0.3, accuracy_change_high=-0.1) for row in rows]
    assert "| -20.00 | -20.00 | 1, 0 |" in list(overall(lost))[2]


def test_time_is_a_geometric_mean(rows):
    """A half and a double are one."""
    halved, doubled = (replace(rows[0], makespan=makespan, makespan_parallel=20) for makespan in (10, 40))
    assert relative_time([halved, doubled]) == pytest.approx(1)


def test_a_data_set_has_one_line_per_cap(rows):
    """The full budget, the oracle, and what every rule saves."""
    *_, line = by_trace(rows)
    assert line == "| set | 4 | 100.0% | 40 | 75% | 50% (+0.00) | 0% (+0.00) |"


def test_every_row_has_a_rule_below():
    """As many columns as the head."""
    assert rule_of(cells("a", 1, None)) == "|---|---|---|"


def test_the_short_run_finds_its_traces():
    """They are in the folder, and so are the others."""
    assert sorted(path.name.partition(".")[0] for path in files(HOME / "traces", short=True)) == sorted(SHORT)
    assert len(files(HOME / "traces", short=False)) == 19


@pytest.mark.parametrize("path", files(HOME / "traces", short=False), ids=lambda path: path.name)
def test_every_trace_can_be_replayed(path):
    """Each question has at least eight samples, and at least one of a trace is right."""
    questions = load(path)
    assert min(len(question.samples) for question in questions) >= 8
    assert any(sample.correct for question in questions for sample in question.samples)


@pytest.mark.timeout(60)
def test_the_page_is_written(tmp_path):
    """Records, tables and two pictures, all of them of this run."""
    shutil.copy(DATA, tmp_path)
    page, out = tmp_path / "page.md", tmp_path / "results" / "rules.json"
    run(Namespace(folder=tmp_path, short=False, orders=1, split="a", jobs=1, out=out, page=page))
    found = json.loads(out.read_text(encoding="utf-8"))
    assert {row["cap"] for row in found} == {8, 16, 32, 64}
    text = page.read_text(encoding="utf-8")
    assert "Recorded samples of 1 data sets" in text
    assert "(half a of them) in 1 random orders" in text
    assert text.count("| mcqa-gpt35-20 |") == 4 * 3
    for name in ("page-frontier.png", "page-makespan.png"):
        assert (tmp_path / name).exists()
        assert f"({name})" in text
