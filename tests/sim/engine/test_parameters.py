"""Where the parameters come from: the table of hardware, a fit, and JSON."""

import json
from random import Random

import pytest

from sim.engine.cost import Linear, StepCost
from sim.engine.engine import Engine
from sim.engine.fitting import Observation, Timing, described, fit
from sim.engine.hardware import HARDWARE, named
from sim.engine.types import EngineParameters, Work

TRUTH = Linear(5_000_000, 20_000, 60, 25_000)


def seconds(decode: float, kv: float, prefill: float) -> float:
    """What a step takes in truth."""
    return (TRUTH.fixed + TRUTH.per_decode * decode + TRUTH.per_kv * kv + TRUTH.per_prefill * prefill) / 1e9


@pytest.mark.parametrize("name", HARDWARE)
def test_every_named_server_runs(name: str) -> None:
    """Alone, a token takes between 5 and 30 milliseconds; a full step of the batch takes longer."""
    parameters = named(name)
    engine = Engine(parameters)
    engine.submit(Work("a", prompt=500, completion=101), 0)
    now = 0
    while (after := engine.next_at()) is not None:
        now = after
        engine.advance(now)
    assert 5e6 < now / 101 < 30e6
    assert parameters.cost.step_nanos(256, 256 * 1000, 0) > parameters.cost.step_nanos(1, 1000, 0)


def test_the_published_measurement_of_the_h100_is_met() -> None:
    """6.48 ms a token for one call to Llama 3.1 8B (see MEMORY_SHARE), within 3 %."""
    assert named("h100-8b").cost.step_nanos(1, 500, 0) == pytest.approx(6.48e6, rel=0.03)


def test_an_unknown_server_is_refused_by_name() -> None:
    """The message names those that there are."""
    with pytest.raises(ValueError, match="h100-8b"):
        named("tpu")


def test_a_fit_finds_the_truth_behind_noisy_steps() -> None:
    """Within a few percent of each coefficient, from 200 steps that scatter by 3 %."""
    dice = Random(7)
    seen = []
    for _ in range(200):
        decode, prefill = dice.randint(0, 256), dice.choice([0, dice.randint(1, 2048)])
        kv = decode * dice.randint(50, 2000)
        seen.append(Observation(decode, kv, prefill, seconds(decode, kv, prefill) * dice.gauss(1, 0.03)))
    found = fit(seen)
    (linear,) = found.cost.bounds
    assert linear.fixed == pytest.approx(TRUTH.fixed, rel=0.1)
    assert linear.per_kv == pytest.approx(TRUTH.per_kv, rel=0.05)
    assert linear.per_prefill == pytest.approx(TRUTH.per_prefill, rel=0.05)
    assert found.relative_error == pytest.approx(0.03, rel=0.2)
    assert "200 observations" in described(found)


def test_a_fit_never_finds_a_cost_below_zero() -> None:
    """A server that gets no slower with the batch has no cost per sequence, rather than a negative one."""
    seen = [Observation(d, d * (80 + d), 0, 0.01 - d * 1e-6) for d in range(1, 50)] + [Observation(0, 0, 500, 0.02)]
    (linear,) = fit(seen).cost.bounds
    assert (linear.per_decode, linear.per_kv) == (0, 0)
    assert linear.fixed == pytest.approx(0.01e9, rel=0.01)


def test_timings_of_requests_are_observations_of_steps() -> None:
    """What the engine itself is seen to do from outside gives back what it was made of."""
    cost = StepCost((TRUTH,))
    parameters = EngineParameters(cost, kv_blocks=100_000, max_num_seqs=64, max_model_len=100_000)
    timings = []
    for batch, prompt in [(1, 100), (1, 1500), (8, 300), (32, 200), (32, 1500), (64, 800)]:
        engine = Engine(parameters)
        for key in range(batch):
            engine.submit(Work(key, prompt, completion=100, prefix="all"), 0)
        engine.advance(1)
        first = engine.when_tokens(batch - 1, 1)
        assert first is not None
        last = engine.advance(10**12)[-1].at
        timings.append(Timing(prompt, 100, first / 1e9, last / 1e9, batch))
    (linear,) = fit([each for timing in timings for each in timing.observations()]).cost.bounds
    assert linear.per_kv == pytest.approx(TRUTH.per_kv, rel=0.02)
    assert linear.fixed == pytest.approx(TRUTH.fixed, rel=0.02)


def test_too_little_is_refused() -> None:
    """Fewer observations than coefficients, all alike, or of no time."""
    with pytest.raises(ValueError, match="at least as many"):
        fit([Observation(1, 10, 0, 0.1)] * 3)
    with pytest.raises(ValueError, match="too alike"):
        fit([Observation(1, 10, 0, 0.1)] * 9)
    with pytest.raises(ValueError, match="not positive"):
        fit([Observation(1, 10, 0, 0)] * 9)


def test_parameters_survive_json() -> None:
    """What is left out has its default; what is not a server is refused."""
    parameters = named("a100x4-70b")
    assert EngineParameters.read(json.loads(json.dumps(parameters.record()))) == parameters
    with pytest.raises(ValueError, match="not the parameters"):
        EngineParameters.read({"kv_blocks": 3})
    with pytest.raises(ValueError, match="not the cost"):
        EngineParameters.read({"cost": {"bounds": [{"speed": 3}]}, "kv_blocks": 3000})
