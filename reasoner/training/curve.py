"""The curve of a run: one JSON line per check, for plots and for judging a recipe afterwards."""

import json
from pathlib import Path
from typing import Any


class Curve:
    """Lines of a curve.jsonl, each with the run's `tokens` at that time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cut(self, tokens: int) -> None:
        """Forget the lines after `tokens`: a resumed run writes them again. A line that was not finished goes too."""
        kept = [line for line in self._lines() if line["tokens"] <= tokens]
        self._path.write_text("".join(f"{json.dumps(line)}\n" for line in kept), encoding="utf-8")

    def _lines(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        whole = self._path.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def add(self, line: dict[str, Any]) -> None:
        """Append a line, and leave it on disk."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")
