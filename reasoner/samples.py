r"""What is recorded of one sample beside its answer: how sure its tokens were, right steps, and forced answers.

`confidence`: the fields of `core.types.Confidence`, from the `TOP` likeliest candidates of each token, in groups of
`WINDOW` tokens. `steps`: share of right steps (`reasoner.verifiers.step_score`). `probes`: what the model would answer
if its thought ended after a line: `[tokens of the thought so far, answer, confidence]` for every line and, first, for
no thought at all. The answer is greedy, after `</think>\nThe answer is \boxed{`; null if it has no end; its confidence
is the product of its tokens' probabilities. `thought`: tokens of the thought. `stated`: those up to the first answer
that it states ("So 12.", "So the oldest is Mia: (A) Tom, (B) Mia: B."), null without one. `text`: thought and answer;
`sound`: how many of its lines, without the thought's tags, come before the first that is seen to be wrong. Numbers are
rounded to three digits.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from math import exp
from typing import Any

from core.confidence import ConfidenceMeter
from reasoner.engines import Engine, EngineError, Piece, Reply
from reasoner.examples import BOX, CLOSED, prompt
from reasoner.judge import plain
from reasoner.sets import Question
from reasoner.verifiers import sound_lines, step_score

Entry = dict[str, Any]

TOP = 20
"""Candidates of each token: as many as the gateway asks for."""
WINDOW = 32
"""Tokens of a group of confidences: two or three lines of a thought, of which few have 2,048 tokens."""
ENDING = CLOSED + BOX
"""What is said for the model to force an answer."""
_ANSWER_TOKENS = 10
_MOST_PROBES = 64
# Ledgers with names say "So Mia has 12."
_STATED = re.compile(r"^So (?:the [^\n]*?: [A-D]|(?:\w+ has )?\d+)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Extras:
    """What to record beside answers: `confidence`, `steps`, forced answers of the greedy sample and the first `probed`
    others of each question, and each sample's `text`."""

    confidence: bool = False
    steps: bool = False
    probed: int = 0
    text: bool = False

    @property
    def top(self) -> int:
        """Candidates to ask the engine for with every sample."""
        if self.confidence:
            return TOP
        return 1 if self.probed else 0

    def keys(self) -> frozenset[str]:
        """What every sample has."""
        read = self.top > 0
        told = {"confidence": self.confidence, "steps": self.steps, "thought": read, "stated": read}
        told |= {"text": self.text, "sound": self.text}
        return frozenset({"answer", "correct", "tokens", *(key for key, chosen in told.items() if chosen)})


def entry(engine: Engine, question: Question, reply: Reply, extras: Extras, *, probed: bool) -> Entry:
    """What is recorded of a sample; `probed`: with forced answers. EngineError as of the engine, and for a reply
    without the tokens that are needed."""
    if extras.top and reply.tokens and not reply.pieces:
        raise EngineError("the engine does not tell the log-probabilities of its tokens, which are to be recorded")
    answer = question.answer(reply.text)
    found: Entry = {"answer": answer, "correct": answer == question.gold, "tokens": reply.tokens}
    if extras.confidence:
        found["confidence"] = confidence(reply.pieces)
    if extras.steps:
        found["steps"] = rounded(step_score(reply.text, question))
    if extras.top:
        found["thought"] = tokens_until(reply.pieces, len(thought(reply.pieces)))
        found["stated"] = stated(reply.pieces)
    if extras.text:
        found |= {"text": reply.text, "sound": sound_lines(plain(reply.text), question)}
    if probed:
        found["probes"] = probes(engine, question, reply.pieces)
    return found


def confidence(pieces: Iterable[Piece]) -> dict[str, float] | None:
    """How sure the tokens were, fields that are unknown left out; None where no token tells its candidates."""
    meter = ConfidenceMeter(WINDOW)
    for piece in pieces:
        if piece.top:
            meter.add(piece.logprob, piece.top, piece.text)
    summary = meter.summary()
    if summary is None:
        return None
    return {name: rounded(value) for name, value in asdict(summary).items() if value is not None}


def stated(pieces: Sequence[Piece]) -> int | None:
    """Tokens up to the end of the first answer that the thought states."""
    match = _STATED.search(thought(pieces))
    return tokens_until(pieces, match.end()) if match else None


def probes(engine: Engine, question: Question, pieces: Sequence[Piece]) -> list[list[Any]]:
    """Forced answers before the thought and after each of its lines, of at most 64 places, the first ones."""
    text = thought(pieces)
    ends = [0, *(match.end() for match in re.finditer("\n", text))][:_MOST_PROBES]
    return [[tokens_until(pieces, end), *_forced(engine, question, text[:end])] for end in ends]


def _forced(engine: Engine, question: Question, thought_so_far: str) -> tuple[str | None, float]:
    raw = prompt(question.question) + thought_so_far + ENDING
    reply = engine.complete(raw, max_tokens=_ANSWER_TOKENS, stop="}")
    answer = None if reply.cut else question.answer(f"\\boxed{{{reply.text}}}")
    said = reply.pieces[: tokens_until(reply.pieces, len(reply.text))]
    return answer, rounded(exp(sum(piece.logprob for piece in said))) if said else 0


def thought(pieces: Iterable[Piece]) -> str:
    """The text of the tokens up to the end of the thought, or all of it if the thought has none."""
    return "".join(piece.text for piece in pieces).partition(CLOSED.rstrip())[0]


def tokens_until(pieces: Sequence[Piece], end: int) -> int:
    """How many tokens hold the first `end` characters."""
    if end == 0:
        return 0
    ends = list(accumulate(len(piece.text) for piece in pieces))
    return min(bisect_left(ends, end) + 1, len(pieces))


def rounded(value: float) -> float:
    """To three digits, whole numbers without a point."""
    short = round(value, 3)
    return int(short) if short == int(short) else short
