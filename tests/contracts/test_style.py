"""The project speaks of itself only, and leaves nothing for later without saying where."""

import re
from pathlib import Path

import pytest

PROSE = (".py", ".md", ".toml", ".yml", ".yaml", ".sh", "Makefile", "Dockerfile", "run")
TEXT = (*PROSE, ".json", ".txt", ".cfg", ".ini")

THIS = Path(__file__)
"""The one file that must spell out what it looks for."""

# Containers that run as root keep their models under /root/.cache; that is a path of the image, not of a developer.
MACHINE = re.compile(r"(?<![\w.~-])/(work|home|root(?!/\.cache/)|Users|private|mnt)/[\w.]")
SCRATCH = re.compile(r"(?<![\w.~-])/tmp/[\w.]")
LATER = re.compile(r"\b(TODO|FIXME|XXX)\b|#\s*todo\b|(?i:simplified for now|not implemented yet)")

PLACEHOLDER = re.compile(r"^[A-Z_]+_TABLE$")


def lines_with(house, pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    """File and line of every match."""
    return [
        f"{house.name(path)}:{number}: {line.strip()[:100]}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def machine_paths(house) -> list[str]:
    """Paths that exist on one developer's machine; scratch folders are for tests alone."""
    paths = [path for path in house.files(*TEXT) if path != THIS]
    outside = [path for path in paths if not house.name(path).startswith("tests/")]
    return lines_with(house, MACHINE, paths) + lines_with(house, SCRATCH, outside)


def postponed(house) -> list[str]:
    """Marks of unfinished work: it belongs in an issue, or in the log."""
    return lines_with(house, LATER, [path for path in house.files(*PROSE) if path != THIS])


def unfilled(house) -> list[str]:
    """Lines of a page that say where a table of results is to go."""
    return lines_with(house, PLACEHOLDER, house.files(".md"))


@pytest.mark.parametrize("check", [machine_paths, postponed, unfilled])
def test_house_is_clean(house, check) -> None:
    """Nothing of the kind is in this repository."""
    found = check(house)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("check", "name", "line"),
    [
        (machine_paths, "docs/a.md", "see /work/notes.md"),
        (machine_paths, "core/a.py", 'PATH = "/tmp/x.sock"'),
        (machine_paths, "tests/core/test_a.py", 'PATH = "/home/ada/model.gguf"'),
        (postponed, "core/a.py", "# todo: later"),
        (postponed, "docs/a.md", "This is simplified for now."),
        (postponed, "Makefile", "# FIXME"),
        (unfilled, "docs/a.md", "RESULTS_TABLE"),
    ],
)
def test_dirt_is_caught(build, check, name: str, line: str) -> None:
    """One such line in one file is named with its file and number."""
    assert check(build({name: f"\n{line}\n"})) == [f"{name}:2: {line}"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("docs/a.md", "https://example.com/work/notes"),
        ("docs/a.md", "a framework/home/base comparison"),
        ("tests/core/test_a.py", 'PATH = "/tmp/x"'),
        ("docs/a.md", "The RESULTS_TABLE is filled."),
        ("core/a.py", 'ROUTE = "/v1/chat/completions"'),
    ],
)
def test_ordinary_text_passes(build, name: str, line: str) -> None:
    """Addresses, routes and scratch files of tests are not a developer's paths; prose is no placeholder."""
    sound = build({name: f"{line}\n"})
    assert machine_paths(sound) + postponed(sound) + unfilled(sound) == []
