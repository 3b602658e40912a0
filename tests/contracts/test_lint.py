"""Ruff and mypy pass over the whole project, and their settings catch what they are there to catch."""

import subprocess
import sys
from pathlib import Path

import pytest

DOC = '"""Module."""\n\n'


def tool(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment over the tree in `root`, by the settings of its pyproject.toml."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "mypy"])
def test_tool_passes(house, command: str) -> None:
    """The tool finds nothing in this repository."""
    result = tool(house.root, *command.split())
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "code", "rule"),
    [
        ("server/a.py", "import asyncio\n\nasyncio.create_task(f())\n", "TID251"),
        ("server/a.py", "from asyncio import gather\n", "TID251"),
        ("strategies/a.py", "import asyncio\n\nasyncio.wait(f())\n", "TID251"),
        ("tests/a.py", "import asyncio\n\nasyncio.ensure_future(f())\n", "TID251"),
        ("server/a.py", "from starlette.middleware.base import BaseHTTPMiddleware\n", "TID251"),
        ("server/a.py", "try:\n    f()\nexcept Exception:\n    g()\n", "BLE001"),
        ("server/a.py", "from . import b\n", "TID252"),
        ("server/a.py", "print(1)\n", "T201"),
        ("core/a.py", "def f():\n    import json\n\n    return json\n", "PLC0415"),
        ("core/a.py", "def f():\n    global x\n    x = 1\n", "PLW0603"),
        ("core/a.py", "def f(x=[]):\n    return x\n", "B006"),
        ("core/a.py", "def f():\n    return 1\n", "D103"),
        ("core/a.py", "class A:\n    x = 1\n", "D101"),
        ("core/a.py", "X = 1  # type: ignore\n", "PGH003"),
        ("core/a.py", "X = 1  # noqa\n", "PGH004"),
        ("core/a.py", "X = 1  # noqa: F401 for no reason at all\n", "RUF100"),
        ("core/a.py", f"X = '{'x' * 120}'\n", "E501"),
        ("tests/a.py", "def test_nothing_said():\n    assert 1\n", "D103"),
    ],
)
def test_ruff_catches(build, name: str, code: str, rule: str) -> None:
    """The rule fires in the place where the house forbids the thing."""
    result = tool(build({name: DOC + code}).root, "ruff", "check", "--no-cache", "--output-format=concise", ".")
    assert f" {rule} " in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("server/runtime.py", "import asyncio\n\nasyncio.wait(f())\n"),
        ("server/runtime.py", "try:\n    f()\nexcept Exception:\n    g()\n"),
        ("server/app.py", "try:\n    f()\nexcept Exception:\n    g()\n"),
        ("server/cli.py", "print(1)\n"),
        ("bench/a.py", "print(1)\n"),
    ],
)
def test_ruff_allows(build, name: str, code: str) -> None:
    """The one place that may do a thing is not told off for it."""
    result = tool(build({name: DOC + code}).root, "ruff", "check", "--no-cache", "--ignore=F821", ".")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.timeout(120)
def test_mypy_catches(build) -> None:
    """An untyped function, a wrong return and a bare ignore are errors in a package; a sound file is none."""
    bad = "def f(x):\n    return x\n\ndef g() -> int:\n    return 'a'\n\nx: int = 'a'  # type: ignore\n"
    root = build(
        {"core/__init__.py": "", "core/bad.py": bad, "core/good.py": "def h(x: int) -> int:\n    return x\n"}
    ).root
    result = tool(root, "mypy", "--no-incremental", "core")
    found = {line.rpartition("[")[2].rstrip("]") for line in result.stdout.splitlines() if ": error: " in line}
    assert found == {"no-untyped-def", "return-value", "ignore-without-code"}, result.stdout + result.stderr
    assert "good.py" not in result.stdout
