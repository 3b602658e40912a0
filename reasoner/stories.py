"""Arithmetic stories in ordinary wording: who has how many of what, what happens to it, and how many there are then.

A story is drawn as numbers first, a plot (`plots`) or a scene (`scenes`), then told (`telling`, `narration`).
"""

from dataclasses import dataclass
from random import Random

from reasoner import scenes
from reasoner.narration import narrated
from reasoner.plots import Plot, Scale, plotted
from reasoner.scenes import Scene
from reasoner.telling import Teller
from reasoner.thoughts import Sum

SCENES = 0.62
"""Share of the stories that are scenes."""
LOWER, OPEN, BARE = 0.04, 0.04, 0.3
"""Share of the questions without capitals and without a question mark, and of those of the former without commas."""


@dataclass(frozen=True, slots=True)
class Story:
    """A question, and what is to be worked out."""

    question: str
    total: Sum


def draw(dice: Random, steps: int, scale: Scale | None = None, *, everyday: bool = False) -> Story:
    """A story of so many steps (at least one), here and there as carelessly written as people write.

    `everyday`: a scene, if there is one of so many steps, told in the words that people use most.
    """
    drawn = planned(dice, steps, scale or Scale(), everyday=everyday)
    return Story(careless(dice, told(dice, drawn, everyday=everyday)), drawn.total)


def planned(dice: Random, steps: int, scale: Scale, *, everyday: bool = False) -> Plot | Scene:
    """Its numbers."""
    scene = scenes.drawn(dice, steps, scale, everyday=everyday) if everyday or dice.random() < SCENES else None
    return scene or plotted(dice, steps, scale)


def told(dice: Random, drawn: Plot | Scene, *, everyday: bool = False) -> str:
    """Its words, carefully written."""
    return narrated(dice, drawn, everyday=everyday) if isinstance(drawn, Scene) else Teller(dice, drawn).story()


def careless(dice: Random, question: str) -> str:
    """The same, maybe without capital letters or without its question mark."""
    if dice.random() < LOWER:
        question = question.lower()
        if dice.random() < BARE:
            question = question.replace(",", "")
    return question.removesuffix("?") if dice.random() < OPEN else question
