"""Tables of TOML as frozen dataclasses; what is wrong with one is said in a sentence that names the field."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
WORDS: Mapping[type, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
BITS = 63
"""Whole numbers have at most so many bits."""
LEAST = 1e-6
"""What is above 0 is at least this: the products of a few such numbers are above 0, too."""


class ScenarioError(ValueError):
    """A scenario that cannot be simulated; the message begins with the field."""


def read(kind: type[T], table: Mapping[str, Any], path: str = "") -> T:
    """A dataclass from a table whose keys are its fields; `path` is where the table stands, as in `engine.`.

    What its `__post_init__` raises (ValueError, beginning with the name of a field) is told with that path. Raises
    `ScenarioError`.
    """
    if not isinstance(table, Mapping):
        raise ScenarioError(f"{path.removesuffix('.')} must be a table.")
    hints, known = get_type_hints(kind), {each.name: each for each in fields(cast("Any", kind))}
    for key in table:
        if key not in known:
            raise ScenarioError(f"{path}{key} is not known; there is {', '.join(known)}.")
    missing = [name for name, each in known.items() if name not in table and _required(each)]
    if missing:
        raise ScenarioError(f"{path}{missing[0]} is missing.")
    values = {key: convert(hints[key], value, path + key) for key, value in table.items()}
    try:
        return kind(**values)
    except ScenarioError:
        raise
    except ValueError as error:
        raise ScenarioError(f"{path}{error}") from None


def _required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def convert(hint: Any, value: Any, path: str) -> Any:
    """A value of TOML as what the annotation says; what it is annotated with beyond its type must contain it.

    Raises `ScenarioError`.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        found = convert(inner[0], value, path)
        for limit in hint.__metadata__:
            if found not in limit:
                raise ScenarioError(f"{path} must be {limit}, not {value!r}.")
        return found
    if origin in (Union, UnionType):
        return _any_of([each for each in inner if each is not NoneType], value, path)
    if origin is Literal:
        if value not in inner:
            raise ScenarioError(f"{path} must be {' or '.join(map(repr, inner))}, not {value!r}.")
        return value
    if origin in (tuple, Sequence):
        return tuple(_items(inner[0], value, path))
    if origin is not None:  # a mapping
        return {key: convert(inner[1], each, f"{path}.{key}") for key, each in _table(value, path).items()}
    if is_dataclass(hint):
        return read(cast("type[Any]", hint), value, f"{path}.")
    return _plain(hint, value, path)


def _any_of(kinds: Sequence[Any], value: Any, path: str) -> Any:
    """The first kind that takes the value; what the last says of it otherwise."""
    for kind in kinds[:-1]:
        try:
            return convert(kind, value, path)
        except ScenarioError:
            continue
    return convert(kinds[-1], value, path)


def _items(kind: Any, value: Any, path: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ScenarioError(f"{path} must be a list.")
    return [convert(kind, each, f"{path}[{number}]") for number, each in enumerate(value)]


def _table(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ScenarioError(f"{path} must be a table.")
    return value


def _plain(kind: type, value: Any, path: str) -> Any:
    """Whole numbers are numbers, too; true and false are none."""
    if isinstance(value, int) and value.bit_length() > BITS:
        raise ScenarioError(f"{path} must be a number of at most {BITS} bits, and has {value.bit_length()}.")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ScenarioError(f"{path} must be {WORDS[kind]}, not {value!r}.")
    if isinstance(value, float) and not isfinite(value):
        raise ScenarioError(f"{path} must be a finite number, not {value!r}.")
    return value


def at_least(low: float, **values: float | None) -> None:
    """Raises ValueError, which begins with the field's name, if one of these (None: not given) is less."""
    for name, value in values.items():
        if value is not None and value < low:
            raise ValueError(f"{name} must be at least {low:.10g}, not {value:.10g}.")


def above(low: float, **values: float | None) -> None:
    """Raises ValueError, which begins with the field's name, if one of these (None: not given) is not above."""
    for name, value in values.items():
        if value is not None and value <= low:
            raise ValueError(f"{name} must be above {low:.10g}, not {value:.10g}.")


def at_most(high: float, **values: float | None) -> None:
    """Raises ValueError, which begins with the field's name, if one of these (None: not given) is more."""
    for name, value in values.items():
        if value is not None and value > high:
            raise ValueError(f"{name} must be at most {high:.10g}, not {value:.10g}.")


def positive(high: float, **values: float | None) -> None:
    """Raises ValueError, which begins with the field's name, if one of these is not above 0, or out of all measure."""
    above(0, **values)
    at_least(LEAST, **values)
    at_most(high, **values)
