"""Shared by the tests of the demonstration models: where the weights are, and an engine with scripted replies."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from reasoner.engines import Reply

WEIGHTS = Path(__file__).parents[2] / "reasoner" / "weights"


class ScriptedEngine:
    """Answers by `script(question, temperature, seed)`, completes by `forced(prompt)`; remembers what it was asked."""

    def __init__(
        self, script: Callable[[str, float, int], Reply], forced: Callable[[str], Reply] = lambda prompt: Reply("", 0)
    ) -> None:
        self.asked: list[tuple[str, float, int]] = []
        self.prompts: list[str] = []
        self.tops: set[int] = set()
        self._script, self._forced = script, forced

    def reply(self, question: str, *, temperature: float, seed: int, top: int = 0) -> Reply:
        self.asked.append((question, temperature, seed))
        self.tops.add(top)
        return self._script(question, temperature, seed)

    def complete(self, prompt: str, *, max_tokens: int, stop: str) -> Reply:
        self.prompts.append(prompt)
        return self._forced(prompt)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


@pytest.fixture
def scripted() -> type[ScriptedEngine]:
    """The scripted engine's class."""
    return ScriptedEngine


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder of the shipped models."""
    return WEIGHTS


@pytest.fixture(scope="session")
def small_gguf() -> Path:
    """The smaller shipped model in the form that llama.cpp reads."""
    return WEIGHTS / "reasoner-small" / "model-q8_0.gguf"
