"""What the simulated model says: recorded samples of a trace, or samples of a parametric family."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from math import exp
from pathlib import Path
from typing import Protocol

from sim.dice import dice
from sim.traces import GZIP, Question, load

FILLER = "then we work it out step by step and see what is left of it at the end of this line of thought, "
TOKEN = 5
"""Characters of one token."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call will have said: its text, which is made evenly, over so many tokens."""

    text: str
    tokens: int

    def after(self, made: int) -> int:
        """Characters that are there after so many tokens."""
        return len(self.text) * min(made, self.tokens) // self.tokens

    def until(self, length: int) -> int:
        """Tokens after which so many characters are there."""
        return max(1, -(-length * self.tokens // max(1, len(self.text))))


class Answers(Protocol):
    """Where answers come from.

    `texts` are the messages, the last one last; `prompt` is the same as one key; `seed` is the client's, if it sent
    one; `begun` is the text that the model shall continue, if any.
    """

    def reply(self, texts: Sequence[str], prompt: str, seed: int | None, begun: str) -> Reply:
        """What this call will say."""
        ...


def written(answer: str | None, tokens: int, begun: str = "") -> Reply:
    """A text of so many tokens that ends in the answer. A box that the text so far has opened is filled and closed."""
    if begun.rstrip().endswith("\\boxed{"):
        end = f"{answer or ''}}}."
        return Reply(end, max(1, -(-len(end) // TOKEN)))
    end = ". I cannot say." if answer is None else f". The answer is \\boxed{{{answer}}}."
    room = max(0, tokens * TOKEN - len(end))
    filler = (FILLER * (room // len(FILLER) + 1))[:room]
    return Reply(filler + end, max(1, tokens))


class Turns:
    """Which sample a call without a seed gets: for each prompt one after the other. The oldest are forgotten."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._next: dict[str, int] = {}

    def turn(self, prompt: str) -> int:
        """The number of this call among those of its prompt."""
        number = self._next.pop(prompt, 0)
        self._next[prompt] = number + 1
        if len(self._next) > self._limit:
            del self._next[next(iter(self._next))]
        return number


class Recorded:
    """The samples of a trace (see `sim.traces`), in a seeded order for each question.

    A question is recognised by its text, if the trace has it; any other prompt gets the question that its hash chooses.
    Seeds that follow each other get samples that follow each other.
    """

    def __init__(self, questions: Sequence[Question], texts: Mapping[str, int], seed: int = 0) -> None:
        self._questions = questions
        self._texts = texts
        self._seed = seed
        self._turns = Turns()

    @classmethod
    def read(cls, path: Path, seed: int = 0) -> "Recorded":
        """From a file. Raises `sim.traces.TraceError` and OSError."""
        questions = load(path, labels=False)
        texts = {text: number for number, text in enumerate(_texts(path)) if text}
        return cls(questions, texts, seed)

    def reply(self, texts: Sequence[str], prompt: str, seed: int | None, begun: str) -> Reply:
        """See `Answers`."""
        question = self._questions[self._number(texts, prompt)]
        order = list(range(len(question.samples)))
        dice(self._seed, question.id).shuffle(order)
        number = self._turns.turn(question.id) if seed is None else seed
        sample = question.samples[order[number % len(order)]]
        return written(sample.answer, sample.tokens, begun)

    def _number(self, texts: Sequence[str], prompt: str) -> int:
        for text in reversed(texts):
            if (number := self._texts.get(text)) is not None:
                return number
        for text in reversed(texts):
            for question, number in self._texts.items():
                if question in text:
                    return number
        return int.from_bytes(sha256(prompt.encode()).digest()[:8]) % len(self._questions)


def _texts(path: Path) -> Iterator[str]:
    """The text of each question, empty where the trace does not have it. The file has been read once and is a trace."""
    with path.open("rb") as file:
        zipped = file.read(len(GZIP)) == GZIP
    with gzip.open(path, "rt", encoding="utf-8-sig") if zipped else path.open(encoding="utf-8-sig") as lines:
        for line in lines:
            if line.strip():
                yield str(json.loads(line).get("question") or "")


@dataclass(frozen=True, slots=True)
class Family:
    """Samples drawn at random: every prompt has a right answer, and others that come up.

    Args:
        accuracy: Mean over the prompts of the probability that a sample is right.
        spread: How much prompts differ: that probability follows Beta(accuracy / spread, (1 - accuracy) / spread).
        wrong: Other answers; the k-th comes up in proportion to 1 / k.
        tokens: Median completion tokens; lengths are log-normal.
        sigma: Standard deviation of the logarithm of the length.
        seed: Another seed is another world.
    """

    accuracy: float = 0.6
    spread: float = 0.3
    wrong: int = 5
    tokens: int = 300
    sigma: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (("accuracy", 0, 1), ("spread", 0.001, 100), ("sigma", 0, 3)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}, and must be from {least} to {most}.")
        for name in ("wrong", "tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, and must be at least 1.")

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> "Family":
        """From `accuracy=0.7,tokens=500`. Raises ValueError, naming what is wrong."""
        kinds = {field.name: int if field.type is int else float for field in fields(cls) if field.name != "seed"}
        given: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            if name not in kinds:
                raise ValueError(f"{name!r} is not one of {', '.join(kinds)}.")
            try:
                given[name] = kinds[name](value)
            except ValueError:
                raise ValueError(f"{name} is {value!r}, and must be a number.") from None
        return cls(**given, seed=seed)  # type: ignore[arg-type] # each was made by the kind of its field


class Drawn:
    """The answers of a `Family`: the same prompt and seed get the same sample, in every process."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._turns = Turns()

    def reply(self, texts: Sequence[str], prompt: str, seed: int | None, begun: str) -> Reply:
        """See `Answers`."""
        family = self._family
        world = dice(family.seed, prompt)
        right, ease = world.randrange(1000), 1.0 if family.accuracy == 1 else 0.0
        if 0 < family.accuracy < 1:
            ease = world.betavariate(family.accuracy / family.spread, (1 - family.accuracy) / family.spread)
        luck = dice(family.seed, prompt, self._turns.turn(prompt) if seed is None else seed)
        answer = right
        if luck.random() >= ease:
            others = range(1, family.wrong + 1)
            answer += luck.choices(others, [1 / k for k in others])[0]
        return written(str(answer), max(1, round(family.tokens * exp(luck.gauss(0, family.sigma)))), begun)
