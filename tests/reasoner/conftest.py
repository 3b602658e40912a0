"""Shared by the tests of the demonstration models: where the weights are, and an engine with scripted replies."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from reasoner.engines import Reply

WEIGHTS = Path(__file__).parents[2] / "reasoner" / "weights"


class ScriptedEngine:
    """Answers by `script(question, temperature, seed)` and remembers what it was asked."""

    def __init__(self, script: Callable[[str, float, int], Reply]) -> None:
        self.asked: list[tuple[str, float, int]] = []
        self._script = script

    def reply(self, question: str, *, temperature: float, seed: int) -> Reply:
        self.asked.append((question, temperature, seed))
        return self._script(question, temperature, seed)

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
