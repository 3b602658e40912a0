"""Shared by the tests of training: a task that a tiny model can learn, its tokeniser, and a tiny shape."""

import importlib
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reasoner.examples import Example, Segment, answer, prompt, text

VOCABULARY = 300


def addition(dice: random.Random) -> Example:
    """A sum of two digits, with a thought that says it first."""
    a, b = dice.randint(1, 9), dice.randint(1, 9)
    thought = (Segment(f"{a}+{b}="), Segment(str(a + b)), Segment(".\n", 0.5))
    return (Segment(prompt(f"What is {a}+{b}?"), 0.0), *thought, Segment("</think>\n"), Segment(answer(a + b)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are added in one order only, and tests beside this one keep their processor."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def mixture() -> Callable[[random.Random], Example]:
    """Draws a sum."""
    return addition


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A tokeniser of 300 entries that knows the words of the sums."""
    # Here and not above: without the 'reasoner' extra these tests are skipped.
    tokens = importlib.import_module("reasoner.training.tokens")
    dice = random.Random(0)
    return tokens.train((text(addition(dice)) for _ in range(50)), VOCABULARY)


@pytest.fixture
def shape() -> Any:
    """Two layers of 32 channels."""
    shapes = importlib.import_module("reasoner.training.shape")
    return shapes.Shape(width=32, layers=2, heads=2, kv_heads=1, ff=64, vocab=VOCABULARY, context=64)
