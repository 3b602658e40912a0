"""Parameters come back from what an engine with these parameters is seen to do."""

import json
from dataclasses import replace
from random import Random

import pytest

from sim.engine.calibrating import calibrate
from sim.engine.cost import Linear, StepCost
from sim.engine.engine import serve
from sim.engine.measuring import Run, Served, Sizes, doubling, scatter, sizes, typical
from sim.engine.types import EngineParameters, Work

TINY = Linear(1_300_000, 50_000, 120, 14_000)
"""A small model on a processor: nothing costs as much as the step itself."""
LARGE = Linear(5_000_000, 60_000, 300, 25_000)
"""An 8B model on a GPU, where the batch matters more."""
SEATS = 6


def server(truth: Linear, *, intake: int = 0, admission: int = 0) -> EngineParameters:
    """One with few seats and all the cache that it needs."""
    return EngineParameters(
        StepCost((truth,)), kv_blocks=10_000, max_num_seqs=SEATS, max_model_len=2048, intake=intake, admission=admission
    )


def blank(truth: EngineParameters) -> EngineParameters:
    """What is known of it before it is measured."""
    return replace(truth, cost=StepCost((Linear(1.0),)), intake=0, admission=0)


def plan(truth: Linear, seconds: float = 10.0) -> Sizes:
    """What a first look leads to."""
    look = Linear(truth.fixed, truth.fixed / 64, 0, truth.per_prefill)
    return sizes(server(look), seconds)


def seen(truth: EngineParameters, measures: Sizes, *, noise: float = 0.0, seed: int = 0) -> list[Run]:
    """Every experiment once, as an observer of an engine like this would see it who is `noise` off."""
    dice, runs = Random(seed), []
    for experiment in measures.experiments():
        asked = experiment.calls
        ends = serve(truth, [(each.at, Work(key, each.prompt, each.completion)) for key, each in enumerate(asked)])
        firsts = serve(truth, [(each.at, Work(key, each.prompt, 1)) for key, each in enumerate(asked)])
        off = dice.gauss(1, noise)
        calls = [
            Served(each.prompt, each.completion, each.at, *(each.at + (t[key] - each.at) * off for t in (firsts, ends)))
            for key, each in enumerate(asked)
        ]
        runs.append(Run(experiment.name, tuple(calls)))
    return runs


def test_a_fit_finds_what_the_engine_was_made_of() -> None:
    """Every coefficient within a few percent, the front's times too."""
    truth = server(TINY, intake=700_000, admission=4_000_000)
    found = calibrate(blank(truth), seen(truth, plan(TINY)))
    (linear,) = found.parameters.cost.bounds
    assert linear.fixed == pytest.approx(TINY.fixed, rel=0.02)
    assert linear.per_decode == pytest.approx(TINY.per_decode, rel=0.05)
    assert linear.per_kv == pytest.approx(TINY.per_kv, rel=0.05)
    assert linear.per_prefill == pytest.approx(TINY.per_prefill, rel=0.05)
    assert found.parameters.intake + found.parameters.admission == pytest.approx(4_700_000, rel=0.05)
    assert found.error < 0.01


def test_steps_cost_what_they_should_where_little_was_seen() -> None:
    """Answers of thirty tokens tell context and batch hardly apart; what a step costs they tell."""
    truth = server(LARGE, intake=700_000, admission=4_000_000)
    found = calibrate(blank(truth), seen(truth, plan(LARGE))).parameters
    for batch, context in ((1, 100), (3, 150), (SEATS, 100)):
        wanted = truth.cost.step_nanos(batch, batch * context, 0)
        assert found.cost.step_nanos(batch, batch * context, 0) == pytest.approx(wanted, rel=0.02)
    assert found.cost.step_nanos(0, 0, 200) == pytest.approx(truth.cost.step_nanos(0, 0, 200), rel=0.05)


def test_a_fit_of_noisy_runs_serves_a_load_like_the_truth() -> None:
    """With three rounds of runs that are 4 % off, other calls than those that were measured end when they should."""
    truth = server(TINY, intake=700_000, admission=4_000_000)
    runs = [run for seed in range(3) for run in seen(truth, plan(TINY), noise=0.04, seed=seed)]
    found = calibrate(blank(truth), typical(runs)).parameters
    dice, at, works = Random(1), 0.0, []
    for key in range(150):
        at += dice.expovariate(6)
        works.append((at, Work(key, dice.randint(20, 200), dice.randint(40, 600))))
    ends, wanted = serve(found, works), serve(truth, works)
    late = [ends[key] - at for key, (at, _) in enumerate(works)]
    due = [wanted[key] - at for key, (at, _) in enumerate(works)]
    assert sum(late) == pytest.approx(sum(due), rel=0.05)
    assert max(ends.values()) == pytest.approx(max(wanted.values()), rel=0.02)


def test_an_engine_without_a_front_is_found_to_have_none() -> None:
    """Where calls reach the queue at once, no time is left over for a front."""
    truth = server(LARGE)
    found = calibrate(blank(truth), seen(truth, plan(LARGE))).parameters
    assert found.intake + found.admission < LARGE.fixed / 10


def test_what_is_not_measured_stays_as_it_is_known() -> None:
    """Seats, cache and name are not fitted."""
    truth = replace(server(TINY), name="mine", block_size=128, prefix_caching=False, max_num_batched_tokens=512)
    found = calibrate(blank(truth), seen(truth, plan(TINY, 4.0))).parameters
    assert replace(found, cost=truth.cost, intake=0, admission=0) == truth


def test_prompts_alone_tell_nothing_of_a_step() -> None:
    """Refused, with the reason."""
    run = Run("prompt short", (Served(10, 1, 0.0, 0.1, 0.1),))
    with pytest.raises(ValueError, match="more than one token"):
        calibrate(blank(server(TINY)), [run])


def test_experiments_fit_the_time_and_the_server() -> None:
    """About as long as was given, nothing longer than a sequence may be, up to every seat and beyond."""
    measures = plan(TINY)
    runs = seen(server(TINY), measures)
    assert 3 < sum(run.seconds for run in runs) < 15
    assert all(call.prompt + call.completion <= 2048 for run in runs for call in run.calls)
    assert [len(run.calls) for run in runs if run.name.startswith("batch") and run.name.endswith("short")] == [2, 4, 6]
    assert max(len(run.calls) for run in runs) > SEATS
    assert doubling(1) == []
    assert doubling(12) == [2, 4, 8, 12]


def test_too_little_time_or_room_is_refused() -> None:
    """Answers of a few tokens would show nothing."""
    with pytest.raises(ValueError, match="too little"):
        plan(TINY, 0.2)
    with pytest.raises(ValueError, match="too little"):
        sizes(replace(server(TINY), max_model_len=20), 60.0)


def test_one_seat_can_be_measured() -> None:
    """There are no batches then, and the fit does without."""
    truth = replace(server(TINY), max_num_seqs=1)
    look = replace(truth, cost=StepCost((Linear(1.3e6, 0, 0, 14_000),)))
    found = calibrate(blank(truth), seen(truth, sizes(look, 10.0)))
    assert found.error < 0.01


def test_the_typical_run_is_the_median_and_scatter_is_told() -> None:
    """A run that something disturbed does not count; that there was one is told."""
    runs = [
        Run(name, (Served(10, 5, 1.0, 1.1, 1.0 + took),)) for took in (2.0, 9.0, 2.2) for name in ("alone", "crowd")
    ]
    assert [run.seconds for run in typical(runs)] == [pytest.approx(2.2), pytest.approx(2.2)]
    assert scatter(runs) == pytest.approx(3.5)


def test_runs_survive_json() -> None:
    """They are kept beside the parameters."""
    run = seen(server(TINY), plan(TINY, 4.0))[0]
    assert Run.read(json.loads(json.dumps(run.record()))) == run
