"""How selectors are spelled, what they say that they need, and which spellings mean nothing."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequest
from strategies.selectors import SELECTORS, selector_named

NEEDY = ("deepconf", "perplexity", "rpc", "best-of-mean", "best-of-bottom", "best-of-lowest", "best-of-tail")


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selector_has_a_name_that_spells_it(name):
    """The name of what a spelling gives is that spelling, with its number where it takes one."""
    spelling = f"{name}-0.25" if name.startswith(("deepconf", "complexity")) else name
    selector = selector_named(spelling)
    assert selector.name == spelling
    assert selector_named(f"{spelling}-or-abstain-0.5").name == f"{spelling}-or-abstain-0.5"
    assert selector.confidence == name.startswith((*NEEDY, "best-of-logprob"))
    assert selector.text == (name in {"features", "complexity"})


def test_an_abstaining_selector_needs_what_its_inner_one_needs():
    """The flags pass through."""
    selector = selector_named("deepconf-tail-.1-or-abstain-0.5")
    assert (selector.confidence, selector.text) == (True, False)
    assert selector_named("features-or-abstain-1").text


@pytest.mark.parametrize(
    ("spelling", "told"),
    [
        ("", "Unknown selector"),
        ("best", "Unknown selector"),
        ("Majority", "Unknown selector"),
        ("majority ", "Unknown selector"),
        ("majority-or-abstain", "Unknown selector"),
        ("majority-or-abstain-0.5-or-abstain-0.5", "Unknown selector"),
        ("majority-" + "1-" * 40, "Unknown selector"),
        ("majority-3", "takes no number"),
        ("deepconf-tail", "takes 1 number"),
        ("deepconf-tail-0.1-0.2", "takes 1 number"),
        ("deepconf-tail-0", "above 0 and at most 1"),
        ("deepconf-tail-1.5", "above 0 and at most 1"),
        ("complexity-2", "above 0 and at most 1"),
        ("majority-or-abstain-0", "above 0 and at most 1"),
        ("rpc-or-abstain-9", "above 0 and at most 1"),
    ],
)
def test_spellings_that_mean_nothing(spelling, told):
    """Refused by the key of the budget, with what is wrong."""
    with pytest.raises(InvalidRequest, match=told) as caught:
        selector_named(spelling)
    assert caught.value.param == "compute_budget.selector"
    assert len(caught.value.message) < 600


@given(st.text(max_size=80) | st.from_regex(r"[a-z]{1,4}(-[0-9.]{1,3}){0,20}(-or-abstain-[0-9.]*)?", fullmatch=True))
def test_no_text_breaks_the_parser(spelling):
    """Whatever is asked for, it is a selector or a 400."""
    try:
        assert callable(selector_named(spelling))
    except InvalidRequest as error:
        assert error.param == "compute_budget.selector"


def test_the_documentation_lists_every_selector():
    """The table of docs/strategies.md names exactly those that can be asked for; capitals stand for a number."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "strategies.md").read_text(encoding="utf-8")
    table = page.split("| selector |")[1].split("\n\n")[0].splitlines()[2:]
    named = [name for row in table for name in re.findall(r"`([a-z-]+?)(?:-[A-Z]+)?`", row.split("|")[1])]
    assert sorted(named) == sorted(SELECTORS)
