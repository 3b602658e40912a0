"""Rules by name, as requests, presets and the replay spell them.

adaptive-consistency-0.95          one rule, its numbers after its name
certaindex-0.7@5                   the number after @ is how often it is checked
at-least-3&esc-5|curtailment       composed: & binds closer than |
"""

import re
from collections.abc import Callable, Mapping
from inspect import Parameter, signature

from core.errors import InvalidRequest
from core.stopping.consistency import adaptive_consistency
from core.stopping.guards import at_least, curtailment, fixed
from core.stopping.rule import Rule

RULES: Mapping[str, Callable[..., Rule]] = {
    "fixed": fixed,
    "curtailment": curtailment,
    "at-least": at_least,
    "adaptive-consistency": adaptive_consistency,
}
"""Name to factory: the one line to add. Its positional parameters follow the name; `every` follows an @."""

SPELLING = re.compile(r"(?P<name>[a-z]+(?:-[a-z]+)*)(?P<numbers>(?:-[0-9]*\.?[0-9]+)*)(?:@(?P<every>[0-9]+))?")


def rule_named(spelling: str) -> Rule:
    """The rule that is spelled like this. Raises `InvalidRequest` that says what is wrong with it."""
    any_of = [_all_of(part) for part in spelling.split("|")]
    rule = any_of[0]
    for other in any_of[1:]:
        rule |= other
    return rule


def _all_of(spelling: str) -> Rule:
    rules = [_single(part.strip()) for part in spelling.split("&")]
    rule = rules[0]
    for other in rules[1:]:
        rule &= other
    return rule


def _single(spelling: str) -> Rule:
    match = SPELLING.fullmatch(spelling)
    if match is None or match["name"] not in RULES:
        raise InvalidRequest(f"Unknown rule '{spelling[:64]}'. Known: {', '.join(RULES)}.", param="rule")
    factory = RULES[match["name"]]
    parameters = signature(factory).parameters
    numbers = match["numbers"].split("-")[1:]
    if len(numbers) > sum(p.kind is Parameter.POSITIONAL_OR_KEYWORD for p in parameters.values()):
        raise InvalidRequest(f"Rule '{match['name']}' takes fewer numbers than '{spelling[:64]}'.", param="rule")
    keywords = {"every": int(match["every"])} if match["every"] else {}
    if keywords and "every" not in parameters:
        raise InvalidRequest(f"Rule '{match['name']}' takes no '@'.", param="rule")
    try:
        return factory(*map(_number, numbers), **keywords)
    except TypeError:
        raise InvalidRequest(f"Rule '{match['name']}' needs a number: '{spelling[:64]}'.", param="rule") from None


def _number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)
