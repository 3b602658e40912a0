"""What calibration learned: from raw signals of a vote to a probability, and the threshold that keeps a stated risk.

Fitted by `quorate calibrate`, applied here: standard library only, a few microseconds per completed sample.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log, log1p

from core.certainty import beta_certainty
from core.evidence import Evidence
from core.stopping.confidence import probability
from core.stopping.predictive import stays

FLOOR = 1e-6
"""Probabilities are kept this far from 0 and 1, so that their log-odds exist."""

CLOSE = 1e-9
"""Signals that differ by no more are the same."""


class Target(StrEnum):
    """What a calibrated certainty is the probability of."""

    AGREEMENT = "agreement"
    """The answer is what the reference budget would give; needs no labels."""
    CORRECTNESS = "correctness"
    """The answer is right; needs labels."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A stated certainty, and the `settled` threshold (`core.stopping.predictive`) that keeps it.

    The share of answers that differ from the full budget's is at most 1 - `certainty`, except with probability
    `delta` over the draw of the `questions` that it was tested on. Certified for the profile's own cap and width.
    """

    certainty: float
    settled: float
    delta: float
    questions: int


@dataclass(frozen=True, slots=True)
class Abstention:
    """A stated certainty, and the `least` calibrated certainty at which a program that may abstain should answer.

    Among the answers given, at most 1 - `certainty` are wrong, except with probability `delta` over the draw of the
    `questions` that it was tested on.
    """

    certainty: float
    least: float
    delta: float
    questions: int


@dataclass(frozen=True, slots=True)
class Profile:
    """What calibration learned of one model on one family of tasks.

    `weights` and `intercept` make one log-odds score of the named signals (`SIGNALS`), `knots` (score as a
    probability, calibrated probability; both rising) map it on. `reference` is the budget, in samples, that
    agreement was measured against. It was fitted on runs of at most `cap` samples, `width` of them in flight.
    `fitted` is the worst value of each signal that was seen in it: of what is worse nothing was learned. `model` and
    `task` say what it is for.
    """

    name: str = "uncalibrated"
    target: Target = Target.AGREEMENT
    reference: int = 0
    intercept: float = 0.0
    weights: tuple[tuple[str, float], ...] = ()
    knots: tuple[tuple[float, float], ...] = ()
    fitted: tuple[tuple[str, float], ...] = ()
    bounds: tuple[Bound, ...] = ()
    abstentions: tuple[Abstention, ...] = ()
    cap: int = 0
    width: int = 0
    model: str = ""
    task: str = ""

    @property
    def calibrated(self) -> bool:
        """Whether certainty is a probability that was checked against outcomes."""
        return bool(self.knots)

    def certainty(self, evidence: Evidence) -> float | None:
        """How sure the leader is: calibrated, else the Beta certainty of the top two. None while nobody has voted."""
        if not evidence.counts:
            return None
        if not self.calibrated:
            return beta_certainty(evidence.lead, evidence.second)
        return self.mapped({name: SIGNALS[name](evidence, self.reference) for name, _ in self.weights})

    def covers(self, evidence: Evidence) -> bool:
        """Whether its certainty of this evidence is calibrated: no signal is worse than any that was fitted."""
        if not self.calibrated or not evidence.counts:
            return self.calibrated
        seen = ((sense(name), SIGNALS[name](evidence, self.reference), worst) for name, worst in self.fitted)
        return all(better * value >= better * worst - CLOSE for better, value, worst in seen)

    def mapped(self, signals: Mapping[str, float]) -> float:
        """The calibrated probability that these signals mean; the weighted ones must be there, and knots."""
        odds = self.intercept + sum(weight * signals[name] for name, weight in self.weights)
        return interpolated(self.knots, 1 / (1 + exp(-max(-30.0, min(30.0, odds)))))

    def certified_for(self, cap: int, width: int) -> bool:
        """Whether the certificates hold for runs of at most `cap` samples, `width` of them in flight at most.

        They were made for one cap: the full budget that answers agree with is another where the cap is. Fewer in flight
        than then are covered, more are not.
        """
        return cap == self.cap and width <= self.width

    def threshold(self, certainty: float, *, cap: int, width: int) -> float:
        """The settled threshold for a stated certainty: the least that a bound promises as much, or more, for.

        Of runs that it was not certified for (`certified_for`) the statement is taken at its word, answer by answer.
        So it is beyond the surest bound, but never below one: who asks for more never stops earlier.
        """
        if not self.certified_for(cap, width):
            return certainty
        kept = [bound.settled for bound in self.bounds if bound.certainty >= certainty]
        return min(kept) if kept else max([certainty, *(bound.settled for bound in self.bounds)])

    def least(self, certainty: float, *, cap: int, width: int) -> float:
        """The certainty below which to abstain, for a stated one: of the level that promises as much, or the next.

        Without one for such runs the statement is taken at its word, beyond the surest level never below one.
        """
        if not self.certified_for(cap, width):
            return certainty
        kept = [each for each in self.abstentions if each.certainty >= certainty]
        if kept:
            return min(kept, key=lambda each: each.certainty).least
        return max([certainty, *(each.least for each in self.abstentions)])


UNCALIBRATED = Profile()


def standing(evidence: Evidence, reference: int) -> float:
    """Log-odds that the leader would still lead after `reference` samples (`core.stopping.predictive.stays`)."""
    lead, second, others = evidence.lead, evidence.second, evidence.others
    return log_odds(stays(lead, second, others, max(0, reference - lead - second - others)))


def share(evidence: Evidence, _: int) -> float:
    """Log-odds of the leader's share of the votes, with half a vote to either side."""
    return log_odds((evidence.lead + 0.5) / (evidence.voters + 1))


def votes(evidence: Evidence, _: int) -> float:
    """Logarithm of the number of votes."""
    return log1p(evidence.voters)


def silence(evidence: Evidence, _: int) -> float:
    """Log-odds of the share of finished samples that did not vote, with half a sample to either side."""
    finished = max(evidence.finished, evidence.voters)
    return log_odds((finished - evidence.voters + 0.5) / (finished + 1))


def confidence(evidence: Evidence, _: int) -> float:
    """Log-odds of the mean probability that the tokens gave the leader's ballots; 0 where none of them carries any.

    See `core.stopping.confidence.probability`; needs log-probabilities (grey-box).
    """
    leader = evidence.leader
    known = [probability(each.confidence) for each in evidence.ballots if each.answer == leader and each.confidence]
    return log_odds(sum(known) / len(known)) if known else 0.0


SIGNALS: Mapping[str, Callable[[Evidence, int], float]] = {
    "standing": standing,
    "share": share,
    "votes": votes,
    "silence": silence,
    "confidence": confidence,
}
"""Name to signal, of the evidence and the reference budget: the one line to add."""


def sense(signal: str) -> int:
    """1 for a signal that speaks for the leader where it is high, -1 for one that speaks for it where it is low."""
    return -1 if signal == silence.__name__ else 1


def log_odds(probability: float) -> float:
    """ln(p / (1 - p)), p kept `FLOOR` away from 0 and 1."""
    kept = min(1 - FLOOR, max(FLOOR, probability))
    return log(kept / (1 - kept))


def interpolated(knots: tuple[tuple[float, float], ...], x: float) -> float:
    """Piecewise linear through the knots, constant beyond them."""
    index = bisect_right(knots, x, key=lambda knot: knot[0])
    if index == 0:
        return knots[0][1]
    if index == len(knots):
        return knots[-1][1]
    (x0, y0), (x1, y1) = knots[index - 1], knots[index]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
