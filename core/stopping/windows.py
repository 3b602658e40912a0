"""Early-Stopping Self-Consistency (Li et al., ICLR 2024, arXiv 2401.10480)."""

from collections.abc import Iterable, Sequence
from math import isclose

from core.evidence import Evidence
from core.stopping.parameters import Count, certain_when, spelled
from core.stopping.rule import Rule


def esc(window: Count = 5) -> Rule:
    """Stop when a window of `window` votes was unanimous; windows follow one another without overlap (section 3.1).

    The vote then runs over everything drawn. Votes are taken in order of completion.
    """

    def reached(evidence: Evidence) -> bool:
        answers = [ballot.answer for ballot in evidence.ballots]
        starts = range(0, len(answers) - window + 1, window)
        return any(answers[start : start + window].count(answers[start]) == window for start in starts)

    return certain_when(spelled("esc", window), reached, ballots=True)


def expected_windows(shares: Sequence[float], window: int, windows: int) -> float:
    """How many windows ESC is expected to draw, `windows` at most (section 3.2, the control scheme).

    A window is unanimous with q = sum of p^window over the answers' shares p, as the first window shows them:
    sum over i < windows of (1 + i) q (1 - q)^i, plus `windows` where none of them was unanimous. In closed form
    (1 - (1 - q)^windows) / q. The paper truncates the sum at the cap; that a run ends there is counted here.
    """
    q = sum(share**window for share in shares)
    return windows if isclose(q, 0, abs_tol=1e-12) else (1 - (1 - q) ** windows) / q


def choose_window(
    shares: Sequence[float], affordable: float, *, windows: Iterable[int], caps: Iterable[int]
) -> tuple[int, int] | None:
    """The window size and the cap of samples whose expected samples are `affordable`, or None.

    The largest cap that can be afforded (it bounds the loss against plain self-consistency), then the largest window
    (the strictest test). The paper shows both over a grid and leaves the choice to the user.
    """
    caps, windows = tuple(caps), tuple(windows)
    pairs = ((cap, window) for cap in caps for window in windows if window <= cap)
    fitting = [
        (cap, window) for cap, window in pairs if window * expected_windows(shares, window, cap // window) <= affordable
    ]
    return max(fitting)[::-1] if fitting else None
