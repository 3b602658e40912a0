"""Scenarios: what is read from TOML, what is said of every mistake, and what workloads are drawn."""

import tomllib
from itertools import islice
from pathlib import Path
from statistics import fmean, pvariance

import pytest

from core.types import NANOS
from sim.reading import ScenarioError, read
from sim.scenario import Deadlines, Scenario, from_toml, questions_of
from sim.traces import Question, Recorded
from sim.workload import Family, Kind, Step, Tenant, Workload, arrival_times, arriving, made_up, visitors

LEAST = """
programs = 10
[workload]
rates = [1.0]
family = { kinds = [{}] }
[[policies]]
name = "one"
strategy = "self_consistency"
"""


def scenario(text=LEAST, **changes):
    """The scenario of a text, with some keys (dots for tables) set to other values, or removed (None)."""
    table = tomllib.loads(text)
    for path, value in changes.items():
        *folders, last = path.split("__")
        inner = table
        for folder in folders:
            inner = inner[int(folder)] if isinstance(inner, list) else inner.setdefault(folder, {})
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return read(Scenario, table)


def test_what_is_left_out_has_its_default():
    """A scenario may be short."""
    found = scenario()
    assert (found.seed, found.warmup, found.cap) == (0, 0, 16)
    assert found.engine.backends == ("engine-0",)
    assert found.policies[0].scheduler.order == "first_come"
    assert found.policies[0].options == {"incomparable_after": 16}


WRONG = [
    ({"policies__0__scheduler": {"reserved": {"a": -1}}}, "policies[0].scheduler.reserved.a must be at least 0"),
    (
        {"policies__0__scheduler": {"reserved": {"a": 0.5}}},
        "policies[0].scheduler.reserved.a must be a whole number, not 0.5.",
    ),
    ({"seeds": 1}, "seeds is not known; there is workload, policies, seed"),
    ({"seed": "1"}, "seed must be a whole number, not '1'."),
    ({"seed": True}, "seed must be a whole number, not True."),
    ({"programs": None}, "programs or duration must be given, and not both."),
    ({"duration": 5}, "programs or duration must be given, and not both."),
    ({"programs": 0}, "programs must be at least 1, not 0."),
    ({"programs": None, "duration": -1}, "duration must be above 0, not -1."),
    ({"warmup": -1}, "warmup must be at least 0, not -1."),
    ({"warmup": 10}, "warmup must be less than programs."),
    ({"workload": None}, "workload is missing."),
    ({"workload": 3}, "workload must be a table."),
    ({"workload__rates": [1, "2"]}, "workload.rates[1] must be a number, not '2'."),
    ({"workload__rates": 1}, "workload.rates must be a list."),
    ({"workload__rates": [-1]}, "workload.rates must be above 0, not -1."),
    ({"workload__rates": [float("inf")]}, "workload.rates[0] must be a finite number, not inf."),
    ({"workload__loads": [1]}, "workload.rates or loads must be given, and not both."),
    ({"workload__rates": None, "workload__loads": [0]}, "workload.loads must be above 0, not 0."),
    ({"workload__answers": "x"}, "workload.answers or family must be given, and not both."),
    ({"workload__family": {"kinds": []}}, "workload.family.kinds must hold at least one with a share above 0."),
    ({"workload__family": {"kinds": [{"correct": 2}]}}, "workload.family.kinds[0].correct must be at most 1, not 2."),
    ({"workload__family": {"kinds": [{"wrong": 0}]}}, "workload.family.kinds[0].wrong must be at least 1, not 0."),
    ({"workload__family": {"kinds": [{"decay": 0}]}}, "workload.family.kinds[0].decay must be above 0, not 0."),
    ({"workload__family__questions": 0}, "workload.family.questions must be at least 1, not 0."),
    ({"workload__arrivals": "even"}, "workload.arrivals must be 'poisson' or 'bursty', not 'even'."),
    ({"workload__burstiness": 0}, "workload.burstiness must be above 0, not 0."),
    ({"workload__step": {"at": 5, "until": 5, "factor": 2}}, "workload.step.until must be above 5, not 5."),
    ({"workload__step": {"at": 5, "until": 6, "factor": 0}}, "workload.step.factor must be above 0, not 0."),
    ({"workload__step": {"at": 5}}, "workload.step.until is missing."),
    ({"workload__prompt_tokens": 0}, "workload.prompt_tokens must be at least 1, not 0."),
    ({"workload__tenants": {"a": {"share": -1}}}, "workload.tenants.a.share must be at least 0, not -1."),
    ({"workload__tenants": {"a": {"share": 0}}}, "workload.tenants must hold at least one with a share above 0."),
    ({"workload__tenants": []}, "workload.tenants must be a table."),
    ({"deadlines": {"base": 0}}, "deadlines.base must be above 0, not 0."),
    ({"deadlines": {"scales": []}}, "deadlines.scales must hold at least one."),
    ({"deadlines": {"scales": [0]}}, "deadlines.scales must be above 0, not 0."),
    ({"deadlines": {"factors": [1]}}, "deadlines.factors must be three"),
    ({"deadlines": {"difficulty": "hard"}}, "deadlines.difficulty must be 'oracle' or 'none', not 'hard'."),
    ({"engine": {"hardware": "abacus"}}, "engine.hardware must be a100-8b"),
    ({"engine": {"replicas": 0}}, "engine.replicas must be at least 1, not 0."),
    ({"gateway": {"replicas": 0}}, "gateway.replicas must be at least 1, not 0."),
    ({"gateway": {"tick": 0}}, "gateway.tick must be above 0, not 0."),
    ({"gateway": {"gauges": 0}}, "gateway.gauges must be above 0, not 0."),
    ({"policies": []}, "policies must hold at least one."),
    ({"policies__0__name": None}, "policies[0].name is missing."),
    ({"policies__0__strategy": "guess"}, "policies[0].strategy must be direct, self_consistency"),
    ({"policies__0__strategy": {"rule": "fixed"}}, "policies[0].strategy must be direct, self_consistency"),
    (
        {"policies__0__strategy": {"name": "waves", "size": 1}},
        "policies[0].strategy.size is not known; waves takes rule",
    ),
    ({"policies__0__strategy": {"name": "waves", "rule": "no"}}, "policies[0].strategy.rule: Unknown rule 'no'."),
    ({"policies__0__samples": 0}, "policies[0].samples must be at least 1, not 0."),
    ({"policies__0__certainty": 2}, "policies[0].certainty: certainty must be above 0 and at most 1."),
    ({"policies__0__slots": -1}, "policies[0].slots must be at least 0, not -1."),
    ({"policies__0__gauges": 1}, "policies[0].gauges must be true or false, not 1."),
    ({"policies__0__deadline": "kept"}, "policies[0].deadline must be 'measured' or 'told' or 'given', not 'kept'."),
    ({"policies__0__scheduler": {"order": "any"}}, "policies[0].scheduler.order: unknown order 'any'"),
    ({"policies__0__scheduler": {"shedding": 1}}, "policies[0].scheduler.shedding is not known; there is order"),
    (
        {"policies__0__scheduler": {"weights": {"a": 0}}},
        "policies[0].scheduler.weights.a must be from 0.000001 to 1000000, not 0.0.",
    ),
    ({"policies__0__scheduler": {"max_waiting": -1}}, "policies[0].scheduler.max_waiting must be from 0 to 1000000000"),
    ({"policies__0__scheduler": {"retries": -1}}, "policies[0].scheduler.retries must be from 0 to 64, not -1."),
    ({"policies__0__scheduler": {"starving_seconds": -1}}, "policies[0].scheduler.starving_seconds must be from 0 to"),
    (
        {"policies__0__scheduler": {"starving_seconds": 1e300}},
        "policies[0].scheduler.starving_seconds must be from 0 to 31536000, not 1e+300.",
    ),
    ({"policies__0__scheduler": {"patience_seconds": 0}}, "policies[0].scheduler.patience_seconds must be from 0.001"),
    (
        {"policies__0__strategy": {"name": "waves", "sizes": []}},
        "policies[0].strategy.sizes must be a list of at least 1",
    ),
    (
        {"policies__0__strategy": {"name": "waves", "sizes": [4, -1]}},
        "policies[0].strategy.sizes[1] must be from 0 to 100000, not -1.",
    ),
    ({"policies__0__strategy": {"name": "waves", "sizes": 3}}, "policies[0].strategy.sizes must be a list."),
    (
        {"policies__0__strategy": {"name": "self_consistency", "width": "x"}},
        "policies[0].strategy.width must be a whole number, not 'x'.",
    ),
    ({"policies__0__strategy": {"name": "auto", "price": -1}}, "policies[0].strategy.price must be above 0 to 1"),
    (
        {"policies__0__strategy": {"name": "auto", "selector": "no"}},
        "policies[0].strategy.selector: Unknown selector 'no'.",
    ),
    ({"faults": {"rates": {"kill": -1}}}, "faults.rates.kill must be at least 0, not -1."),
    ({"faults": {"silence": 1e300}}, "faults.silence must be at most 31536000, not 1e+300."),
    ({"seed": 10**400}, "seed must be a number of at most 63 bits, and has 1329."),
    ({"programs": None, "duration": 1e300}, "duration must be at most 31536000, not 1e+300."),
    ({"workload__rates": [1e300]}, "workload.rates must be at most 1000000000, not 1e+300."),
    ({"workload__rates": [1e-300]}, "workload.rates must be at least 1e-06, not 1e-300."),
    ({"policies__0__scheduler": {"weights": {"a": "b"}}}, "policies[0].scheduler.weights.a must be a number, not 'b'."),
]


NUMBERS = {
    "programs": 7,
    "warmup": 1,
    "workload__rates": [1.0],
    "workload__burstiness": 8.0,
    "workload__prompt_tokens": 9,
    "workload__step": {"at": 1.0, "until": 2.0, "factor": 3.0},
    "workload__tenants": {"a": {"share": 1.0, "priority": 0}},
    "workload__family": {
        "kinds": [{"share": 1.0, "correct": 0.5, "vary": 0.1, "wrong": 3, "decay": 0.5, "tokens": 9.0, "between": 0.1}],
        "questions": 7,
        "longest": 99,
    },
    "deadlines": {"base": 60.0, "scales": [1.0], "factors": [1.0, 2.0, 3.0]},
    "engine": {"replicas": 2, "max_num_seqs": 9, "max_num_batched_tokens": 9, "max_model_len": 9, "kv_blocks": 999},
    "gateway": {"replicas": 1, "tick": 0.25, "gauges": 1.0},
    "faults": {"rates": {"kill": 1.0}, "seconds": 5.0, "silence": 20.0},
    "policies__0__samples": 4,
    "policies__0__slots": 4,
    "policies__0__max_tokens": 99,
    "policies__0__certainty": 0.9,
    "policies__0__scheduler": {"max_waiting": 9, "starving_seconds": 9.0, "patience_seconds": 9.0, "retries": 2},
}
"""Numbers that make sense, of every kind there is."""


def spoilt(node, value, path=""):
    """Each number of a table or list in turn replaced by the value: where it stood, and what the whole then is."""
    if isinstance(node, dict | list):
        for key, inner in list(node.items() if isinstance(node, dict) else enumerate(node)):
            for found, changed in spoilt(inner, value, f"{path} {key}"):
                whole = node.copy()
                whole[key] = changed
                yield found, whole
    else:
        yield path, value


def test_the_sound_numbers_are_sound():
    """Or the next test would prove nothing."""
    assert scenario(**NUMBERS).engine.replicas == 2


@pytest.mark.parametrize("value", [1e300, -1e300, float("nan"), float("inf"), 10**15, -(10**15), 10**400])
@pytest.mark.parametrize("field", NUMBERS)
def test_no_number_is_without_bounds(field, value):
    """What is too large to reckon with is refused by its field, before anything is simulated."""
    for path, whole in spoilt(NUMBERS[field], value):
        with pytest.raises(ScenarioError) as error:
            scenario(**{**NUMBERS, field: whole})
        last = next((word for word in reversed(path.split()) if not word.isdigit()), field.rpartition("__")[2])
        assert last in str(error.value)


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=[said[:60] for _, said in WRONG])
def test_every_mistake_names_its_field(changes, said):
    """One sentence that begins with where it stands in the file."""
    with pytest.raises(ScenarioError) as error:
        scenario(**changes)
    assert str(error.value).startswith(said)


def test_policies_have_names_of_their_own():
    """Records could not be told apart."""
    policy = {"name": "one", "strategy": "direct"}
    with pytest.raises(ScenarioError, match="policies must have names of their own"):
        scenario(policies=[policy, policy])


def test_the_file_is_named(tmp_path):
    """What is no TOML, and what is no scenario."""
    path = tmp_path / "mine.toml"
    path.write_text("seed = = 1", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"^mine.toml: not TOML \("):
        from_toml(path)
    path.write_text("seed = 1", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"^mine.toml: workload is missing"):
        from_toml(path)


def test_recorded_samples_must_be_there_and_be_enough(tmp_path):
    """By name without its ending; the policy that wants too many is named."""
    given = scenario(workload__family=None, workload__answers="small")
    with pytest.raises(ScenarioError, match=r"workload.answers: there are no recorded samples 'small'"):
        questions_of(given, (tmp_path,))
    line = '{"id": "q", "samples": [{"answer": "A", "correct": true, "tokens": 3}]}'
    (tmp_path / "small.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"policies\[0\].samples is 16, and 1 are recorded"):
        questions_of(given, (tmp_path,))
    few = scenario(workload__family=None, workload__answers="small", policies__0__samples=1)
    assert questions_of(few, (tmp_path,))[0].id == "q"


def test_parameters_of_an_engine_come_from_a_name_or_a_file(tmp_path):
    """And may be changed one by one; what does not fit is said."""
    given = scenario(engine={"hardware": "h100-8b", "max_num_seqs": 7})
    assert given.engine.parameters(Path()).max_num_seqs == 7
    (tmp_path / "mine.json").write_text('{"cost": {"bounds": [{"fixed": 5}]}, "kv_blocks": 600}', encoding="utf-8")
    own = scenario(engine={"hardware": "mine.json", "max_model_len": 100}).engine.parameters(tmp_path)
    assert (own.kv_blocks, own.max_model_len) == (600, 100)
    (tmp_path / "odd.json").write_text('{"cost": 3}', encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"^engine.hardware: odd.json: This is not the cost of a step"):
        scenario(engine={"hardware": "odd.json"}).engine.parameters(tmp_path)
    with pytest.raises(ScenarioError, match=r"^engine.kv_blocks holds 9600 tokens"):
        scenario(engine={"hardware": "mine.json", "max_model_len": 10_000}).engine.parameters(tmp_path)


def question(*flags):
    """A question whose recorded samples are right or not."""
    return Question("q", tuple(Recorded("A" if flag else "B", flag, 1) for flag in flags))


def test_deadlines_follow_the_difficulty_of_the_recorded_samples():
    """Dynasor's three factors; or the same for all."""
    oracle = Deadlines(difficulty="oracle", factors=(1.0, 2.0, 4.0))
    assert [oracle.factor(q) for q in (question(1, 1), question(1, 0), question(0, 0))] == [1, 2, 4]
    assert Deadlines().factor(question(0, 0)) == 1


def times(workload, rate, seed=0, many=4000):
    """Arrivals in seconds."""
    return [at / NANOS for at in islice(arrival_times(workload, rate, seed), many)]


def gaps(found):
    """From one arrival to the next."""
    return [after - before for before, after in zip([0.0, *found], found, strict=False)]


@pytest.mark.parametrize(("arrivals", "variation"), [("poisson", 1.0), ("bursty", 8.0)])
def test_gaps_have_the_mean_and_the_variance_that_were_asked_for(arrivals, variation):
    """The squared coefficient of variation is 1 of exponential gaps, and what was said of bursty ones."""
    found = gaps(times(Workload(rates=(4.0,), answers="x", arrivals=arrivals), 4.0))
    assert fmean(found) == pytest.approx(0.25, rel=0.05 * variation**0.5)
    assert pvariance(found) / fmean(found) ** 2 == pytest.approx(variation, rel=0.25)


def test_arrivals_at_another_rate_are_the_same_stretched():
    """Common random numbers: rates differ in nothing else."""
    workload = Workload(rates=(1.0,), answers="x")
    slow, fast = times(workload, 1.0, many=50), times(workload, 4.0, many=50)
    assert [at / 4 for at in slow] == pytest.approx(fast)


def test_a_step_makes_programs_come_faster_for_a_while():
    """Three times the rate from second 100 to second 200, and the old one after it."""
    found = times(Workload(rates=(10.0,), answers="x", step=Step(100, 200, 3)), 10.0, many=6000)
    per_second = [sum(low <= at < low + 100 for at in found) / 100 for low in (0, 100, 200)]
    assert per_second == [pytest.approx(rate, rel=0.1) for rate in (10, 30, 10)]
    assert found == sorted(found)


def test_a_duration_counts_seconds():
    """All that come within them."""
    found = arriving(iter([1, 2 * NANOS, 3 * NANOS]), programs=None, duration=3.0)
    assert found == [1, 2 * NANOS]


FAMILY = Family((Kind(share=3, correct=0.9, vary=0.0, tokens=100), Kind(correct=0.2, vary=0.0, tokens=900)), 400)


def test_a_family_has_the_difficulty_and_the_lengths_that_were_asked_for():
    """Three easy questions for each hard one; wrong answers are spread, lengths lie around their medians."""
    made = made_up(FAMILY, 1)
    share = [fmean(s.correct for s in q.samples) for q in made]
    easy = [q for q, right in zip(made, share, strict=True) if right > 0.55]
    assert len(easy) / len(made) == pytest.approx(0.75, abs=0.06)
    assert fmean(share) == pytest.approx(0.75 * 0.9 + 0.25 * 0.2, abs=0.05)
    lengths = sorted(s.tokens for q in easy for s in q.samples)
    assert lengths[len(lengths) // 2] == pytest.approx(100, rel=0.15)
    wrong = [s.answer for q in made for s in q.samples if not s.correct]
    assert wrong.count("wrong 0") / wrong.count("wrong 1") == pytest.approx(2, rel=0.2)
    assert made == made_up(FAMILY, 1)
    assert made != made_up(FAMILY, 2)


def test_every_question_comes_once_before_any_comes_again():
    """And program k draws the same samples under every cap."""
    made = made_up(Family((Kind(),), questions=7), 1)
    workload = Workload(rates=(1.0,), answers="x", tenants={"a": Tenant(3.0), "b": Tenant(1.0, priority=-1)})
    found = list(islice(visitors(made, workload, cap=5, seed=3), 700))
    assert all(len({v.question.id for v in found[turn : turn + 7]}) == 7 for turn in range(0, 700, 7))
    more = list(islice(visitors(made, workload, cap=9, seed=3), 700))
    assert [v.samples for v in found] == [v.samples[:5] for v in more]
    assert {v.tenant: v.priority for v in found} == {"a": 0, "b": -1}
    assert sum(v.tenant == "a" for v in found) / 700 == pytest.approx(0.75, abs=0.05)
