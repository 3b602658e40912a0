"""Certaindex (Fu et al., NeurIPS 2025, arXiv 2412.20993): entropy or reward over a threshold at detection steps.

A sample that gave an answer is a finished path; a detection step is a number of votes.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from core.certainty import normalized_certainty
from core.evidence import Ballot, Evidence
from core.stopping.confidence import probability
from core.stopping.parameters import SLACK, Count, Threshold, certain_when, spelled
from core.stopping.rule import Rule

Knot = tuple[float, int]
"""Certaindex at the detection step, and the samples that such a query was seen to need at most."""
Reward = Callable[[Ballot], float | None]
"""Reward of a path in [0, 1], or None where it is not known."""


def certaindex(threshold: Threshold, *, every: Count = 5) -> Rule:
    """Stop when (ln n - H) / ln n reaches `threshold`, looked at every `every` votes ("5-step threshold")."""
    name = spelled("certaindex", threshold, every=every)
    return certain_when(name, lambda e: normalized_certainty(e.counts) >= threshold - SLACK, every=every)


def certaindex_once(threshold: Threshold, *, every: Count = 5) -> Rule:
    """The same, measured once, at `every` votes, else run to the cap: the static threshold of the paper's experiments.

    At 5 votes 0.7 is "all agree" and 0.4 "at least three agree".
    """

    def reached(evidence: Evidence) -> bool:
        return evidence.voters == every and normalized_certainty(evidence.counts) >= threshold - SLACK

    return certain_when(spelled("certaindex-once", threshold, every=every), reached, every=every)


def _probability(ballot: Ballot) -> float | None:
    return None if ballot.confidence is None else probability(ballot.confidence)


def reward_mean(threshold: Threshold, *, every: Count = 1, reward: Reward = _probability) -> Rule:
    """Stop when the mean reward of the paths reaches `threshold` (the paper's MCTS).

    `reward` reads it off a ballot; without a reward model it is the probability of the answer's tokens. Ballots
    without one are left out. Compose with `certaindex` by `&`: the paper's programs stop when all indicators pass.
    """
    return _rewarded(spelled("reward-mean", threshold, every=every), fmean, threshold, every, reward)


def reward_max(threshold: Threshold, *, every: Count = 1, reward: Reward = _probability) -> Rule:
    """Stop when the best reward among the paths reaches `threshold` (the paper's Rebase); see `reward_mean`."""
    return _rewarded(spelled("reward-max", threshold, every=every), max, threshold, every, reward)


def _rewarded(
    name: str, fold: Callable[[Sequence[float]], float], threshold: float, every: int, reward: Reward
) -> Rule:
    def reached(evidence: Evidence) -> bool:
        known = [value for value in map(reward, evidence.ballots) if value is not None]
        return bool(known) and fold(known) >= threshold - SLACK

    return certain_when(name, reached, every=every, ballots=True, confidence=True)


def skyline(points: Iterable[Knot]) -> tuple[Knot, ...]:
    """The Pareto frontier of calibration points (certaindex at the detection step, samples that the query needed).

    Kept are the points that no other beats in both: the most samples ever needed at that certaindex or above. By
    certaindex, rising; so the samples fall. The paper draws it over the solvable queries (section on policies).
    """
    frontier: list[Knot] = []
    for certainty, samples in sorted(points, reverse=True):
        if not frontier or samples > frontier[-1][1]:
            frontier.append((certainty, samples))
    return tuple(reversed(frontier))


def samples_allowed(knots: Sequence[Knot], certainty: float) -> int:
    """The most samples that a query of this certaindex can need by the skyline; 0 where none so sure needed any."""
    return next((samples for knot, samples in knots if knot >= certainty - SLACK), 0)


def certaindex_skyline(knots: Sequence[Knot], *, every: int = 5) -> Rule:
    """Stop when the votes are as many as the skyline allows at their certaindex, read every `every` votes.

    The paper's "dynamic curve fitting", its strongest policy. The budget left is what is allowed less what is drawn.
    Its knots are calibration data, so the rule has no spelling for requests.
    """

    def reached(evidence: Evidence) -> bool:
        return evidence.voters >= samples_allowed(knots, normalized_certainty(evidence.counts))

    return certain_when(spelled("certaindex-skyline", every=every), reached, every=every)
