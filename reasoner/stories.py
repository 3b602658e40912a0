"""Arithmetic stories in ordinary wording: who has how many of what, what happens to it, and how many there are then.

A story is drawn as numbers first (`plots`), then told (`telling`).
"""

from dataclasses import dataclass
from random import Random

from reasoner.plots import Scale, plotted
from reasoner.telling import Teller
from reasoner.thoughts import Sum


@dataclass(frozen=True, slots=True)
class Story:
    """A question, and what is to be worked out."""

    question: str
    total: Sum


def draw(dice: Random, steps: int, scale: Scale | None = None) -> Story:
    """A story of so many steps (at least one)."""
    plot = plotted(dice, steps, scale or Scale())
    return Story(Teller(dice, plot).story(), plot.total)
