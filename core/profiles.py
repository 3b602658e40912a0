"""Profiles as versioned JSON documents: what `quorate calibrate` writes, the gateway reads (docs/calibration.md)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, TypeVar

from core.calibration import SIGNALS, Abstention, Bound, Profile, Target

T = TypeVar("T")
FORMAT = 1
"""Number of the format: rises when a reader of the old one would misread the new one."""
FIELDS = (
    "format",
    *("name", "model", "task", "target", "reference", "cap", "width"),
    *("intercept", "weights", "knots", "fitted", "bounds", "abstentions", "account"),
)
MOST = 1e6
"""Numbers are this large at most: a weight beyond it is a mistake."""
WIDEST = 4096
"""Samples at most, of a reference, a cap or a width: a certainty takes time in proportion to its reference."""
COUNTED = 10**9
"""Questions at most."""
LONGEST = 64
"""Entries of a list at most."""


class ProfileError(ValueError):
    """A document that is no profile; the message begins with the field that is wrong."""


def encode(profile: Profile, account: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The profile as a JSON object. `account` is for people: what it was made from, when, and how reliable it is."""
    return {
        "format": FORMAT,
        "name": profile.name,
        "model": profile.model,
        "task": profile.task,
        "target": profile.target.value,
        "reference": profile.reference,
        "cap": profile.cap,
        "width": profile.width,
        "intercept": profile.intercept,
        "weights": dict(profile.weights),
        "knots": [list(knot) for knot in profile.knots],
        "fitted": dict(profile.fitted),
        "bounds": [asdict(bound) for bound in profile.bounds],
        "abstentions": [asdict(each) for each in profile.abstentions],
        "account": dict(account or {}),
    }


def decode(document: Any) -> Profile:
    """The profile that a JSON object holds. Raises `ProfileError`."""
    known = _object(document, "profile")
    if known.get("format") != FORMAT:
        raise ProfileError(f"format: {known.get('format')!r} is not {FORMAT}, the only one that this version reads")
    strange = sorted(known.keys() - set(FIELDS))
    if strange:
        raise ProfileError(f"{strange[0]}: no such field")
    _object(known.get("account", {}), "account")
    return Profile(
        name=_text(known, "name"),
        target=_target(known.get("target")),
        reference=_whole(known, "reference", WIDEST),
        intercept=_number(known.get("intercept", 0.0), "intercept", -MOST),
        weights=_signals(_object(known.get("weights", {}), "weights"), "weights"),
        knots=_knots(_list(known, "knots")),
        fitted=_signals(_object(known.get("fitted", {}), "fitted"), "fitted"),
        bounds=_certified(known, "bounds", lambda each: Bound(**each), "settled"),
        abstentions=_certified(known, "abstentions", lambda each: Abstention(**each), "least"),
        cap=_whole(known, "cap", WIDEST),
        width=_whole(known, "width", WIDEST),
        model=_text(known, "model"),
        task=_text(known, "task"),
    )


def _target(value: Any) -> Target:
    try:
        return Target(value)
    except ValueError:
        raise ProfileError(f"target: must be one of {', '.join(Target)}, not {value!r}") from None


def _signals(found: Mapping[str, Any], field: str) -> tuple[tuple[str, float], ...]:
    for name in found:
        if name not in SIGNALS:
            raise ProfileError(f"{field}.{name}: no such signal; known: {', '.join(SIGNALS)}")
    return tuple((name, _number(value, f"{field}.{name}", -MOST)) for name, value in found.items())


def _knots(found: Sequence[Any]) -> tuple[tuple[float, float], ...]:
    knots = []
    for place, knot in enumerate(found):
        knots.append(_pair(knot, f"knots[{place}]"))
    for place, (before, after) in enumerate(pairwise(knots), 1):
        if after[0] <= before[0] or after[1] < before[1]:
            raise ProfileError(f"knots[{place}]: scores must rise, and certainties must not fall")
    return tuple(knots)


def _pair(found: Any, field: str) -> tuple[float, float]:
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != len(("score", "certainty")):
        raise ProfileError(f"{field}: must be a pair of numbers")
    first, second = (_number(value, field, 0.0, 1.0) for value in found)
    return first, second


def _certified(known: Mapping[str, Any], field: str, make: Callable[[dict[str, Any]], T], level: str) -> tuple[T, ...]:
    """Bounds or abstentions: objects of a stated certainty, a level, delta and the number of questions."""
    found = []
    for place, item in enumerate(_list(known, field)):
        name = f"{field}[{place}]"
        each = _object(item, name)
        numbers = {key: _number(each.get(key), f"{name}.{key}", 0.0, 1.0) for key in ("certainty", level, "delta")}
        found.append(make({**numbers, "questions": _whole(each, "questions", COUNTED, f"{name}.questions")}))
        strange = sorted(each.keys() - {*numbers, "questions"})
        if strange:
            raise ProfileError(f"{name}.{strange[0]}: no such field")
    return tuple(found)


def _object(value: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ProfileError(f"{field}: must be an object")
    return value


def _list(known: Mapping[str, Any], field: str) -> Sequence[Any]:
    value = known.get(field, ())
    if not isinstance(value, list | tuple):
        raise ProfileError(f"{field}: must be a list")
    if len(value) > LONGEST:
        raise ProfileError(f"{field}: must have at most {LONGEST} entries")
    return value


def _text(known: Mapping[str, Any], field: str) -> str:
    value = known.get(field, "")
    if not isinstance(value, str):
        raise ProfileError(f"{field}: must be a string")
    return value


def _whole(known: Mapping[str, Any], key: str, most: int, field: str = "") -> int:
    value = known.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ProfileError(f"{field or key}: must be a whole number from 0 to {most}")
    return value


def _number(value: Any, field: str, low: float, high: float = MOST) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ProfileError(f"{field}: must be a number from {low:g} to {high:g}")
    return float(value)
