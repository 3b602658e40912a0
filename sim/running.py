"""A request in service under virtual time: its tokens, and its text, are made evenly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.types import NANOS, Outcome, Request, Sample, Usage
from sim.types import Drawn

TEXTS = ("reasoning", "reasoning_content", "content")
"""Fields of a message that grow as it is made, in this order."""


@dataclass(eq=False, slots=True)
class Running:
    """An attempt at a request, in service: what it will be, and since when it runs (nanoseconds).

    One like this runs alone and evenly; `sim.service.Modelled` is one that an engine serves.
    """

    request: Request
    drawn: Drawn
    since: int
    attempt: int = 0

    @property
    def index(self) -> int:
        """The request's number within its program."""
        return self.request.index

    def over(self, now: int) -> bool:
        """Whether it has made its last token."""
        return now >= self.since + self.drawn.nanos

    def stop(self, now: int) -> int:
        """Give it up; returns the completion tokens that it has made."""
        return self.tokens(now)

    def next_mark(self, now: int) -> int | None:
        """When it will have made the next multiple of `every` tokens, None if it ends before that."""
        every, whole = self.request.every, self.drawn.usage.completion
        if every is None:
            return None
        mark = (self.tokens(now) // every + 1) * every
        return self.reaches(mark, now) if mark < whole else None

    def reaches(self, tokens: int, _: int) -> int:
        """When it will have made so many of its tokens."""
        return self.since - (-tokens * self.drawn.nanos // self.drawn.usage.completion)

    def tokens(self, now: int) -> int:
        """Completion tokens made by `now`."""
        whole, nanos = self.drawn.usage.completion, self.drawn.nanos
        return whole if now >= self.since + nanos else whole * (now - self.since) // nanos

    def usage(self, now: int) -> Usage:
        """Tokens made by `now`; reasoning comes first."""
        made = self.tokens(now)
        return Usage(self.drawn.usage.prompt, made, min(made, self.drawn.usage.reasoning))

    def part(self, outcome: Outcome, now: int) -> Sample:
        """What it has made by `now`."""
        drawn, usage = self.drawn, self.usage(now)
        return Sample(
            self.index,
            outcome,
            message=_beginning(drawn.message, usage.completion, drawn.usage.completion),
            usage=usage,
            seconds=(now - self.since) / NANOS,
            confidence=None if drawn.course is None else drawn.course(usage.completion),
        )

    def sample(self, now: int) -> Sample:
        """The request as it ends by itself."""
        drawn = self.drawn
        return Sample(
            self.index,
            drawn.outcome,
            drawn.answer,
            drawn.message,
            drawn.finish_reason,
            drawn.usage,
            (now - self.since) / NANOS,
            drawn.error,
            confidence=None if drawn.course is None else drawn.course(drawn.usage.completion),
        )


def _beginning(message: Mapping[str, Any], made: int, whole: int) -> Mapping[str, Any]:
    """The message after `made` of `whole` tokens: its characters come evenly, the reasoning first."""
    if made >= whole or not message:
        return message
    texts = {name: message[name] for name in TEXTS if isinstance(message.get(name), str)}
    left = sum(map(len, texts.values())) * made // whole
    begun = dict(message)
    for name, text in texts.items():
        begun[name] = text[:left]
        left = max(0, left - len(text))
    return begun
