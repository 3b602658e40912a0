"""Recorded samples of real models, replayed in seeded random orders.

A trace is gzip JSONL, one question a line: `{"id", "samples": [{"answer", "correct", "tokens"}, ...]}` and more that
is not needed here. `answer` is canonical (equal strings are equal answers; null abstains) and samples are exchangeable.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.types import Request, Usage
from sim.dice import dice
from sim.types import Drawn


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded sample: its canonical answer, whether it is right, its completion tokens."""

    answer: str | None
    correct: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Question:
    """One question and everything that was sampled for it."""

    id: str
    samples: tuple[Recorded, ...]


Draws = Mapping[str, tuple[Recorded, ...]]
"""For each program, by name, the samples that it will draw: the k-th request gets the k-th."""


def load(path: Path) -> tuple[Question, ...]:
    """The questions of a trace file. Raises ValueError, naming the line, if one cannot be replayed."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        questions = tuple(_parse(path, lines))
    if len({question.id for question in questions}) < len(questions):
        raise ValueError(f"{path.name}: a question appears twice")
    return questions


def _parse(path: Path, lines: Iterable[str]) -> Iterator[Question]:
    for number, line in enumerate(lines, 1):
        record: dict[str, Any] = json.loads(line)
        try:
            samples = tuple(_recorded(sample) for sample in record["samples"])
            yield Question(record["id"], samples)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path.name}:{number}: not a question with recorded samples ({error})") from error


def _recorded(sample: Mapping[str, Any]) -> Recorded:
    answer, correct, tokens = sample["answer"], sample["correct"], sample["tokens"]
    if not isinstance(correct, bool) or not isinstance(tokens, int):
        raise TypeError("correct and tokens must be known")
    return Recorded(None if answer is None else str(answer), correct, tokens)


def draw(trace: Iterable[Question], *, cap: int, orders: int, seed: int) -> Draws:
    """The first `cap` samples of every question in `orders` random orders, as programs named `order/question`.

    The same (seed, order, question) gives the same order under every cap and every rule.
    """
    draws = {}
    for question in trace:
        if len(question.samples) < cap:
            raise ValueError(f"{question.id} has {len(question.samples)} recorded samples, fewer than {cap}")
        for order in range(orders):
            name = f"{order}/{question.id}"
            shuffled = list(question.samples)
            dice(seed, name).shuffle(shuffled)
            draws[name] = tuple(shuffled[:cap])
    return draws


class TraceSource:
    """A `sim.kernel.Source` that serves drawn samples, each for as long as its tokens take.

    Args:
        draws: What each program draws.
        nanos_per_token: Service time of one token; the same for all, so that time is decode steps.
    """

    def __init__(self, draws: Draws, *, nanos_per_token: int = 20_000_000) -> None:
        self._draws = draws
        self.nanos_per_token = nanos_per_token

    def __call__(self, request: Request) -> Drawn:
        """The recorded sample with the request's number."""
        recorded = self._draws[request.program][request.index]
        usage = Usage(completion=recorded.tokens)
        return Drawn(recorded.tokens * self.nanos_per_token, recorded.answer, usage=usage)
