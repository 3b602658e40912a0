"""Trials: theory where there is one, books that balance, common random numbers, and what records are made of."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import fmean

import pytest

from core.budget import Budget
from core.types import NANOS, StopReason, Usage
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler
from sim.attainment import Record, in_time, percentile, records, sustained, tightest
from sim.dice import dice
from sim.engine.cost import Linear, StepCost
from sim.engine.engine import Engine
from sim.engine.types import EngineParameters
from sim.kernel import Kernel
from sim.reading import ScenarioError
from sim.scenario import from_toml, questions_of
from sim.trials import Fate, Load, Outcomes, Stage, Trial, play
from sim.types import Arrival, Drawn
from sim.workload import Workload, arrival_times
from strategies.direct import direct

SMALL = Path(__file__).parents[2] / "sim" / "scenarios" / "small.toml"
MANY = 6000


@pytest.fixture(scope="module")
def stage():
    """The scenario that comes with the project."""
    scenario = from_toml(SMALL)
    return Stage(scenario, questions_of(scenario, ()), scenario.engine.parameters(SMALL.parent))


@pytest.fixture(scope="module")
def played(stage):
    """Its trials."""
    return [play(stage, trial) for trial in stage.trials]


def test_a_run_can_be_held_in_memory(stage):
    """A year of a million programs a second is refused by name."""
    workload = replace(stage.scenario.workload, rates=(1e6,), loads=())
    endless = replace(stage.scenario, workload=workload, programs=None, duration=31_536_000.0, warmup=0)
    with pytest.raises(ScenarioError, match=r"^duration must not bring more than 10000000 programs"):
        replace(stage, scenario=endless)


def test_every_replica_has_a_slot_where_they_are_divided(stage):
    """Without a store; programs would wait for ever at one that has none."""
    gateway = replace(stage.scenario.gateway, replicas=600)
    with pytest.raises(ScenarioError, match=r"^gateway.replicas must be at most 512: .* the slots of policies\[0\]"):
        replace(stage, scenario=replace(stage.scenario, gateway=gateway))


def queue(services, rate, *, engines=None, slots=1):
    """Programs of one sample each, at a Poisson rate; arrivals and times in seconds."""
    names = [str(number) for number in range(len(services))]
    at = dict(zip(names, arrival_times(Workload(rates=(rate,), answers="x"), rate, 5), strict=False))
    drawn = dict(zip(names, services, strict=True))
    scheduler = Scheduler({"s": slots}, Policy(max_waiting=MANY))
    kernel = Kernel(scheduler, lambda request: drawn[request.program], engines=engines)
    ended = kernel.run(Arrival(name, direct, budget=Budget(), at=at[name], backend="s") for name in names)
    return [each.arrived / NANOS for each in ended], [(each.ended - each.arrived) / NANOS for each in ended]


def test_one_slot_is_the_queue_that_theory_knows():
    """M/M/1: every program waits exactly as Lindley's recursion says, on average rho / (mu - lambda)."""
    services = [dice(1, "service", n).expovariate(1.0) for n in range(MANY)]
    arrived, times = queue([Drawn(round(each * NANOS), "a") for each in services], 0.7)
    free = 0.0
    for at, service, took in zip(arrived, services, times, strict=True):
        free = max(at, free) + service
        assert took == pytest.approx(free - at, abs=1e-4)
    assert fmean(times) == pytest.approx(1 / (1 - 0.7), rel=0.15)


def test_an_engine_of_one_seat_is_a_queue_with_general_service():
    """M/G/1, by Pollaczek and Khinchine; utilisation is arrivals times service; and Little's law for those inside."""
    step = NANOS // 100
    lengths = [1 + int(dice(2, "length", n).expovariate(1 / 60)) for n in range(MANY)]
    parameters = EngineParameters(StepCost((Linear(fixed=float(step)),)), 1000, max_num_seqs=1, max_model_len=4000)
    drawn = [Drawn(0, "a", usage=Usage(5, length)) for length in lengths]
    arrived, times = queue(drawn, 1.2, engines={"s": Engine(parameters)}, slots=MANY)
    service, square = fmean(lengths) / 100, fmean(length**2 for length in lengths) / 10_000
    span = arrived[-1]
    rate = MANY / span
    assert fmean(times) == pytest.approx(service + rate * square / 2 / (1 - rate * service), rel=0.1)
    inside = fmean(
        sum(at <= now < at + took for at, took in zip(arrived, times, strict=True)) for now in range(0, 4000, 7)
    )
    assert inside == pytest.approx(rate * fmean(times), rel=0.15)


def test_every_token_of_the_engines_is_on_some_program_s_account(played):
    """Finished, aborted and lost ones together, to the token."""
    for outcomes in played:
        assert sum(fate.tokens for fate in outcomes.fates) == outcomes.load.generated > 0


def test_a_trial_repeats(stage, played):
    """The same seed, the same outcomes; another one, others."""
    assert play(stage, stage.trials[0]) == played[0]
    other = replace(stage, scenario=replace(stage.scenario, seed=8))
    assert play(other, stage.trials[0]).fates != played[0].fates


def test_policies_and_rates_are_compared_on_the_same_programs(stage, played):
    """Tenants and limits are those of program k under each; a fixed budget spends the same at any rate."""
    assert len({tuple((fate.tenant, fate.limit) for fate in each.fates) for each in played}) == 1
    fixed = [each.fates for each in played if each.trial.policy == 0]
    assert len({tuple((fate.samples, fate.tokens) for fate in fates) for fates in fixed}) == 1


def test_policies_that_know_deadlines_are_tried_at_each_scale(stage):
    """The others once: they are judged at all of them."""
    found = [(trial.policy, trial.scale) for trial in stage.trials]
    assert found == [(0, None), (0, None), (1, 0.5), (1, 1.0), (1, 0.5), (1, 1.0)]


def test_loads_are_relative_to_what_the_engines_can_serve(stage):
    """Offered the capacity of a fixed budget, the engines make nearly as many tokens as they can."""
    assert stage.rates == (stage.capacity / 2, stage.capacity * 1.5)
    scenario = replace(stage.scenario, programs=400)
    outcomes = play(replace(stage, scenario=scenario), Trial(0, stage.capacity * 3))
    lengths = [sample.tokens for question in stage.questions for sample in question.samples]
    most = stage.capacity * scenario.cap * fmean(lengths)
    assert outcomes.load.generated / outcomes.load.nanos * NANOS == pytest.approx(most, rel=0.15)


def test_samples_must_fit_into_the_engine(stage):
    """The field to change is named, and the number that it needs."""
    short = replace(stage.parameters, max_model_len=500)
    with pytest.raises(ScenarioError, match=r"engine.max_model_len must be \d+ for the longest sample, and is 500"):
        Stage(stage.scenario, stage.questions, short)


def test_deadlines_that_are_given_end_programs_in_time(stage):
    """Then nobody is late; who has nothing to say fails."""
    policy = replace(stage.scenario.policies[1], deadline="given")
    given = replace(stage, scenario=replace(stage.scenario, policies=(policy,)))
    outcomes = play(given, Trial(0, stage.rates[1], 0.5))
    assert all(in_time(fate, 0.5) for fate in outcomes.fates if fate.nanos is not None)
    assert StopReason.DEADLINE in {fate.reason for fate in outcomes.fates}


@pytest.mark.parametrize("store", [False, True])
def test_replicas_of_the_gateway_share_the_engines(stage, store):
    """Half of the slots each, or as they are leased; every program is served by one of them."""
    gateway = replace(stage.scenario.gateway, replicas=2, store=store)
    outcomes = play(replace(stage, scenario=replace(stage.scenario, gateway=gateway)), stage.trials[-1])
    assert len(outcomes.fates) == 60
    assert sum(fate.tokens for fate in outcomes.fates) == outcomes.load.generated


def reserving(stage, count, **gateway):
    """The scenario of two tenants, with slots of each engine reserved for the light one."""
    (policy,) = stage.scenario.policies
    policy = replace(policy, scheduler=replace(policy.scheduler, reserved={"light": count}))
    changed = replace(stage.scenario.gateway, **gateway)
    scenario = replace(stage.scenario, programs=700, warmup=100, policies=(policy,), gateway=changed)
    return Stage(scenario, stage.questions, stage.parameters)


@pytest.fixture(scope="module")
def tenants():
    """A light tenant beside a flood, on an engine of 64 seats."""
    path = SMALL.parent / "tenants.toml"
    scenario = from_toml(path)
    return Stage(scenario, questions_of(scenario, ()), scenario.engine.parameters(path.parent))


def test_reserved_slots_are_there_for_their_tenant(tenants):
    """The flood holds fewer, so that the light tenant's samples neither wait nor run in a full batch; replicas that
    divide the slots divide the reservation."""
    means, running = [], []
    for count, gateway in ((0, {}), (32, {}), (32, {"replicas": 2})):
        outcomes = play(stage := reserving(tenants, count, **gateway), stage.trials[0])
        means.append(fmean(fate.nanos for fate in outcomes.fates if fate.tenant == "light" and fate.nanos))
        running.append(outcomes.load.running)
    assert max(means[1:]) < 0.97 * means[0]
    assert running[0] > 60
    assert max(running[1:]) < 48


def test_reserved_slots_leave_some_to_others(tenants):
    """The field to change is named, and how many slots there are."""
    said = r"policies\[0\].scheduler.reserved must leave one of an engine's 64 slots to others, and is 64"
    with pytest.raises(ScenarioError, match=said):
        reserving(tenants, 64)


def fate(seconds, *, right=True, refused=False, reason=StopReason.CERTAIN, tenant=""):
    """A program with ten seconds at scale 1."""
    nanos = None if seconds is None else round(seconds * NANOS)
    return Fate(tenant, 10.0 * NANOS, nanos, right, 100, 4, reason, refused)


FATES = (
    fate(99),
    fate(4, reason=StopReason.LOAD),
    fate(10),
    fate(12, right=False),
    fate(None, right=False, refused=True, reason=None),
    fate(None, right=False, reason=None),
)


def test_a_record_by_hand(stage):
    """One of six is warm-up; of the others two are in time, two were answered right; the refused one counts."""
    scenario = replace(stage.scenario, warmup=1, deadlines=replace(stage.scenario.deadlines, scales=(1.0, 2.0)))
    load = Load(5000, 1, 400, 100, 50 * NANOS, 3.0, 2.0, 0.5, 0.01)
    one, two = records(replace(stage, scenario=scenario), Outcomes(Trial(0, stage.capacity), FATES, load))
    assert (one.policy, one.load, one.slo_scale, one.programs) == ("fixed", 1.0, 1.0, 5)
    assert (one.attainment, one.attainment_p90, one.lateness_p90) == (0.4, False, None)
    assert (one.accuracy, one.accuracy_in_time) == (0.4, 0.4)
    assert (one.p50, one.p90, one.p99, one.mean) == (10, 12, 12, pytest.approx(26 / 3))
    assert (one.refused, one.failed, one.degraded) == (0.2, 0.2, 0.2)
    assert (one.tokens, one.tokens_per_second, one.cached) == (100, 100, 0.25)
    assert two.attainment == 0.6


def test_percentiles_are_values_that_occurred():
    """Nearest rank."""
    assert [percentile(range(1, 11), part) for part in (0.0, 0.5, 0.9, 0.91, 1.0)] == [1, 5, 9, 10, 10]
    assert percentile([], 0.5) is None


def row(policy, rate, scale, attainment):
    """A record of which nothing else matters."""
    rest = dict.fromkeys(Record.__slots__, 0)
    return Record(**{**rest, "policy": policy, "rate": rate, "slo_scale": scale, "attainment": attainment})


def test_what_is_sustained_lies_between_the_rates_that_were_tried():
    """Linear up to the goal; nothing below the first, and no more than the last."""
    rows = [row("a", 1, 1, 1.0), row("a", 2, 1, 0.8), row("a", 4, 1, 0.95), row("b", 1, 1, 0.5), row("c", 3, 1, 0.9)]
    assert sustained(rows) == {("a", 1): 1.5, ("b", 1): 0, ("c", 1): 3}


def test_the_tightest_scale_that_is_kept():
    """Of those that were tried; None where none is."""
    rows = [row("a", 1, 2, 1.0), row("a", 1, 1, 0.9), row("a", 1, 0.5, 0.89), row("b", 1, 2, 0.1)]
    assert tightest(rows) == {("a", 1): 1, ("b", 1): None}


def test_the_smaller_the_load_the_more_is_kept(stage, played):
    """The fixed budget breaks down at half as much again as the engines can serve."""
    rows = [record for outcomes in played for record in records(stage, outcomes)]
    fixed = {(round(r.load, 3), r.slo_scale): r.attainment for r in rows if r.policy == "fixed"}
    assert fixed[0.5, 1.0] > 0.8
    assert fixed[1.5, 1.0] < 0.5
    assert all(set(r.tenants) == {"free", "paid"} for r in rows)
    assert [name for name, _ in groupby(r.policy for r in rows)] == ["fixed", "early"]
