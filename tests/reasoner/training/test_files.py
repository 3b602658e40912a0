"""Broken files: one line that names them, and no other error hidden behind it."""

from pathlib import Path

import pytest

from reasoner.training.files import reading


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (ValueError("no number\nin line 2"), "a.bin is broken, or is not a list: no number"),
        (ValueError(), "a.bin is broken, or is not a list"),
        (KeyError("shape"), "a.bin is broken, or is not a list"),
        (OSError(22, "Invalid argument"), "a.bin is broken, or is not a list"),
    ],
    ids=repr,
)
def test_what_a_parser_raises_becomes_one_line(raised: Exception, words: str) -> None:
    """With the reason where it is one, and the cause kept."""
    with pytest.raises(ValueError) as found, reading(Path("a.bin"), "a list"):
        raise raised
    assert str(found.value) == words
    assert found.value.__cause__ is raised


@pytest.mark.parametrize("raised", [PermissionError(13, "Permission denied", "a.bin"), MemoryError()], ids=repr)
def test_what_the_file_is_not_to_blame_for_stays(raised: BaseException) -> None:
    """The system says what is wrong itself."""
    with pytest.raises(type(raised)) as found, reading(Path("a.bin"), "a list"):
        raise raised
    assert found.value is raised
