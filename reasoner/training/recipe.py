"""Recipes: what a model is trained on, in which order, and when it may go on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from reasoner.examples import CHAT_TEMPLATE, Example
from reasoner.training.shape import Shape

Mixture = Callable[[Random], Example]
Skills = Mapping[str, Sequence[Example]]


class GateMissedError(Exception):
    """A stage used up its tokens before its gates were reached; the message has the values that they have now."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a training run with a mixture and rates of its own. Every schedule is a function of tokens.

    Args:
        name: Names the stage in the curve and its checkpoint; part of what seeds its examples.
        mixture: Draws one example from the given dice, and depends on nothing else.
        gates: The least value of skills, by name; the stage ends at the first check, after `least_tokens`, that finds
            all of them reached, and the run fails if they are not reached by `most_tokens`. Without gates the stage
            ends at `most_tokens`.
        least_tokens: Tokens (padding aside) before the gates may end the stage.
        most_tokens: Tokens at which it ends or fails.
        lr: Learning rate of the matrices (Muon).
        embedding_lr: Learning rate of the embedding and the norms (AdamW).
        decay: Share of `most_tokens` over which both rates fall linearly to 0, at the end; 0: they stay.
        warm_up: Tokens over which both rates rise linearly from 0, at the start.
    """

    name: str
    mixture: Mixture
    most_tokens: int
    gates: Mapping[str, float] = field(default_factory=dict)
    least_tokens: int = 0
    lr: float = 0.02
    embedding_lr: float = 0.004
    decay: float = 0.0
    warm_up: int = 250_000

    def __post_init__(self) -> None:
        if not self.name or not self.name.replace("-", "").isalnum():
            raise ValueError(f"stage name {self.name!r} is not made of letters, digits and hyphens")
        if not 0 <= self.least_tokens <= self.most_tokens or self.most_tokens < 1:
            raise ValueError(f"stage {self.name}: least_tokens and most_tokens are out of order")
        if not 0 <= self.decay <= 1 or self.warm_up < 0:
            raise ValueError(f"stage {self.name}: decay is a share, warm_up a number of tokens")

    def rate(self, tokens: float) -> float:
        """The factor of both learning rates after so many tokens of the stage, in [0, 1]."""
        rise = tokens / self.warm_up if self.warm_up else 1.0
        left = self.most_tokens - tokens
        fall = left / (self.decay * self.most_tokens) if self.decay else 1.0
        return max(0.0, min(1.0, rise, fall))


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model and its stages.

    Args:
        name: As the command line and run folders call it.
        shape: The model's size.
        stages: One after the other; the optimisers go on from one to the next.
        skills: What is measured, or a function that makes it; every gate is one of them.
        grown_from: The recipe, or `recipe/stage`, whose model this one starts from and is grown from where the shapes
            differ; None: from nothing.
        after: Whether new layers come after those of the model that it starts from, and not between them.
        check_every: Tokens between two lines of the curve, and between two measurements of a stage's gates (once its
            `least_tokens` are seen). Measuring a skill costs a third of training on its examples.
        skills_every: Every so many checks, and at the end of a stage, all skills are measured.
        step_tokens: Tokens of one optimiser step at most, padding included.
        template: The chat template that exports get.
    """

    name: str
    shape: Shape
    stages: Sequence[Stage]
    skills: Skills | Callable[[], Skills] = field(default_factory=dict)
    grown_from: str | None = None
    after: bool = False
    check_every: int = 100_000
    skills_every: int = 5
    step_tokens: int = 4096
    template: str = CHAT_TEMPLATE

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"recipe {self.name}: stages need names of their own, these are {names}")
        if min(self.check_every, self.skills_every, self.step_tokens) < 1:
            raise ValueError(f"recipe {self.name}: check_every, skills_every and step_tokens are positive")

    def made_skills(self) -> Skills:
        """The skills' examples; ValueError if a gate is none of them."""
        skills = self.skills() if callable(self.skills) else self.skills
        for stage in self.stages:
            if unknown := sorted(stage.gates.keys() - skills.keys()):
                raise ValueError(f"recipe {self.name}, stage {stage.name}: no skill called {unknown[0]!r}")
        return skills


class Book(Protocol):
    """What is trained: the module `reasoner.recipes`, or what a test puts in its place."""

    def recipes(self) -> Mapping[str, Recipe]:
        """By name, each after the one that it grows from."""
        ...

    def tokenizer_text(self) -> Iterator[str]:
        """What the tokeniser's merges come from; ends."""
        ...
