"""The error tree in the docstring is the error tree in the code, and each error becomes an OpenAI envelope."""

import inspect
import re
from types import ModuleType

import pytest

from core import errors

LINE = re.compile(r"^(?P<stem>[ │├└─]*)(?P<name>[A-Z]\w+) +(?P<status>\d{3}|as upstream)(?: (?P<type>[a-z]+_error))?")
"""One line of the drawn tree: position, class, HTTP status and, where it differs from the parent's, the error type."""

ARGUMENTS = {"BackendRejected": (422, {"message": "m", "type": "t", "param": "p", "code": "c"})}
"""Constructor arguments of the classes that are not made from a message alone."""


def drawn(doc: str) -> dict[str, tuple[str, str]]:
    """Class to (parent, status) as the docstring draws them; the root's parent is `Exception`."""
    tree, above = {}, {}
    for match in filter(None, map(LINE.match, inspect.cleandoc(doc).splitlines())):
        depth = len(match["stem"]) // 4
        tree[match["name"]] = (above.get(depth - 1, "Exception"), match["status"])
        above[depth] = match["name"]
    return tree


def coded(module: ModuleType) -> dict[str, type[Exception]]:
    """Exception classes that a module defines, in order."""
    return {
        name: item
        for name, item in vars(module).items()
        if isinstance(item, type) and issubclass(item, Exception) and item.__module__ == module.__name__
    }


def make(cls: type[Exception]) -> Exception:
    """An instance with a known message."""
    return cls(*ARGUMENTS.get(cls.__name__, ("m",)))


def test_tree_names_every_class() -> None:
    """The docstring draws the classes of the file, all of them and no others, in the order in which they stand."""
    assert list(drawn(errors.__doc__)) == list(coded(errors))


@pytest.mark.parametrize("cls", coded(errors).values(), ids=lambda cls: cls.__name__)
def test_tree_is_true(cls: type[Exception]) -> None:
    """Parent and HTTP status of a class are those drawn."""
    parent, status = drawn(errors.__doc__)[cls.__name__]
    assert cls.__base__.__name__ == parent
    assert str(make(cls).status) == status or (status == "as upstream" and make(cls).status == 422)


@pytest.mark.parametrize("cls", coded(errors).values(), ids=lambda cls: cls.__name__)
def test_envelope_is_openai_shaped(cls: type[Exception]) -> None:
    """The body has OpenAI's four keys, a message and a type that are text, and an error status that fits them."""
    error = make(cls)
    body = error.envelope()
    assert list(body) == ["error"]
    assert sorted(body["error"]) == ["code", "message", "param", "type"]
    assert body["error"]["message"] == "m"
    assert body["error"]["type"]
    assert 400 <= error.status <= 599


def test_field_is_named() -> None:
    """The offending field reaches the envelope."""
    assert errors.InvalidRequest("m", param="compute_budget.x").envelope()["error"]["param"] == "compute_budget.x"


def test_refusal_stays_the_upstreams_own() -> None:
    """A refused request keeps the status, type, field and code that the engine gave it."""
    error = make(errors.BackendRejected)
    assert error.status == 422
    assert error.envelope()["error"] == {"message": "m", "type": "t", "param": "p", "code": "c"}


def test_drawing_is_read_as_drawn() -> None:
    """A parent is the nearest class above with less indentation; lines of prose are no classes."""
    doc = """Errors.

        Root                 500 server_error
        ├── Left             400 invalid_request_error  (a note)
        │   └── Leaf         as upstream: anything
        └── Right            429
    """
    expected = {
        "Root": ("Exception", "500"),
        "Left": ("Root", "400"),
        "Leaf": ("Left", "as upstream"),
        "Right": ("Root", "429"),
    }
    assert drawn(doc) == expected
