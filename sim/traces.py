"""Recorded samples of real models, replayed in seeded random orders.

A trace is JSONL, gzipped or not, one question a line: `{"id", "samples": [{"answer", "correct", "tokens"}, ...]}` and
more that is not needed here. `answer` is canonical (equal strings are equal answers; null abstains), `correct`
is its flag, `tokens` are completion tokens, and samples are exchangeable. A sample may carry a `confidence`: an object
with the fields of `core.types.Confidence`.
"""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from core.types import Confidence, Request, Usage
from sim.dice import dice
from sim.types import Drawn

GZIP = b"\x1f\x8b"


class TraceError(ValueError):
    """A trace that cannot be replayed; the message names the file and, where there is one, the line."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded sample: its canonical answer, whether it is right, its completion tokens, its confidence or None."""

    answer: str | None
    correct: bool
    tokens: int
    confidence: Confidence | None = None

    def course(self, _: int) -> Confidence | None:
        """Its confidence after so many tokens, which is known of the whole sample alone."""
        return self.confidence


@dataclass(frozen=True, slots=True)
class Question:
    """One question and everything that was sampled for it."""

    id: str
    samples: tuple[Recorded, ...]


Draws = Mapping[str, tuple[Recorded, ...]]
"""For each program, by name, the samples that it will draw: the k-th request gets the k-th."""


def load(path: Path, *, labels: bool = True) -> tuple[Question, ...]:
    """The questions of a trace file. Raises `TraceError`, naming the line, if one cannot be replayed, and `OSError`.

    Without `labels` a sample whose flag is missing or null counts as wrong: for who does not ask what is right.
    """
    try:
        with _opened(path) as lines:
            questions = tuple(_parse(path, lines, labels))
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise TraceError(f"{path.name}: neither JSONL nor gzipped JSONL ({error})") from error
    if not questions:
        raise TraceError(f"{path.name}: no questions")
    return questions


def labelled(path: Path) -> bool:
    """Whether any sample of the file says if it is right. What `load` would refuse counts as labelled: it says why."""
    try:
        with _opened(path) as lines:
            records = [json.loads(line) for line in lines if line.strip()]
        return any(sample.get("correct") is not None for record in records for sample in record["samples"])
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return True


def by_agreement(questions: Iterable[Question]) -> tuple[Question, ...]:
    """The same, without labels: right is what the majority of all that was recorded of a question says."""
    return tuple(Question(each.id, tuple(_agreeing(each.samples))) for each in questions)


def _agreeing(samples: Sequence[Recorded]) -> Iterator[Recorded]:
    votes = Counter(sample.answer for sample in samples if sample.answer is not None)
    most = max(votes, key=votes.__getitem__, default=None)
    return (replace(sample, correct=most is not None and sample.answer == most) for sample in samples)


def _opened(path: Path) -> IO[str]:
    """By what the file is, not by what it is called; a mark of byte order, as some editors write it, is no content."""
    with path.open("rb") as file:
        zipped = file.read(len(GZIP)) == GZIP
    return gzip.open(path, "rt", encoding="utf-8-sig") if zipped else path.open(encoding="utf-8-sig")


def _parse(path: Path, lines: Iterable[str], labels: bool) -> Iterator[Question]:
    seen = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            question = _question(json.loads(line), labels)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise TraceError(f"{path.name}:{number}: not a question with recorded samples ({error})") from error
        if question.id in seen:
            raise TraceError(f"{path.name}:{number}: question {question.id} appears twice")
        seen.add(question.id)
        yield question


def _question(record: Mapping[str, Any], labels: bool) -> Question:
    name = str(record["id"])
    name.encode()  # half a surrogate pair is no text: orders and splits are drawn by the bytes of the id
    return Question(name, tuple(_recorded(sample, labels) for sample in record["samples"]))


def _recorded(sample: Mapping[str, Any], labels: bool) -> Recorded:
    answer, correct, tokens = sample["answer"], sample.get("correct"), sample.get("tokens")
    if correct is None and not labels:
        correct = False
    if not isinstance(correct, bool):
        raise TypeError("a sample has no flag 'correct' that is true or false")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        raise TypeError("a sample has no count of its 'tokens'")
    found = sample.get("confidence")
    confidence = None if found is None else Confidence(**{name: value + 0 for name, value in found.items()})
    return Recorded(None if answer is None else str(answer), correct, tokens, confidence)


def half(question: Question) -> str:
    """`a` or `b`, by the parity of the SHA-256 of the id: parameters are chosen on one half, reported on the other."""
    return "ab"[sha256(question.id.encode()).digest()[-1] % 2]


def draw(trace: Iterable[Question], *, cap: int, orders: int, seed: int) -> Draws:
    """The first `cap` samples of every question in `orders` random orders, as programs named `order/question`.

    The same (seed, order, question) gives the same order under every cap and every rule. The orders of a question stand
    together. Raises ValueError if a question has fewer samples.
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
        self.draws = draws
        self.nanos_per_token = nanos_per_token

    def __call__(self, request: Request) -> Drawn:
        """The recorded sample with the request's number."""
        recorded = self.draws[request.program][request.index]
        usage = Usage(completion=recorded.tokens)
        course = recorded.course if recorded.confidence else None
        return Drawn(recorded.tokens * self.nanos_per_token, recorded.answer, usage=usage, course=course)
