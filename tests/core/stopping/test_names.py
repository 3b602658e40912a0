"""Rules by name: what a client may spell, and what it is told when it may not."""

from inspect import Parameter, signature
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequest
from core.evidence import Evidence
from core.stopping.certaindex import certaindex
from core.stopping.names import RULES, rule_named
from core.stopping.rule import Rule

DOCS = Path(__file__).parents[3] / "docs" / "strategies.md"


def shortest(name: str) -> str:
    """The name, with a number for each parameter that has no default."""
    parameters = [p for p in signature(RULES[name]).parameters.values() if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    return name + "-1" * sum(p.default is Parameter.empty for p in parameters)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_spells_itself(name):
    """The name of a rule reads back as the same rule, and starts with what it was asked by."""
    rule = rule_named(shortest(name))
    assert rule.name.startswith(name)
    assert rule_named(rule.name).name == rule.name


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_documented(name):
    """docs/strategies.md has a row for it."""
    assert f"| `{name}" in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RULES)
def test_no_rule_stops_before_anything_has_finished(name):
    """No votes, no samples, no reason."""
    assert rule_named(shortest(name))(Evidence((), 16)) is None


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("adaptive-consistency", "adaptive-consistency-0.95"),
        ("adaptive-consistency-.9", "adaptive-consistency-0.9"),
        ("adaptive-consistency-1", "adaptive-consistency-1"),
        ("certaindex-0.7@5", "certaindex-0.7@5"),
        ("certaindex-0.7", "certaindex-0.7@5"),
        ("certaindex-0.7@1", "certaindex-0.7@1"),
        ("certaindex-once-0.4@3", "certaindex-once-0.4@3"),
        ("reward-max-0.99@16", "reward-max-0.99@16"),
        ("esc-1024", "esc-1024"),
        ("value-0.000001", "value-0.000001"),
        ("deepconf-0.9-8", "deepconf-0.9-8"),
        ("sprt-0.9-0.1-0.2", "sprt-0.9-0.1-0.2"),
        ("momentum-0", "momentum-0"),
        (" at-least-3 & esc-5 | curtailment ", "((at-least-3 & esc-5) | curtailment)"),
        ("fixed|fixed&curtailment", "(fixed | (fixed & curtailment))"),
    ],
)
def test_spellings(spelling, name):
    """Numbers follow the name, the step follows an @, & binds closer than |."""
    assert rule_named(spelling).name == name


@pytest.mark.parametrize(
    "spelling",
    [
        *(
            "",
            "|",
            "fixed|",
            "&fixed",
            "nobody",
            "Fixed",
            "fixed-",
            "fixed--1",
            "esc-5@",
            "esc 5",
            "(fixed)",
        ),
        *("fixed-1", "esc-5-5", "esc-5@2", "at-least", "certaindex", "certaindex@5"),
        *(
            "esc-0",
            "esc-1025",
            "esc-5.0",
            "esc-5.5",
            "esc-nan",
            "esc-inf",
            "esc--5",
            "esc-1e3",
            "esc-\u0665",
            "esc-\u00b2",
        ),
        *("certaindex-0", "certaindex-1.01", "certaindex-0.7@0", "certaindex-0.7@1025", "certaindex-0.7@2.5"),
        *("adaptive-consistency-0", "adaptive-consistency-2", "adaptive-consistency-1e400", "value-0", "value-2"),
        *("sprt-0.5", "sprt-1", "sprt-0.9-0.5-0.5", "sprt-0.9-0-0.5", "mixture-sprt-0.5", "anytime-0", "anytime-1"),
        *("momentum-1.5", "short-0", "deepconf-0.9-0", "at-least-2000", "esc-" + "9" * 200, "cges-0." + "0" * 200),
        *("fixed|" * 8 + "fixed", "fixed" + " " * 300),
    ],
)
def test_what_cannot_be_read_is_an_invalid_request(spelling):
    """The parameter is named and the message is short enough for an error."""
    with pytest.raises(InvalidRequest) as error:
        rule_named(spelling)
    assert error.value.param == "rule"
    assert len(str(error.value)) < 700


@pytest.mark.parametrize(
    ("spelling", "told"),
    [
        ("esc-0", "window must be a whole number from 1 to 1024"),
        ("certaindex-1.5", "threshold must be a number above 0 to 1"),
        ("certaindex-0.7@0", "every must be a whole number from 1 to 1024"),
        ("certaindex", "needs a number: threshold"),
        ("fixed-1", "takes 0 numbers"),
        ("fixed@2", "takes no '@'"),
        ("x" * 300, "at most 256 characters"),
        ("nobody", "Known: fixed, curtailment"),
    ],
)
def test_the_message_says_what_would_do(spelling, told):
    """The number is named with its bounds."""
    with pytest.raises(InvalidRequest, match=told.replace("'", ".")):
        rule_named(spelling)


@given(st.floats(1e-9, 1), st.integers(1, 1024))
def test_numbers_read_back_as_they_are(threshold, every):
    """No digit is lost on the way through the stop record."""
    rule = certaindex(threshold, every=every)
    _, number = rule.name.split("@")[0].split("-")
    assert float(number) == threshold
    assert rule_named(rule.name).name == rule.name


PIECES = st.sampled_from([*RULES, "-", "-0.5", "-5", "@", "@5", "&", "|", ".", "0", "9" * 40, " ", "é", "\x00", "e9"])


@given(st.lists(PIECES, max_size=20).map("".join) | st.text(max_size=400))
def test_the_parser_is_total(spelling):
    """Any text is a rule or an invalid request, nothing else."""
    try:
        assert isinstance(rule_named(spelling), Rule)
    except InvalidRequest as error:
        assert error.param == "rule"
