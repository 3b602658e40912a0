"""Short functions, files that fit in the head, and no state that belongs to nobody."""

import ast
import statistics
from collections.abc import Iterator

import pytest

FUNCTION_LINES = 40
MEDIAN_LINES = 10
P90_LINES = 30
FILE_LINES = 400
TEST_FILE_LINES = 600

READ_ONLY = {"Mapping", "Sequence", "Set", "AbstractSet", "frozenset", "tuple", "Final"}
"""Annotations under which a constant table may be written as a plain literal."""

MUTABLE = {
    *(
        "list",
        "dict",
        "set",
        "bytearray",
        "defaultdict",
        "deque",
        "OrderedDict",
        "WeakKeyDictionary",
        "WeakValueDictionary",
    ),
    *(
        "Queue",
        "SimpleQueue",
        "LifoQueue",
        "PriorityQueue",
        "Lock",
        "RLock",
        "Semaphore",
        "Event",
        "Condition",
        "local",
    ),
    *("FastAPI", "Starlette", "CollectorRegistry", "Counter", "Gauge", "Histogram", "Summary"),
    *(
        "AsyncClient",
        "Client",
        "ClientSession",
        "Redis",
        "ThreadPoolExecutor",
        "ProcessPoolExecutor",
        "Random",
        "count",
    ),
}
"""Calls that make something which changes while the process runs. A router is a table filled while its file is read."""

DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def functions(house) -> Iterator[tuple[str, int]]:
    """Place and length in lines, docstring included, of every function of the packages."""
    for name, tree in house.trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def long_functions(house) -> list[str]:
    """Functions over the hard limit."""
    return [f"{place}: {lines} lines" for place, lines in functions(house) if lines > FUNCTION_LINES]


def long_files(house) -> list[str]:
    """Python files over their limit."""
    found = []
    for path in house.files(".py"):
        name, lines = house.name(path), path.read_text(encoding="utf-8").count("\n")
        if lines > (TEST_FILE_LINES if name.startswith("tests/") else FILE_LINES):
            found.append(f"{name}: {lines} lines")
    return found


def global_statements(house) -> list[str]:
    """`global` statements in the packages."""
    return [
        f"{name}:{node.lineno}: global {', '.join(node.names)}"
        for name, tree in house.trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Global)
    ]


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run on import, those inside `if`, `try`, `with` and `for` included."""
    for node in body:
        yield node
        for block in ("body", "orelse", "finalbody", "handlers"):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from top_level(getattr(node, block, []))


def last_name(node: ast.expr | None) -> str:
    """`Queue` for `Queue`, `asyncio.Queue` and `asyncio.Queue[int]`."""
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def is_table(node: ast.Assign | ast.AnnAssign, names: list[str]) -> bool:
    """Whether this is `__all__`, or a constant: UPPERCASE and annotated with a type that cannot be changed."""
    if names == ["__all__"]:
        return True
    if not isinstance(node, ast.AnnAssign) or not all(name.isupper() for name in names):
        return False
    outer = last_name(node.annotation)
    if outer == "Final" and isinstance(node.annotation, ast.Subscript):
        outer = last_name(node.annotation.slice)
    return outer in READ_ONLY - {"Final"}


def is_mutable(node: ast.stmt) -> bool:
    """Whether a statement run on import makes or changes something that later code could change as well."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if not all(isinstance(target, ast.Name) for target in targets):
            return any(isinstance(target, ast.Subscript | ast.Attribute) for target in targets)
        value = node.value
        made = isinstance(value, DISPLAYS) or (isinstance(value, ast.Call) and last_name(value.func) in MUTABLE)
        return made and not is_table(node, [target.id for target in targets])
    return isinstance(node, ast.AugAssign)


def mutable_state(house) -> list[str]:
    """Module-level statements of the packages that hold mutable state."""
    return [
        f"{name}:{node.lineno}: {ast.unparse(node).splitlines()[0][:80]}"
        for name, tree in house.trees()
        for node in top_level(tree.body)
        if is_mutable(node)
    ]


@pytest.mark.parametrize("check", [long_functions, long_files, global_statements, mutable_state])
def test_house_keeps_the_bound(house, check) -> None:
    """No function, file or module of this repository breaks the rule."""
    found = check(house)
    assert not found, "\n".join(found)


def test_most_functions_are_short(house) -> None:
    """Half of all functions fit in 10 lines and nine of ten in 30."""
    lengths = sorted(lines for _, lines in functions(house))
    assert statistics.median(lengths) <= MEDIAN_LINES
    assert statistics.quantiles(lengths, n=10)[-1] <= P90_LINES


def body(lines: int) -> str:
    """A function of exactly so many lines."""
    return "def long():\n" + "    pass\n" * (lines - 1)


@pytest.mark.parametrize(
    ("check", "name", "bad", "good"),
    [
        (long_functions, "core/a.py", body(41), body(40)),
        (long_functions, "sim/a.py", "class A:\n    async def f(self):\n" + "        pass\n" * 40, body(2)),
        (long_files, "core/a.py", "\n" * 401, "\n" * 400),
        (long_files, "tests/a.py", "\n" * 601, "\n" * 600),
        (
            global_statements,
            "server/a.py",
            "def f():\n    global x\n    x = 1\n",
            "def f():\n    x = 1\n    return x\n",
        ),
    ],
)
def test_bound_is_caught(build, check, name: str, bad: str, good: str) -> None:
    """A file just over a bound is named; the same file at the bound passes."""
    assert len(check(build({name: bad}))) == 1
    assert check(build({name: good})) == []


@pytest.mark.parametrize(
    "line",
    [
        "cache = {}",
        "CACHE = {}",
        "TABLE: dict[str, int] = {'a': 1}",
        "names: Mapping[str, int] = {'a': 1}",
        "seen = set()",
        "queue = asyncio.Queue(maxsize=1)",
        "queue: deque[int] = deque()",
        "squares = [n * n for n in range(3)]",
        "app = FastAPI()",
        "COUNT = 0\nCOUNT += 1",
        "TABLE: Mapping[str, int] = {}\nTABLE['a'] = 1",
        "try:\n    x = 1\nexcept ValueError:\n    x = []",
    ],
)
def test_module_state_is_caught(build, line: str) -> None:
    """State at module level is named, in whatever form it comes."""
    assert len(mutable_state(build({"core/a.py": line}))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "TABLE: Mapping[str, int] = {'a': 1}",
        "TABLE: Final[Mapping[str, int]] = {'a': 1}",
        "NAMES: Sequence[str] = ['a']",
        "NAMES = ('a', 'b')",
        "WORDS = frozenset({'a'})",
        "__all__ = ['a']",
        "PATTERN = re.compile('a')",
        "def f():\n    cache = {}\n    return cache",
        "class A:\n    def __init__(self):\n        self.seen = set()",
    ],
)
def test_constants_are_allowed(build, line: str) -> None:
    """Tables that nobody can change, and state that an object owns, pass."""
    assert mutable_state(build({"core/a.py": line})) == []
