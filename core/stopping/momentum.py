"""The confidence momentum controller that AutoTTS found (arXiv 2605.08083), as far as finished samples carry it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

from core.certainty import beta_certainty
from core.evidence import Ballot, Evidence
from core.stopping.parameters import Share, certain_when, spelled
from core.stopping.rule import Rule

FORGOTTEN = 1e-18
"""Weight of an old value that no float remembers beside a certainty, which is 1/2 at least."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the one knob sets: weight of the newest value, window and slack of the trend, level, fewest votes."""

    weight: float
    window: int
    level: float
    slack: float
    fewest: int


def schedule(knob: float) -> Schedule:
    """The released controller's parameters at `knob` in [0, 1]; higher spends more."""
    return Schedule(
        weight=0.7 - 0.4 * knob,
        window=round(2 + 6 * knob),
        level=0.85 + 0.12 * knob,
        slack=0.04 - 0.03 * knob,
        fewest=round(2 + 3 * knob),
    )


def momentum(knob: Share = 0.5) -> Rule:
    """Stop when a moving average of the Beta certainty is high and not falling.

    Its level must be reached, and it may lie below its oldest value in the window by no more than the slack. The
    released controller steps once per round of probing unfinished branches, abandons branches that deviate and widens
    on a weak trend; here a step is a vote, there is no warm-up in rounds, and the width is the driver's.
    """
    plan = schedule(knob)

    def reached(evidence: Evidence) -> bool:
        if evidence.voters < plan.fewest:
            return False
        averages = moving_averages(evidence.ballots, plan.weight, last=plan.window)
        return averages[-1] >= plan.level and averages[-1] - averages[0] >= -plan.slack

    return certain_when(spelled("momentum", knob), reached, ballots=True)


def moving_averages(ballots: Sequence[Ballot], weight: float, *, last: int | None = None) -> list[float]:
    """The exponential moving average of the Beta certainty after each vote, from 0 before the first.

    Of the `last` votes alone where that is given: then what lies so far back that no float remembers it is only
    counted, so that a long vote costs no more to follow than a short one.
    """
    start = 0 if last is None else max(0, len(ballots) - last - ceil(log(FORGOTTEN, 1 - weight)))
    votes = Counter(ballot.answer for ballot in ballots[:start])
    average, averages = 0.0, []
    for ballot in ballots[start:]:
        votes[ballot.answer] += 1
        lead, second = _top_two(votes)
        average += weight * (beta_certainty(lead, second) - average)
        averages.append(average)
    return averages if last is None else averages[-last:]


def _top_two(votes: Counter[str]) -> tuple[int, int]:
    lead, second = [*sorted(votes.values(), reverse=True), 0][:2]
    return lead, second
