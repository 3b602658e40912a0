"""Rules by name, as requests, presets and the replay spell them.

adaptive-consistency-0.95          one rule, its numbers after its name, in the order of its factory's parameters
certaindex-0.7@5                   the number after @ is how often it is checked, in votes
at-least-3&esc-5|curtailment       composed: & binds closer than |

A number left out has its default, where there is one. docs/strategies.md has the table.
"""

import re
from collections.abc import Callable, Mapping
from functools import reduce
from inspect import Parameter, signature
from operator import and_, or_
from typing import get_args

from core.errors import InvalidRequest
from core.stopping.anytime import anytime
from core.stopping.bayes import three_count
from core.stopping.certaindex import certaindex, certaindex_once, reward_max, reward_mean
from core.stopping.confidence import cges, confident, confident_share, deepconf
from core.stopping.consistency import (
    adaptive_consistency,
    crp_consistency,
    dirichlet_consistency,
    entropy_consistency,
    majority_consistency,
)
from core.stopping.guards import at_least, backed, curtailment, fixed
from core.stopping.momentum import momentum
from core.stopping.parameters import Bounds
from core.stopping.predictive import predictive
from core.stopping.racing import first_finish, short
from core.stopping.rule import Rule
from core.stopping.sequential import mixture_sprt, sprt
from core.stopping.value import value
from core.stopping.windows import esc

RULES: Mapping[str, Callable[..., Rule]] = {
    "fixed": fixed,
    "curtailment": curtailment,
    "at-least": at_least,
    "backed": backed,
    "adaptive-consistency": adaptive_consistency,
    "adaptive-consistency-dirichlet": dirichlet_consistency,
    "adaptive-consistency-crp": crp_consistency,
    "adaptive-consistency-entropy": entropy_consistency,
    "adaptive-consistency-majority": majority_consistency,
    "certaindex": certaindex,
    "certaindex-once": certaindex_once,
    "reward-mean": reward_mean,
    "reward-max": reward_max,
    "esc": esc,
    "confident": confident,
    "confident-share": confident_share,
    "deepconf": deepconf,
    "cges": cges,
    "sprt": sprt,
    "mixture-sprt": mixture_sprt,
    "anytime": anytime,
    "three-count": three_count,
    "short": short,
    "first-finish": first_finish,
    "predictive": predictive,
    "value": value,
    "momentum": momentum,
}
"""Name to factory: the one line to add. Its positional parameters follow the name; `every` follows an @."""

SPELLING = re.compile(
    r"(?P<name>[a-z]+(?:-[a-z]+)*)(?P<numbers>(?:-(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+))*)(?:@(?P<every>[0-9]+))?"
)
LONGEST = 256
"""Characters of a spelling."""
MOST_PARTS = 8
"""Rules that may be composed."""
ANY_NUMBER = Bounds(0, 1e9)
"""For a parameter that states no bounds of its own."""


def rule_named(spelling: str) -> Rule:
    """The rule that is spelled like this. Raises `InvalidRequest` that says what is wrong with it."""
    if len(spelling) > LONGEST:
        raise InvalidRequest(f"A rule is spelled in at most {LONGEST} characters.", param="rule")
    if spelling.count("|") + spelling.count("&") >= MOST_PARTS:
        raise InvalidRequest(f"At most {MOST_PARTS} rules can be composed.", param="rule")
    return reduce(or_, [_all_of(part) for part in spelling.split("|")])


def _all_of(spelling: str) -> Rule:
    return reduce(and_, [_single(part.strip()) for part in spelling.split("&")])


def _single(spelling: str) -> Rule:
    match = SPELLING.fullmatch(spelling)
    if match is None or match["name"] not in RULES:
        raise InvalidRequest(f"Unknown rule '{spelling[:64]}'. Known: {', '.join(RULES)}.", param="rule")
    factory = RULES[match["name"]]
    parameters = signature(factory).parameters
    positional = [p for p in parameters.values() if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    numbers = _numbers(spelling, match["numbers"], positional)
    if match["every"] is None:
        return factory(*numbers)
    if "every" not in parameters:
        raise InvalidRequest(f"Rule '{match['name']}' takes no '@'.", param="rule")
    return factory(*numbers, every=_number(spelling, match["every"], parameters["every"]))


def _numbers(spelling: str, text: str, parameters: list[Parameter]) -> list[float]:
    """The numbers after the name, checked against the factory's parameters."""
    texts = text.split("-")[1:]
    if len(texts) > len(parameters):
        raise InvalidRequest(f"Rule '{spelling[:64]}' takes {len(parameters)} numbers after its name.", param="rule")
    missing = [p.name for p in parameters[len(texts) :] if p.default is Parameter.empty]
    if missing:
        raise InvalidRequest(f"Rule '{spelling[:64]}' needs a number: {', '.join(missing)}.", param="rule")
    return [_number(spelling, text, parameter) for text, parameter in zip(texts, parameters, strict=False)]


def _number(spelling: str, text: str, parameter: Parameter) -> float:
    """One number, whole where its parameter is a count, inside the bounds that the parameter's annotation states."""
    kind, *notes = get_args(parameter.annotation) or (parameter.annotation,)
    bounds = next((note for note in notes if isinstance(note, Bounds)), ANY_NUMBER)
    whole = kind is int
    number = int(text) if whole and text.isdigit() else float(text)
    if number not in bounds or (whole and not text.isdigit()):
        wanted = f"a {'whole ' if whole else ''}number {bounds}"
        raise InvalidRequest(f"Rule '{spelling[:64]}': {parameter.name} must be {wanted}.", param="rule")
    return number
