"""What a line of a trace and its samples may hold, and what is told of one that holds anything else.

Traces come from other hands too: few fields are needed, but those that are there are of their kind, so that figures can
be drawn from every line that loads. Numbers are at most 2**53, up to which a float tells whole ones apart.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

_MOST = 2**53
_Kind = tuple[str, Callable[[Any], bool]]
"""What a value is not, where it does not pass."""


def _is_number(found: Any) -> bool:
    # True is an int, and nan is in no order with anything.
    return isinstance(found, int | float) and not isinstance(found, bool) and -_MOST <= found <= _MOST


def _is_count(found: Any) -> bool:
    return isinstance(found, int) and _is_number(found) and found >= 0


def _is_text(found: Any) -> bool:
    return isinstance(found, str)


def _or_null(kind: _Kind) -> _Kind:
    name, passes = kind
    return f"{name} or null", lambda found: found is None or passes(found)


_TEXT: _Kind = ("a text", _is_text)
_NUMBER: _Kind = ("a number", _is_number)
_COUNT: _Kind = ("a whole number from 0", _is_count)
_FLAG: _Kind = ("true or false", lambda found: isinstance(found, bool))
_LIST: _Kind = ("a list", lambda found: isinstance(found, list))
_OBJECT: _Kind = ("an object", lambda found: isinstance(found, dict))
_BIN: _Kind = ("a text or a whole number", lambda found: _is_text(found) or _is_count(found))
_TEMPERATURE: _Kind = ("a number from 0", lambda found: _is_number(found) and found >= 0)
_LINE: Mapping[str, _Kind] = MappingProxyType(
    {"id": _TEXT, "task": _TEXT, "samples": _LIST, "gold": _TEXT, "question": _TEXT, "bin": _BIN, "model": _TEXT,
     "t": _TEMPERATURE, "max_tokens": _COUNT, "weights": _TEXT, "greedy": _OBJECT}
)  # fmt: skip
_SAMPLE: Mapping[str, _Kind] = MappingProxyType(
    {"answer": _or_null(_TEXT), "correct": _FLAG, "tokens": _COUNT, "thought": _COUNT, "stated": _or_null(_COUNT),
     "steps": _NUMBER, "confidence": _or_null(_OBJECT), "probes": _LIST, "text": _TEXT, "sound": _COUNT,
     "judge": _or_null(_NUMBER)}
)  # fmt: skip
_PROBE: Sequence[_Kind] = (_COUNT, _or_null(_TEXT), _NUMBER)
_OF_LINES = ("id", "task", "samples")
_OF_SAMPLES = ("answer", "correct", "tokens")


def parsed(raw: bytes, place: str, needs: Collection[str] = ()) -> dict[str, Any]:
    """A line of a trace, which has what it `needs` beside id, task and samples.

    ValueError for any other line: the `place` that it has (file and number), the field, and what is wrong with it.
    """
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is no JSON ({error})") from error
    fault = next(_faults(line, needs), None)
    if fault is not None:
        raise ValueError(f"{place}{fault}")
    found: dict[str, Any] = line
    return found


def _faults(line: Any, needs: Collection[str]) -> Iterator[str]:
    """Everything that is wrong, to be asked for one by one: what comes later relies on what came before."""
    yield from (f" {fault}" for fault in _amiss(line, _LINE, (*_OF_LINES, *needs)))
    samples = [*line["samples"], *([line["greedy"]] if "greedy" in line else [])]
    for sample in samples:
        yield from (f": a sample {fault}" for fault in _amiss(sample, _SAMPLE, _OF_SAMPLES))
        yield from (f": a sample {fault}" for fault in _inner(sample))
    if any("probes" in sample for sample in samples) and "gold" not in line:
        yield " has no 'gold', with which the answers of its 'probes' are compared"
    flags: dict[str, bool] = {}
    for sample in samples:
        answer, correct = sample["answer"], sample["correct"]
        if correct != (correct if answer is None else flags.setdefault(answer, correct)):
            yield f" has the answer {answer!r} once as 'correct' and once not"


def _amiss(found: Any, kinds: Mapping[str, _Kind], needs: Collection[str]) -> Iterator[str]:
    if not isinstance(found, dict):
        yield "is no object"
    yield from (f"has no {name!r}" for name in needs if name not in found)
    for name, (kind, passes) in kinds.items():
        if name in found and not passes(found[name]):
            yield f"has a {name!r} that is not {kind}"


def _inner(sample: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong within fields, or between them."""
    if sample["answer"] is None and sample["correct"]:
        yield "is 'correct' and has no 'answer'"
    if sample.get("stated") is not None and "thought" not in sample:
        yield "has a 'stated' and no 'thought', of which it is a part"
    for name, value in (sample.get("confidence") or {}).items():
        if not _is_number(value):
            yield f"has a 'confidence' whose {name!r} is not a number"
    course = sample.get("probes", [])
    if not all(map(_is_probe, course)):
        yield "has 'probes' that are not [tokens, answer or null, confidence] each"
    places = [tokens for tokens, *_ in course]
    if places and places != sorted([0, *places[1:]]):
        yield "has 'probes' that do not rise from 0 tokens"


def _is_probe(found: Any) -> bool:
    if not isinstance(found, list) or len(found) != len(_PROBE):
        return False
    return all(passes(value) for value, (_, passes) in zip(found, _PROBE, strict=True))
