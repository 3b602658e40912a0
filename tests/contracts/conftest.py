"""A house is a tree of files with packages in it: this repository, or a small broken one made by a test."""

import ast
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "strategies", "scheduler", "server", "sim", "cli", "bench", "reasoner")


@dataclass(frozen=True)
class House:
    """The files under `root` that belong to the project, and the modules of its packages."""

    root: Path
    packages: tuple[str, ...] = PACKAGES

    def files(self, *suffixes: str, under: Iterable[str] = ("",)) -> list[Path]:
        """The project's own files (what git does not ignore, in a checkout) with one of the suffixes, sorted."""
        folders = tuple(f"{folder}/" if folder else "" for folder in under)
        wanted = (path for path in self._known if self.name(path).startswith(folders))
        return sorted(path for path in wanted if path.name.endswith(suffixes or "") and path.is_file())

    @cached_property
    def _known(self) -> set[Path]:
        if not (self.root / ".git").exists():
            return {path for path in self.root.rglob("*") if self._is_ours(path)}
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True).stdout
        return {self.root / name for name in listing.split("\0") if name}

    def _is_ours(self, path: Path) -> bool:
        """Without git: neither an environment, nor a cache, nor what a build left."""
        folders = path.relative_to(self.root).parts[:-1]
        return not any((part.startswith(".") and part != ".ci") or part in {"build", "dist"} for part in folders)

    def name(self, path: Path) -> str:
        """The path as the project calls it: relative, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def sources(self) -> list[Path]:
        """Python files of the packages."""
        return self.files(".py", under=self.packages)

    def trees(self) -> Iterator[tuple[str, ast.Module]]:
        """Name and syntax tree of every Python file of the packages."""
        for path in self.sources():
            yield self.name(path), ast.parse(path.read_text(encoding="utf-8"))

    def modules(self) -> dict[str, Path]:
        """Dotted module name of every Python file of the packages; a package stands for its `__init__`."""
        return {self._dotted(path): path for path in self.sources()}

    def _dotted(self, path: Path) -> str:
        return self.name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.fixture(scope="session")
def house() -> House:
    """This repository."""
    return House(ROOT)


@pytest.fixture
def build(tmp_path: Path) -> Callable[[Mapping[str, str]], House]:
    """Make a house of the given files (name to text), under this project's own pyproject.toml."""

    def make(files: Mapping[str, str]) -> House:
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return House(tmp_path)

    return make
