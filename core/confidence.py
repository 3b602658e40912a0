r"""How sure the tokens of one sample were, from the log-probabilities of their top candidates, as they come.

DeepConf (arXiv 2508.15260), section 3. Token confidence is C_i = -(1/k) * sum_j log P_i(j) over the k most likely
candidates at position i, in nats: the flatter the distribution, the lower. Group confidence is the mean of C over the
last `window` tokens.
"""

import re
from array import array
from collections import deque
from collections.abc import Iterable, Sequence

from core.types import Confidence

WINDOW = 2048
"""Tokens of a group, as in the paper."""

FLOOR = -100.0
"""Engines write -9999 for a candidate that a grammar has masked; no softmax in single precision goes below e^-103."""

ANSWER_TOKENS = 128
"""Tokens at the end of a sample among which its answer is looked for."""

_BOX = r"\boxed{"
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")


def token_confidence(top: Sequence[float]) -> float:
    """C_i of one position: the mean negative log-probability of its candidates (at least one), in nats."""
    return -sum(max(FLOOR, logprob) for logprob in top) / len(top)


class ConfidenceMeter:
    """The confidence of one growing sample. Constant work a token; eight bytes are kept for each full group."""

    def __init__(self, window: int = WINDOW) -> None:
        self.window = max(1, window)
        self.tokens = 0
        self._recent: deque[float] = deque()
        self._window_sum = 0.0
        self._sum = 0.0
        self._chosen = 0.0
        self._lowest: float | None = None
        self._groups = array("d")
        self._last: deque[tuple[str, float]] = deque(maxlen=ANSWER_TOKENS)

    def add(self, logprob: float, top: Sequence[float], token: str = "") -> None:
        """One more token: its own log-probability, those of the candidates (at least one), its text."""
        confidence = token_confidence(top)
        self.tokens += 1
        self._sum += confidence
        self._chosen += max(FLOOR, logprob)
        self._last.append((token, max(FLOOR, logprob)))
        self._recent.append(confidence)
        self._window_sum += confidence
        if len(self._recent) > self.window:
            self._window_sum -= self._recent.popleft()
        if len(self._recent) == self.window:
            self._groups.append(self._window_sum / self.window)
            self._lowest = self._groups[-1] if self._lowest is None else min(self._lowest, self._groups[-1])

    @property
    def group(self) -> float | None:
        """The current group confidence; of a sample shorter than a window the mean of all. None without tokens."""
        return self._window_sum / len(self._recent) if self._recent else None

    def summary(self) -> Confidence | None:
        """The sample so far, None without tokens. One shorter than a window is a single group."""
        tail = self.group
        if tail is None:
            return None
        lowest = tail if self._lowest is None else self._lowest
        whole = self.tokens <= ANSWER_TOKENS
        return Confidence(
            mean=self._sum / self.tokens,
            bottom=_lowest_tenth(self._groups or (tail,)),
            lowest=lowest,
            tail=tail,
            logprob=self._chosen / self.tokens,
            tokens=self.tokens,
            answer=answer_logprob(self._last, whole=whole),
        )


def answer_logprob(pieces: Iterable[tuple[str, float]], *, whole: bool = True) -> float | None:
    r"""Mean log-probability of the tokens of the answer; None where it cannot be told apart.

    The answer is what the last `\boxed{}` holds; else what stands before a brace that was never opened (the sample
    continues a text that ends in `\boxed{`; only if the pieces are the `whole` sample); else the last number.
    """
    tokens = tuple(pieces)
    span = _answer_span("".join(text for text, _ in tokens), whole=whole)
    if span is None:
        return None
    inside, position = [], 0
    for text, logprob in tokens:
        if text and position < span[1] and position + len(text) > span[0]:
            inside.append(logprob)
        position += len(text)
    return sum(inside) / len(inside) if inside else None


def _answer_span(text: str, *, whole: bool) -> tuple[int, int] | None:
    box = text.rfind(_BOX)
    if box >= 0:
        start = box + len(_BOX)
        end = unmatched_brace(text[start:])
        return None if end is None else (start, start + end)
    end = unmatched_brace(text) if whole else None
    if end is not None:
        return (0, end)
    numbers = [match.span() for match in _NUMBER.finditer(text)]
    return numbers[-1] if numbers else None


def unmatched_brace(text: str) -> int | None:
    """Where the first closing brace stands that has no opening one, if any. A backslash takes the brace after it."""
    depth, escaped = 0, False
    for place, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth < 0:
                return place
    return None


def _lowest_tenth(groups: Sequence[float]) -> float:
    """Mean of the lowest tenth of the groups, of one at least."""
    count = max(1, len(groups) // 10)
    return sum(sorted(groups)[:count]) / count
