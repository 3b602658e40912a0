"""Who may import whom, and no cycles, imports inside functions included."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a file imports, wherever in the file, those for the type checker alone aside.

    `from a import b` gives both `a` and `a.b`: which of the two is a module is for the caller to know.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


def graph(house) -> dict[str, set[str]]:
    """Module to the modules of the packages that it imports; a name stands for the module that holds it."""
    modules = house.modules()

    def module_of(name: str) -> str:
        return name if name in modules or "." not in name else module_of(name.rpartition(".")[0])

    edges = {}
    for module, path in modules.items():
        found = {module_of(name) for name in imported(ast.parse(path.read_text(encoding="utf-8")))}
        edges[module] = found & modules.keys() - {module}
    return edges


def cycle(house) -> list[str]:
    """One import cycle, as the modules along it, or nothing."""
    try:
        graphlib.TopologicalSorter(graph(house)).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def foreign(house, package: str, allowed: frozenset[str] = frozenset()) -> list[str]:
    """Imports of a package that are neither its own, nor the standard library's, nor allowed."""
    known = sys.stdlib_module_names | allowed | {package}
    return [
        f"{name}: {target}"
        for name, tree in house.trees()
        if name.startswith(f"{package}/")
        for target in imported(tree)
        if target.partition(".")[0] not in known
    ]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the tree in `root`, by the contracts of its pyproject.toml."""
    command = [LINT_IMPORTS, "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(90)
def test_layers_hold(house) -> None:
    """Every import contract of pyproject.toml is kept."""
    result = lint_imports(house.root)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_module_is_part_of_a_cycle(house) -> None:
    """The import graph has no cycle, not even through an import inside a function."""
    assert cycle(house) == []


def test_core_stands_on_the_standard_library(house) -> None:
    """The vocabulary needs nothing installed."""
    found = foreign(house, "core")
    assert not found, "\n".join(found)


def test_scheduler_needs_only_core(house) -> None:
    """The scheduler imports the vocabulary and the standard library."""
    found = foreign(house, "scheduler", frozenset({"core"}))
    assert not found, "\n".join(found)


def test_cycle_through_a_function_is_caught(build) -> None:
    """An import hidden in a function closes a cycle all the same, and the cycle is named."""
    broken = build(
        {
            "core/__init__.py": "",
            "core/a.py": "from core.b import f\n",
            "core/b.py": "def f():\n    from core import a\n    return a\n",
        }
    )
    assert set(cycle(broken)) == {"core.a", "core.b"}


def test_imports_for_the_type_checker_close_no_cycle(build) -> None:
    """What never runs cannot be part of a cycle, nor can a package's own submodules."""
    sound = build(
        {
            "core/__init__.py": "from core.a import f\n",
            "core/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from core import b\ndef f(): ...\n",
            "core/b.py": "import core.a\n",
        }
    )
    assert cycle(sound) == []


def test_foreign_import_is_caught(build) -> None:
    """A third-party import in core is named with its file."""
    assert foreign(build({"core/a.py": "def f():\n    import numpy.linalg\n"}), "core") == ["core/a.py: numpy.linalg"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("core/a.py", "import strategies"),
        ("core/a.py", "import asyncio"),
        ("strategies/a.py", "import scheduler"),
        ("strategies/a.py", "from random import random"),
        ("strategies/a.py", "import httpx"),
        ("scheduler/a.py", "import strategies"),
        ("scheduler/a.py", "import time"),
        ("scheduler/a.py", "def f():\n    import prometheus_client"),
        ("server/a.py", "import sim"),
        ("server/a.py", "import bench"),
        ("server/a.py", "import reasoner"),
        ("sim/a.py", "import server"),
        ("sim/a.py", "import random"),
        ("sim/a.py", "import asyncio"),
        ("sim/dice.py", "import time"),
        ("bench/a.py", "import server"),
    ],
)
def test_broken_layer_is_caught(build, name: str, line: str) -> None:
    """One forbidden import anywhere breaks a contract, and the report names the file's module."""
    packages = {f"{package}/__init__.py": "" for package in build({}).packages}
    result = lint_imports(build({**packages, name: line + "\n"}).root)
    assert result.returncode == 1, result.stderr
    assert name.removesuffix(".py").replace("/", ".") in result.stdout


@pytest.mark.timeout(60)
def test_allowed_imports_pass(build) -> None:
    """The directions of the design pass: down the layers, and chance through its one door."""
    packages = {f"{package}/__init__.py": "" for package in build({}).packages}
    allowed = {
        "strategies/a.py": "import core",
        "scheduler/a.py": "import core",
        "server/a.py": "import asyncio, time, strategies, scheduler, core",
        "sim/a.py": "import strategies, scheduler, core, sim.dice",
        "sim/dice.py": "import random",
        "bench/a.py": "import sim, reasoner",
    }
    result = lint_imports(build({**packages, **allowed}).root)
    assert result.returncode == 0, result.stdout
