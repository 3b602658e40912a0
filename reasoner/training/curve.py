"""The curve of a run: one JSON line per check, for plots and for judging a recipe afterwards."""

import json
from operator import index
from pathlib import Path
from typing import Any

from reasoner.files import replacing
from reasoner.training.files import reading


class Curve:
    """Lines of a curve.jsonl, each with the run's `tokens` at that time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cut(self, tokens: int) -> None:
        """Forget the lines after `tokens`: a resumed run writes them again. A line that was not finished goes too.

        ValueError if another one is no point of a curve; the file is then as it was.
        """
        kept = [line for line in self._lines() if line["tokens"] <= tokens]
        with replacing(self._path) as file:
            file.write("".join(f"{json.dumps(line)}\n" for line in kept).encode())

    def _lines(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with reading(self._path, "a curve"):
            whole = self._path.read_text(encoding="utf-8").rpartition("\n")[0]
        return [self._point(number, line) for number, line in enumerate(whole.splitlines(), 1)]

    def _point(self, number: int, text: str) -> dict[str, Any]:
        try:
            point: dict[str, Any] = json.loads(text)
            index(point["tokens"])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{self._path}, line {number} is no point of a curve") from error
        return point

    def add(self, line: dict[str, Any]) -> None:
        """Append a line, and leave it on disk."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")
