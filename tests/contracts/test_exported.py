"""The public surface is pinned: a name appears or disappears on purpose, by a change to `exported.txt`.

Pinned are the names that a package exports (`__all__` of its `__init__`) and, since strategies that users write import
`core` module by module, every public name that a module of `core` defines.
"""

import ast
import difflib
from collections.abc import Iterator
from pathlib import Path

GOLDEN = Path(__file__).with_name("exported.txt")


def exports(tree: ast.Module) -> list[str]:
    """Names in the `__all__` of a file; none where it has no such list."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def defined(tree: ast.Module) -> Iterator[str]:
    """Public names that a file defines itself: functions, classes, constants and type aliases."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def surface(house) -> list[str]:
    """Dotted public names of the packages, sorted."""
    found = set()
    for module, path in house.modules().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = exports(tree) if path.name == "__init__.py" else []
        if module.startswith("core."):
            names = [*names, *defined(tree)]
        found |= {f"{module}.{name}" for name in names}
    return sorted(found)


def test_public_names_are_those_pinned(house) -> None:
    """What the packages offer is exactly what `exported.txt` lists; the difference is the edit to make there."""
    pinned = GOLDEN.read_text(encoding="utf-8").splitlines()
    difference = "\n".join(difflib.unified_diff(pinned, surface(house), "exported.txt", "the code", lineterm="", n=0))
    assert not difference, difference


def test_surface_is_seen(build) -> None:
    """Exports of every package and definitions of core are found; private, imported and inner names are not."""
    house = build(
        {
            "core/__init__.py": '"""Core."""\n',
            "core/a.py": "import os\nLIMIT = 1\n_own = 2\nALIAS: type = int\ndef f():\n    inner = 1\nclass C: ...\n",
            "strategies/__init__.py": "from strategies.a import g\n__all__ = ['g']\n",
            "strategies/a.py": "def g(): ...\ndef h(): ...\n",
        }
    )
    assert surface(house) == ["core.a.ALIAS", "core.a.C", "core.a.LIMIT", "core.a.f", "strategies.g"]
