"""How a client says what it wants, and what the gateway makes of it: spellings, precedence, limits, forwarded body."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import InvalidRequest, QuorateError, UnknownModel
from server.bodies import parse
from server.budgets import Plan, parse_text, resolve
from server.schemas import BudgetObject
from server.settings import Limits, ModelSettings, Settings

MakeSettings = Callable[..., Settings]
ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
SAMPLES = {"low": 8, "medium": 16, "high": 32, "max": 64, "auto": 32}


def plan_of(settings: Settings, headers: Mapping[str, str] | None = None, **fields: Any) -> Plan:
    """The plan for a chat request with these fields."""
    return resolve(settings, parse({**ASK, **fields}), headers or {})[1]


def refusal_of(settings: Settings, headers: Mapping[str, str] | None = None, **fields: Any) -> QuorateError:
    """The error that such a request is refused with."""
    with pytest.raises(InvalidRequest) as caught:
        plan_of(settings, headers, **fields)
    return caught.value


def models(*named: ModelSettings) -> dict[str, Any]:
    """Settings that serve exactly these models."""
    return {"models": named}


def model(name: str = "m", **options: Any) -> ModelSettings:
    """A model on the scripted backend."""
    return ModelSettings(name=name, backend="scripted", **options)


# Spellings


@pytest.mark.parametrize(("preset", "samples"), SAMPLES.items())
def test_presets(gateway_settings: MakeSettings, preset: str, samples: int) -> None:
    """Each preset is a number of samples, with no target but the strategy's own, and the operator's deadline."""
    plan = plan_of(gateway_settings(), compute_budget=preset)
    name = "self_consistency" if preset == "max" else "auto"
    assert (plan.name, plan.source, plan.off) == (name, "body", False)
    assert (plan.budget.max_samples, plan.budget.min_samples) == (samples, 1)
    assert (plan.budget.certainty, plan.budget.max_seconds, plan.budget.max_tokens) == (None, 600.0, None)


def test_off(gateway_settings: MakeSettings) -> None:
    """`off` is one direct sample, whose only limit is the operator's deadline."""
    plan = plan_of(gateway_settings(), compute_budget="off")
    assert (plan.name, plan.off, plan.budget.max_samples, plan.budget.max_seconds) == ("direct", True, 1, 600.0)


@pytest.mark.parametrize(("samples", "strategy"), [(1, "direct"), (2, "self_consistency"), (64, "self_consistency")])
def test_integer(gateway_settings: MakeSettings, samples: int, strategy: str) -> None:
    """An integer is at most that many samples; one of them needs no vote."""
    plan = plan_of(gateway_settings(), compute_budget=samples)
    assert (plan.budget.max_samples, plan.name, plan.off, plan.clamped) == (samples, strategy, False, ())


def test_object(gateway_settings: MakeSettings) -> None:
    """Every key of the object arrives in the plan."""
    plan = plan_of(
        gateway_settings(),
        compute_budget={
            "max_samples": 12,
            "min_samples": 3,
            "max_tokens": 5000,
            "max_seconds": 7,
            "certainty": 0.8,
            "strategy": {"name": "self_consistency", "width": 4},
            "selector": "majority",
            "escalate": False,
            "priority": -3,
            "abstain": True,
            "include": ["samples", "trace"],
        },
    )
    budget = plan.budget
    assert (budget.max_samples, budget.min_samples, budget.max_tokens) == (12, 3, 5000)
    assert (budget.max_seconds, budget.certainty, budget.abstain) == (7.0, 0.8, True)
    assert (plan.name, plan.priority) == ("self_consistency", -3)
    assert plan.options == {"width": 4, "selector": "majority"}
    assert plan.include == {"samples", "trace"}


def test_what_an_object_leaves_out_comes_from_auto(gateway_settings: MakeSettings) -> None:
    """The operator's `auto` fills in what the client did not say."""
    auto = BudgetObject(max_samples=6, min_samples=2, certainty=0.7, max_tokens=999, max_seconds=9)
    settings = gateway_settings(presets={"auto": auto})
    budget = plan_of(settings, compute_budget={"certainty": 0.9}).budget
    assert (budget.max_samples, budget.min_samples, budget.certainty) == (6, 2, 0.9)
    assert (budget.max_tokens, budget.max_seconds) == (999, 9.0)


def test_an_empty_object_is_auto(gateway_settings: MakeSettings) -> None:
    """`{}` asks for compute and leaves everything to the operator."""
    assert (
        plan_of(gateway_settings(), compute_budget={}).budget
        == plan_of(gateway_settings(), compute_budget="auto").budget
    )


def test_keys_set_to_null_are_left_out(gateway_settings: MakeSettings) -> None:
    """Null is how SDKs spell an optional field that was not given."""
    settings = gateway_settings()
    nothing = dict.fromkeys(BudgetObject.model_fields)
    assert plan_of(settings, compute_budget=nothing).budget == plan_of(settings, compute_budget="auto").budget
    assert plan_of(settings, compute_budget=None).source == "server"


def test_fewer_samples_than_the_operators_minimum(gateway_settings: MakeSettings) -> None:
    """A client that wants two samples is not refused because `auto` has a minimum of three."""
    settings = gateway_settings(presets={"auto": BudgetObject(max_samples=8, min_samples=3)})
    for spelling in ({"max_samples": 2}, 2):
        budget = plan_of(settings, compute_budget=spelling).budget
        assert (budget.max_samples, budget.min_samples) == (2, 2 if isinstance(spelling, dict) else 1)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("auto", "auto"),
        ({}, "auto"),
        ({"max_tokens": 500}, "auto"),
        ({"max_samples": None, "certainty": None, "abstain": None}, "auto"),
        (16, "self_consistency"),
        ({"max_samples": 16}, "self_consistency"),
        ({"certainty": 0.9}, "self_consistency"),
        ({"abstain": True}, "self_consistency"),
        ({"max_samples": 16, "strategy": "auto"}, "auto"),
        ("max", "self_consistency"),
    ],
)
def test_a_stated_vote_is_not_at_a_price(gateway_settings: MakeSettings, spelling: Any, name: str) -> None:
    """Presets and open budgets buy what is worth it; who states samples, certainty or abstention gets the vote."""
    assert plan_of(gateway_settings(), compute_budget=spelling).name == name


def test_operators_presets(gateway_settings: MakeSettings) -> None:
    """An operator's preset changes what it names and keeps the rest of ours."""
    settings = gateway_settings(presets={"low": BudgetObject(certainty=0.8), "max": BudgetObject(max_samples=50)})
    low = plan_of(settings, compute_budget="low").budget
    assert (low.max_samples, low.certainty) == (8, 0.8)
    assert plan_of(settings, compute_budget="max").budget.max_samples == 50
    assert plan_of(settings, compute_budget="medium").budget.max_samples == 16


@pytest.mark.parametrize(
    "value",
    ["", "off ", "OFF", "extreme", "8", 0, -1, 100_001, 10**18, 2.0, 1.5, True, False, [], ["low"], [8]],
    ids=repr,
)
def test_spellings_that_mean_nothing(gateway_settings: MakeSettings, value: Any) -> None:
    """Anything but a preset, a number of samples or an object is refused by the field's name."""
    error = refusal_of(gateway_settings(), compute_budget=value)
    assert (error.status, error.param) == (400, "compute_budget")
    assert "auto" in error.message
    assert "1 to 100000" in error.message


@pytest.mark.parametrize(("key", "ceiling"), [("max_samples", 100_000), ("max_tokens", 10**9), ("max_seconds", 86_400)])
def test_ceilings_are_told(gateway_settings: MakeSettings, key: str, ceiling: int) -> None:
    """Who asks for too much reads how much there is."""
    assert str(ceiling) in refusal_of(gateway_settings(), compute_budget={key: ceiling + 1}).message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_samples", 0),
        ("max_samples", -5),
        ("max_samples", 100_001),
        ("max_samples", 10**18),
        ("max_samples", 1e30),
        ("max_samples", 4.0),
        ("max_samples", True),
        ("max_samples", "8"),
        ("max_samples", [8]),
        ("min_samples", 0),
        ("min_samples", False),
        ("max_tokens", 0),
        ("max_tokens", 10**9 + 1),
        ("max_tokens", "1000"),
        ("max_seconds", 0),
        ("max_seconds", -0.5),
        ("max_seconds", 86_401),
        ("max_seconds", float("nan")),
        ("max_seconds", float("inf")),
        ("max_seconds", True),
        ("max_seconds", "3"),
        ("certainty", 0),
        ("certainty", 1.0001),
        ("certainty", -1),
        ("certainty", float("nan")),
        ("certainty", True),
        ("certainty", "high"),
        ("strategy", 3),
        ("strategy", "nope"),
        ("strategy", ""),
        ("strategy", {"name": "nope"}),
        ("strategy", {"width": 3}),
        ("strategy", []),
        ("selector", "best"),
        ("selector", ""),
        ("selector", "deepconf-tail"),
        ("selector", "deepconf-tail-2"),
        ("selector", "majority-or-abstain-0"),
        ("selector", 1),
        ("escalate", True),
        ("escalate", "bigger-model"),
        ("escalate", 1),
        ("priority", 1.5),
        ("priority", 10**7),
        ("priority", True),
        ("abstain", "yes"),
        ("abstain", 1),
        ("include", "samples"),
        ("include", ["everything"]),
        ("include", [1]),
        ("include", {}),
    ],
    ids=repr,
)
def test_wrong_values_name_their_key(gateway_settings: MakeSettings, key: str, value: Any) -> None:
    """Each wrong value inside the object is a 400 that names the key."""
    error = refusal_of(gateway_settings(), compute_budget={key: value})
    assert error.status == 400
    assert error.param is not None
    assert error.param == f"compute_budget.{key}" or error.param.startswith(f"compute_budget.{key}.")


@pytest.mark.parametrize("key", ["max_samplez", "MAX_SAMPLES", "", " max_samples", "temperature", "__class__", "名"])
def test_unknown_keys_are_refused_by_name(gateway_settings: MakeSettings, key: str) -> None:
    """A budget that would be ignored is refused: the key is in the message and in `param`."""
    error = refusal_of(gateway_settings(), compute_budget={"max_samples": 3, key: 3})
    assert (error.status, error.param) == (400, f"compute_budget.{key}")
    assert f"'{key}'" in error.message


def test_minimum_above_maximum(gateway_settings: MakeSettings) -> None:
    """A minimum that cannot be met is refused by its name, whatever the operator's limits."""
    for limits in (Limits(), Limits(max_samples=4)):
        error = refusal_of(gateway_settings(limits=limits), compute_budget={"max_samples": 8, "min_samples": 9})
        assert error.param == "compute_budget.min_samples"


@pytest.mark.parametrize("minimum", [32, 33, 40, 64])
def test_a_minimum_raises_the_presets_maximum(gateway_settings: MakeSettings, minimum: int) -> None:
    """Who asks for at least so many samples gets them, although the preset stops earlier; nothing was cut."""
    plan = plan_of(gateway_settings(), compute_budget={"min_samples": minimum})
    assert (plan.budget.min_samples, plan.budget.max_samples, plan.clamped) == (minimum, minimum, ())


def test_a_raised_maximum_is_still_limited(gateway_settings: MakeSettings) -> None:
    """The operator's limit cuts the raised maximum and the minimum with it, and both are named."""
    plan = plan_of(gateway_settings(limits=Limits(max_samples=18)), compute_budget={"min_samples": 20})
    assert (plan.budget.min_samples, plan.budget.max_samples) == (18, 18)
    assert plan.clamped == ("max_samples", "min_samples")


def test_an_operators_minimum_raises_our_maximum(gateway_settings: MakeSettings) -> None:
    """A preset's minimum above the maximum that it leaves to us is the operator's wish; a contradiction is no wish."""
    settings = gateway_settings(presets={"low": BudgetObject(min_samples=12)})
    budget = plan_of(settings, compute_budget="low").budget
    assert (budget.min_samples, budget.max_samples) == (12, 12)
    with pytest.raises(ValidationError, match="min_samples is above max_samples"):
        gateway_settings(default_budget={"min_samples": 6, "max_samples": 5})


@pytest.mark.parametrize(("fields", "reason"), [({"temperature": 0}, "temperature"), ({"n": 2}, "n")])
def test_a_minimum_of_a_single_sample(gateway_settings: MakeSettings, fields: Mapping[str, Any], reason: str) -> None:
    """Where only one sample makes sense a minimum is cut too, for the one reason that is named."""
    plan = plan_of(gateway_settings(), compute_budget={"min_samples": 20}, **fields)
    assert (plan.budget.min_samples, plan.budget.max_samples, plan.clamped) == (1, 1, (reason,))


# Header and metadata


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("off", "off"),
        (" high ", "high"),
        ("8", 8),
        (" 8 ", 8),
        ("samples=8", {"max_samples": 8}),
        ("samples=8;tokens=20000;seconds=30;certainty=0.9", {
            "max_samples": 8, "max_tokens": 20000, "max_seconds": 30.0, "certainty": 0.9,
        }),
        (" samples = 8 ; seconds = 2.5 ; ", {"max_samples": 8, "max_seconds": 2.5}),
    ],
)  # fmt: skip
def test_header_grammar(text: str, expected: Any) -> None:
    """The header is a preset, an integer, or keys with values between semicolons."""
    read = parse_text(text, "X-Compute-Budget")
    assert (read.model_dump(exclude_none=True) if isinstance(read, BudgetObject) else read) == expected


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("", ""),
        ("lots", ""),
        ("0", ""),
        ("-1", ""),
        ("--5", ""),
        ("-", ""),
        ("+5", ""),
        ("1.5", ""),
        ("9" * 30, ""),
        ("9" * 5000, ""),
        ("true", ""),
        (";", ""),
        ("=", "."),
        ("samples", ""),
        ("samples=", ".samples"),
        ("samples=eight", ".samples"),
        ("samples=8.0", ".samples"),
        ("samples=" + "9" * 5000, ".samples"),
        ("samples=1_0", ".samples"),
        ("samples=٣", ".samples"),
        ("seconds=1_0", ".seconds"),
        ("1_0", ""),
        ("samples=4;samples=5", ".samples"),
        ("samples=4;seconds=1;samples=4", ".samples"),
        ("samples=0", ".max_samples"),
        ("samples=-3", ".max_samples"),
        ("tokens=1e3", ".tokens"),
        ("seconds=nan", ".max_seconds"),
        ("seconds=inf", ".max_seconds"),
        ("seconds=-1", ".max_seconds"),
        ("certainty=2", ".certainty"),
        ("certainty=nan", ".certainty"),
        ("samples=4,tokens=7", ".samples"),
        ("max_samples=4", ".max_samples"),
        ("samples=4;abstain=true", ".abstain"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_header_mistakes(gateway_settings: MakeSettings, text: str, param: str) -> None:
    """Every mistake in the header is a 400 that names the header and the key."""
    error = refusal_of(gateway_settings(), {"x-compute-budget": text})
    assert (error.status, error.param) == (400, f"X-Compute-Budget{param}")


@given(st.text(max_size=40) | st.from_regex(r"[-+=;.\d a-z]{0,20}", fullmatch=True))
def test_no_header_text_breaks_the_parser(text: str) -> None:
    """Whatever the header holds, it is a budget or a 400."""
    try:
        read = parse_text(text, "X-Compute-Budget")
    except InvalidRequest as error:
        assert (error.param or "").startswith("X-Compute-Budget")
    else:
        assert isinstance(read, (str, int, BudgetObject))


@pytest.mark.parametrize(
    ("value", "samples"), [("low", 8), ("8", 8), (8, 8), ("samples=5", 5), ({"max_samples": 7}, 7)]
)
def test_metadata(gateway_settings: MakeSettings, value: Any, samples: int) -> None:
    """`metadata` takes the JSON spellings and, since its values are strings at OpenAI, the header's."""
    plan = plan_of(gateway_settings(), metadata={"compute_budget": value, "team": "a"})
    assert (plan.source, plan.budget.max_samples) == ("metadata", samples)


@pytest.mark.parametrize("value", ["nope", 0, True, [], {"samples": 3}, 1.5])
def test_metadata_mistakes(gateway_settings: MakeSettings, value: Any) -> None:
    """A wrong budget in the metadata is named as such."""
    error = refusal_of(gateway_settings(), metadata={"compute_budget": value})
    assert (error.param or "").startswith("metadata.compute_budget")


# Models and suffixes


def test_suffixes(gateway_settings: MakeSettings) -> None:
    """Each preset works as a suffix; an exact served name wins over one."""
    settings = gateway_settings(**models(model("m"), model("m:high"), model("org/m:v2")))
    for suffix, samples in SAMPLES.items():
        plan = plan_of(settings, model=f"org/m:v2:{suffix}")
        assert (plan.source, plan.budget.max_samples) == ("suffix", samples)
    served, plan = resolve(settings, parse({**ASK, "model": "m:high"}), {})
    assert (served.name, plan.source) == ("m:high", "server")
    assert plan_of(settings, model="m:high:low").budget.max_samples == 8


@pytest.mark.parametrize("name", ["nobody", "m:", ":low", "m:off", "m:LOW", "m:low:low", "m:huge", "M", " m"])
def test_unknown_models(gateway_settings: MakeSettings, name: str) -> None:
    """A name that is not served is OpenAI's 404, naming the field."""
    with pytest.raises(UnknownModel) as caught:
        plan_of(gateway_settings(), model=name)
    assert (caught.value.status, caught.value.param, caught.value.code) == (404, "model", "model_not_found")


# Effort


@pytest.mark.parametrize(
    ("effort", "off", "samples"),
    [("none", True, 1), ("minimal", True, 1), ("low", False, 8), ("medium", False, 16), ("high", False, 32),
     ("xhigh", False, 64), ("max", False, 64)],
)  # fmt: skip
@pytest.mark.parametrize("meaning", ["width", "both"])
def test_effort_as_width(gateway_settings: MakeSettings, meaning: str, effort: str, off: bool, samples: int) -> None:
    """Where the operator says so, `reasoning_effort` is a preset."""
    plan = plan_of(gateway_settings(**models(model(effort=meaning))), reasoning_effort=effort)
    assert (plan.source, plan.off, plan.budget.max_samples) == ("reasoning_effort", off, samples)


@pytest.mark.parametrize("meaning", ["depth", "ignore"])
def test_effort_without_width(gateway_settings: MakeSettings, meaning: str) -> None:
    """Otherwise it decides nothing about samples."""
    plan = plan_of(gateway_settings(**models(model(effort=meaning))), reasoning_effort="high")
    assert (plan.source, plan.off) == ("server", True)


def test_unknown_effort(gateway_settings: MakeSettings) -> None:
    """An effort nobody knows is refused."""
    assert refusal_of(gateway_settings(), reasoning_effort="heroic").param == "reasoning_effort"


# Precedence


SOURCES = ("header", "body", "metadata", "suffix", "reasoning_effort", "model", "server")


@pytest.mark.parametrize("winner", range(len(SOURCES)))
def test_precedence(gateway_settings: MakeSettings, winner: int) -> None:
    """Header > body > metadata > suffix > effort > the model's default > the server's: the first one said wins."""
    said = SOURCES[winner:]
    served = model(effort="width", default_budget=6 if "model" in said else None)
    settings = gateway_settings(default_budget=7, **models(served))
    fields: dict[str, Any] = {}
    if "body" in said:
        fields["compute_budget"] = 2
    if "metadata" in said:
        fields["metadata"] = {"compute_budget": 3}
    if "suffix" in said:
        fields["model"] = "m:low"
    if "reasoning_effort" in said:
        fields["reasoning_effort"] = "medium"
    plan = plan_of(settings, {"x-compute-budget": "5"} if "header" in said else None, **fields)
    expected = {"header": 5, "body": 2, "metadata": 3, "suffix": 8, "reasoning_effort": 16, "model": 6, "server": 7}
    assert (plan.source, plan.budget.max_samples) == (said[0], expected[said[0]])


def test_off_wins_like_any_other_spelling(gateway_settings: MakeSettings) -> None:
    """A client can switch compute off above every default."""
    settings = gateway_settings(default_budget="max")
    assert plan_of(settings, compute_budget="off").off
    assert plan_of(settings, {"x-compute-budget": "off"}, compute_budget=8).off


def test_a_losing_spelling_must_still_be_right(gateway_settings: MakeSettings) -> None:
    """A malformed body field is refused although the header wins: it is a mistake all the same."""
    assert refusal_of(gateway_settings(), {"x-compute-budget": "2"}, compute_budget="lots").param == "compute_budget"


# Limits


def test_clamping_is_named(gateway_settings: MakeSettings) -> None:
    """What is over the operator's limits is cut, and named."""
    settings = gateway_settings(limits=Limits(max_samples=10, max_tokens=1000, max_seconds=5))
    plan = plan_of(settings, compute_budget={"max_samples": 11, "max_tokens": 1001, "max_seconds": 5.1})
    assert (plan.budget.max_samples, plan.budget.max_tokens, plan.budget.max_seconds) == (10, 1000, 5.0)
    assert set(plan.clamped) == {"max_samples", "max_tokens", "max_seconds"}
    assert plan_of(settings, compute_budget={"max_samples": 10, "max_tokens": 1000, "max_seconds": 5}).clamped == ()
    assert plan_of(settings, compute_budget=99).clamped == ("max_samples",)
    assert plan_of(settings, {"x-compute-budget": "samples=2;seconds=99"}).clamped == ("max_seconds",)
    assert plan_of(settings, model="m:max").clamped == ("max_samples",)


def test_a_clamped_minimum_is_named(gateway_settings: MakeSettings) -> None:
    """A minimum over the operator's limit on samples is cut with it, and named too."""
    settings = gateway_settings(limits=Limits(max_samples=10))
    plan = plan_of(settings, compute_budget={"max_samples": 20, "min_samples": 15})
    assert (plan.budget.max_samples, plan.budget.min_samples) == (10, 10)
    assert set(plan.clamped) == {"max_samples", "min_samples"}


def test_limits_apply_unsaid(gateway_settings: MakeSettings) -> None:
    """The operator's limits hold for requests that name none; nothing was cut, so nothing is named."""
    settings = gateway_settings(limits=Limits(max_tokens=1000, max_seconds=5))
    plan = plan_of(settings, compute_budget=4)
    assert (plan.budget.max_tokens, plan.budget.max_seconds, plan.clamped) == (1000, 5.0, ())


@pytest.mark.parametrize("zero", [0, 0.0])
def test_temperature_zero_is_one_sample(gateway_settings: MakeSettings, zero: float) -> None:
    """Greedy samples are identical: one is made, and `clamped` says why."""
    plan = plan_of(gateway_settings(), compute_budget="high", temperature=zero)
    assert (plan.name, plan.budget.max_samples, plan.clamped) == ("direct", 1, ("temperature",))
    insisting = gateway_settings(sample_at_zero_temperature=True)
    assert plan_of(insisting, compute_budget="high", temperature=zero).budget.max_samples == 32


def test_own_n_is_one_request(gateway_settings: MakeSettings) -> None:
    """The client's own fan-out is passed through; n of 1 is none."""
    plan = plan_of(gateway_settings(), compute_budget="high", n=3)
    assert (plan.name, plan.budget.max_samples, plan.clamped) == ("direct", 1, ("n",))
    assert plan_of(gateway_settings(), compute_budget="high", n=1).budget.max_samples == 32
    assert plan_of(gateway_settings(), compute_budget="off", n=3).clamped == ()


@pytest.mark.parametrize(
    ("budget", "fields", "clamped"),
    [
        ({"max_samples": 1}, {}, ("abstain",)),
        ({"strategy": "direct"}, {}, ("abstain",)),
        ({}, {"temperature": 0}, ("temperature", "abstain")),
        ({}, {"n": 2}, ("n", "abstain")),
        ({"max_samples": 2}, {}, ()),
    ],
)
def test_one_sample_cannot_abstain(
    gateway_settings: MakeSettings, budget: Mapping[str, Any], fields: Mapping[str, Any], clamped: tuple[str, ...]
) -> None:
    """A single sample has no certainty: that `abstain` is not honoured is said."""
    plan = plan_of(gateway_settings(), compute_budget={"abstain": True, **budget}, **fields)
    assert (plan.budget.abstain, plan.clamped) == (not clamped, clamped)
    assert "abstain" not in plan_of(gateway_settings(), compute_budget={"abstain": False, **budget}, **fields).clamped


def test_one_sample_clamps_nothing(gateway_settings: MakeSettings) -> None:
    """A budget of one is not cut by temperature 0."""
    assert plan_of(gateway_settings(), compute_budget=1, temperature=0).clamped == ()


# Strategy options


def test_options_come_from_the_signature(gateway_settings: MakeSettings) -> None:
    """The strategy's keyword parameters are its options."""
    chosen = {"name": "self_consistency", "width": 3, "spare": 0, "incomparable_after": 5}
    plan = plan_of(gateway_settings(), compute_budget={"strategy": chosen})
    assert plan.options == {"width": 3, "spare": 0, "incomparable_after": 5}
    assert plan_of(gateway_settings(), compute_budget={"strategy": "self_consistency"}).options == {}
    assert plan_of(gateway_settings(), compute_budget={"strategy": "direct", "max_samples": 9}).name == "direct"


@pytest.mark.parametrize(
    ("strategy", "option", "value"),
    [
        ("self_consistency", "width", "3"),
        ("self_consistency", "width", -1),
        ("self_consistency", "width", 10**9),
        ("self_consistency", "width", 2.0),
        ("self_consistency", "width", True),
        ("self_consistency", "width", None),
        ("self_consistency", "depth", 1),
        ("self_consistency", "ctx", 1),
        ("direct", "width", 3),
    ],
)
def test_wrong_options_are_named(gateway_settings: MakeSettings, strategy: str, option: str, value: Any) -> None:
    """An option that is not in the signature, or of the wrong type, is refused by name."""
    error = refusal_of(gateway_settings(), compute_budget={"strategy": {"name": strategy, option: value}})
    assert (error.status, error.param) == (400, f"compute_budget.strategy.{option}")


def test_wrong_options_are_refused_even_for_one_sample(gateway_settings: MakeSettings) -> None:
    """A mistake does not hide behind temperature 0."""
    chosen = {"name": "self_consistency", "widht": 3}
    assert refusal_of(gateway_settings(), compute_budget={"strategy": chosen}, temperature=0).status == 400


# Settings


@pytest.mark.parametrize("default", ["lots", 0, True, {"max_samplez": 3}])
def test_settings_refuse_wrong_defaults(gateway_settings: MakeSettings, default: Any) -> None:
    """The operator's own budgets are checked when the gateway starts."""
    with pytest.raises(ValidationError):
        gateway_settings(default_budget=default)


def test_an_operators_default_object(gateway_settings: MakeSettings) -> None:
    """A default may be any spelling."""
    plan = plan_of(gateway_settings(default_budget={"max_samples": 3, "certainty": 0.6}))
    assert (plan.source, plan.budget.max_samples, plan.budget.certainty) == ("server", 3, 0.6)
