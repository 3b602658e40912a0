"""What the bench of the engine model works out, and how it notices who else is at work."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from bench import quiet
from bench.asked import asked
from bench.engine import Question, Row, drawn, figures, grouped, questions, read, sustained, table
from bench.engine_plot import plot
from bench.quiet import Moment, Watched, moment
from cli.driving import Prompt, Server, connected
from sim.engine.cost import Linear, StepCost
from sim.engine.engine import serve
from sim.engine.measuring import Served
from sim.engine.types import EngineParameters, Work

FLAT = EngineParameters(
    StepCost((Linear(1_000_000),)), kv_blocks=1000, max_num_seqs=4, max_model_len=1000, max_num_batched_tokens=1000
)
"""A step takes a millisecond, whatever is in it."""
ROW = Row("m", 0, 0.5, 10, (100.0, 105.0), (1.0, 0.9), (2.0, 2.2), 0.1)


def served(calls: Sequence[Prompt]) -> list[Served]:
    """What an engine makes of calls."""
    ends = serve(FLAT, [(call.at, Work(key, 1, call.completion)) for key, call in enumerate(calls)])
    return [Served(1, call.completion, call.at, call.at, ends[key]) for key, call in enumerate(calls)]


def test_the_trace_gives_questions_and_lengths() -> None:
    """Those that live benches ask, with the lengths of many samples, within the model's context."""
    found = questions("reasoner-small")
    assert {each.text for each in found} == {each.question for each in asked().values()}
    assert all(len(each.answers) == 64 and 0 < max(each.answers) <= 1100 for each in found)


def test_arrivals_come_at_the_rate() -> None:
    """A Poisson process of so many a second; without a rate all come at once."""
    trace = [Question("How many?", (10, 20))]
    calls = drawn(trace, 2000, 50.0, Random(0))
    assert calls[-1].at == pytest.approx(2000 / 50, rel=0.1)
    assert {call.completion for call in calls} == {10, 20}
    assert {call.at for call in drawn(trace, 5, 0.0, Random(0))} == {0.0}


def test_what_is_sustained_is_what_the_seats_make() -> None:
    """Four seats, a millisecond a step, 50 tokens a call on average: 80 calls a second, however the crowd ends."""
    dice = Random(1)
    crowd = served([Prompt("", dice.randint(1, 99)) for _ in range(400)])
    assert sustained(crowd, 4) == pytest.approx(4 / (50 * 0.001), rel=0.05)


def test_figures_are_those_of_the_calls() -> None:
    """Tokens over the time from first call to last end; the latencies' median and 90th percentile."""
    calls = [Served(1, 10, 1.0, 1.0, 1.0 + k) for k in range(1, 12)]
    assert figures(calls) == (pytest.approx(110 / 11), 6, 10)


def test_the_table_has_medians_over_the_rounds(tmp_path: Path) -> None:
    """All at once comes last; a single wild round does not show; the plot is drawn of the same."""
    wild = replace(ROW, round=1, tokens_per_second=(900.0, 10.0))
    rows = [replace(ROW, load=0.0), ROW, wild, replace(ROW, round=2)]
    lines = table(rows).splitlines()
    assert lines[2].startswith("| m | 50% | 30 | 100 | 105 | +5.0% | 1.00 s | 0.90 s | -10.0% | 2.00 s | 2.20 s |")
    assert lines[3].startswith("| m | all at once | 10 |")
    plot({key: [(1.0, 1.1)] * 3 for key in grouped(rows)}, tmp_path / "p.svg")
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    assert read(tmp_path / "none.json") == []


def test_others_are_what_is_not_own() -> None:
    """A child at work is others' work, unless it is counted as one's own."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        try:
            before = moment([]), moment([child.pid])
            time.sleep(0.5)
            after = moment([]), moment([child.pid])
        finally:
            child.kill()
    spent = (after[1].own - after[0].own) - (before[1].own - before[0].own)
    assert spent > 0.05
    assert after[0].others_since(before[0]) > after[1].others_since(before[1])
    assert Moment(2.0, 10.0, 3.0).others_since(Moment(1.0, 8.0, 2.5)) == 1.5


@pytest.mark.parametrize(
    ("patience", "shares", "counts"),
    [
        (60.0, [0.9, 0.0, 0.5, 0.0, 0.05], 2),
        (60.0, [0.0, 0.5, 0.0, 0.4, 0.0, 0.3, 0.0, 0.6], 3),
        (-60.0, [0.5], 1),
    ],
    ids=["until it is not", "or four times, the least disturbed counts", "but not past the deadline"],
)
async def test_a_disturbed_run_is_made_again(
    patience: float, shares: list[float], counts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are waited for, then the run is made; `shares` are what others take whenever that is looked at."""
    runs: list[int] = []

    async def run(self: Server, prompts: Sequence[Prompt]) -> list[Served]:
        runs.append(len(runs) + 1)
        return [Served(runs[-1], 1, 0.0, 0.0, 1.0)]

    looks = iter(shares)
    monkeypatch.setattr(Server, "run", run)
    monkeypatch.setattr(Moment, "others_since", lambda self, before: next(looks))
    monkeypatch.setattr(quiet, "GLANCE", 0.0)
    monkeypatch.setattr(quiet, "BLINK", -1.0)
    async with connected("http://127.0.0.1:9", "m", {}) as plain:
        server = Watched(plain.session, plain.base_url, "m", {}, (), time.monotonic() + patience)
        [call] = await server.run([Prompt("", 1)])
    assert call.prompt == counts
    assert len(server.disturbed) == 1
    assert next(looks, None) is None
