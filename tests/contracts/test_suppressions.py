"""Whoever silences a tool names the finding and gives the reason on the same line."""

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

NOQA = re.compile(r"#\s*noqa\b(?P<code>:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?(?P<reason>.*)", re.IGNORECASE)
TYPE_IGNORE = re.compile(r"#\s*type:\s*ignore(?P<code>\[[\w,\s-]+\])?(?P<reason>.*)")
WHOLE_FILE = re.compile(r"#\s*(ruff|flake8):\s*noqa|#\s*mypy:\s*ignore|#\s*pragma:\s*no\s*cover|#\s*pylint:\s*disable")
REASON = re.compile(r"[a-z]{2,}\W+[a-z]{2,}", re.IGNORECASE)
"""At least two words."""


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of every comment of a Python file."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def fault(comment: str) -> str | None:
    """What is wrong with a comment that silences a tool; None where nothing is, or where it silences none."""
    if WHOLE_FILE.search(comment):
        return "silences a whole file or a tool that this project does not use"
    for pattern in (NOQA, TYPE_IGNORE):
        match = pattern.search(comment)
        if match and not match["code"]:
            return "names no finding"
        if match and not REASON.search(match["reason"]):
            return "gives no reason"
    return None


def unexplained(house) -> list[str]:
    """Suppressions without a code or a reason, in every Python file of the project."""
    return [
        f"{house.name(path)}:{line}: {problem}: {text}"
        for path in house.files(".py")
        for line, text in comments(path)
        if (problem := fault(text))
    ]


def test_every_suppression_is_explained(house) -> None:
    """No tool is silenced here without a code and a reason."""
    found = unexplained(house)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "comment",
    [
        "# noqa",
        "# noqa: F401",
        "# noqa: F401, E501",
        "# noqa imported for its effect",
        "# type: ignore",
        "# type: ignore[attr-defined]",
        "# type: ignore  # the stubs lag behind",
        "# ruff: noqa: F401 imported for its effect",
        "# mypy: ignore-errors",
        "# pragma: no cover",
    ],
)
def test_bare_suppression_is_caught(build, comment: str) -> None:
    """A suppression that lacks its code or its reason is named with file and line."""
    assert unexplained(build({"core/a.py": f"x = 1\nimport os  {comment}\n"}))[0].startswith("core/a.py:2: ")


@pytest.mark.parametrize(
    "comment",
    [
        "# noqa: F401 imported for its effect",
        "# noqa: F401, E501 - imported for its effect",
        "# type: ignore[attr-defined]  # the stubs lag behind",
        "# type: ignore[attr-defined]  # noqa: F401 imported for its effect",
        "# an ordinary remark",
    ],
)
def test_explained_suppression_passes(build, comment: str) -> None:
    """Code and reason on the line are enough; text that only looks like a suppression is none."""
    assert unexplained(build({"core/a.py": f"import os  {comment}\nx = '# noqa'\n"})) == []
