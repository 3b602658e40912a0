"""What the options of a strategy may be: the types that their parameters are annotated with.

The gateway checks what a client or an operator has said against the annotations before anything is sampled; what calls
a strategy from Python is not checked.
"""

from dataclasses import dataclass
from typing import Annotated

from core.stopping.names import LONGEST
from core.stopping.parameters import Bounds
from strategies.selectors.names import CHARACTERS


@dataclass(frozen=True, slots=True)
class Characters:
    """Texts of at most so many characters: what is asked of an engine, compiled or kept must have an end."""

    most: int

    def __contains__(self, value: str) -> bool:
        return len(value) <= self.most

    def __str__(self) -> str:
        return f"at most {self.most} characters"


SampleCount = Annotated[int, Bounds(1, 100_000)]
"""Samples, at least one; as many as a compute budget may name."""
Spare = Annotated[int, Bounds(0, 100_000)]
"""Samples, or none."""
Tokens = Annotated[int, Bounds(1, 500_000)]
"""Tokens, at least one."""
TokensOrNone = Annotated[int, Bounds(0, 500_000)]
"""Tokens, or 0 for no limit."""
Percent = Annotated[float, Bounds(0, 100)]
"""A part of a hundred."""
InARow = Annotated[int, Bounds(2, 1024)]
"""Answers that must agree: one always does."""
Times = Annotated[int, Bounds(0, 64)]
"""How often something may be done again, each time as a request of its own."""
Text = Annotated[str, Characters(1024)]
"""Words that are put into a chain, or looked for in one."""
RuleName = Annotated[str, Characters(LONGEST)]
"""A stopping rule (`core.stopping.names`)."""
SelectorName = Annotated[str, Characters(CHARACTERS)]
"""A selector (`strategies.selectors`)."""
