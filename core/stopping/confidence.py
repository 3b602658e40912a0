"""Rules that weigh a vote by how sure the model's tokens were.

A `Confidence` becomes a probability in (0, 1) as the geometric mean of the chosen tokens' probabilities: over the
tokens of the answer where it could be told apart, else over the whole sample. The sources train it (Self-Calibration)
or leave the choice open (CGES); this one needs nothing but log-probabilities, and is not calibrated by itself.
A ballot without confidence counts as 1/2, or as the mean of the others where only relative weights matter.

What is answered is the majority's leader, so each rule asks whether the *leader* is settled, also where the source
would answer with the candidate of the greatest weight.
"""

from collections.abc import Sequence
from math import exp, log
from statistics import fmean

from core.evidence import Ballot, Evidence
from core.stopping.parameters import SLACK, Count, Threshold, certain_when, spelled
from core.stopping.rule import Rule
from core.types import Confidence

CERTAIN = 1 - 1e-6
"""The surest that one sample can be: no vote is beyond contradiction."""
UNKNOWN = 0.5


def probability(confidence: Confidence) -> float:
    """The chance that the sample is right, as its tokens have it: exp of their mean log-probability, inside (0, 1)."""
    logprob = confidence.logprob if confidence.answer is None else confidence.answer
    return min(CERTAIN, max(1 - CERTAIN, exp(min(0.0, logprob))))


def _probability(ballot: Ballot) -> float:
    return UNKNOWN if ballot.confidence is None else probability(ballot.confidence)


def confident(threshold: Threshold = 0.9) -> Rule:
    """Stop when one sample for the leading answer is at least this sure of itself.

    Self-Calibration (arXiv 2503.00031), early stopping of best-of-N: draw until a sample's confidence passes.
    """

    def reached(evidence: Evidence) -> bool:
        leader = evidence.leader
        sure = (probability(b.confidence) for b in evidence.ballots if b.answer == leader and b.confidence)
        return max(sure, default=0.0) >= threshold - SLACK

    return certain_when(spelled("confident", threshold), reached, ballots=True, confidence=True)


def confident_share(threshold: Threshold = 0.8) -> Rule:
    """Stop when the leader holds `threshold` of all votes, each weighted by its probability; from the second vote on.

    Self-Calibration (arXiv 2503.00031), adaptive self-consistency with confidence. A lone vote always holds all.
    """

    def reached(evidence: Evidence) -> bool:
        weights = [_probability(ballot) for ballot in evidence.ballots]
        return evidence.voters > 1 and _leaders_part(evidence, weights) >= threshold - SLACK

    return certain_when(spelled("confident-share", threshold), reached, ballots=True, confidence=True)


def deepconf(threshold: Threshold = 0.95, warmup: Count = 16) -> Rule:
    """Stop when the leader holds `threshold` of all votes, weighted by mean token confidence, after `warmup` votes.

    DeepConf (arXiv 2508.15260), online algorithm, adaptive sampling: beta = V(leader) / sum of V, V summing trace
    confidences. Their warm-up of 16 traces always runs; this rule cuts no trace and filters none.
    """

    def reached(evidence: Evidence) -> bool:
        known = [ballot.confidence.mean for ballot in evidence.ballots if ballot.confidence]
        usual = fmean(known) if known else 1.0
        weights = [ballot.confidence.mean if ballot.confidence else usual for ballot in evidence.ballots]
        return evidence.voters >= warmup and _leaders_part(evidence, weights) >= threshold - SLACK

    return certain_when(spelled("deepconf", threshold, warmup), reached, ballots=True, confidence=True)


def _leaders_part(evidence: Evidence, weights: Sequence[float]) -> float:
    """The leader's part of all weight; 0 where there is none."""
    leader, total = evidence.leader, sum(weights)
    own = sum(weight for ballot, weight in zip(evidence.ballots, weights, strict=True) if ballot.answer == leader)
    return own / total if total > 0 else 0.0


def cges(threshold: Threshold = 0.95) -> Rule:
    """Stop when the posterior probability of the leading answer reaches `threshold`.

    CGES (arXiv 2511.02603): see `posterior`.
    """

    def reached(evidence: Evidence) -> bool:
        ballots = [(ballot.answer, _probability(ballot)) for ballot in evidence.ballots]
        return posterior(ballots, evidence.leader) >= threshold - SLACK

    return certain_when(spelled("cges", threshold), reached, ballots=True, confidence=True)


def posterior(ballots: Sequence[tuple[str, float]], answer: str | None) -> float:
    """The probability that `answer` is right, given (answer, confidence in (0, 1)) of every ballot, from a flat prior.

    CGES (arXiv 2511.02603): the score of a candidate is the product of c over the ballots for it and (1 - c) / (K - 1)
    over the others; candidates are the answers seen and one OTHER for all unseen, so K - 1 is the number seen.
    """
    support: dict[str, float] = {}
    against = 0.0
    seen = len({name for name, _ in ballots})
    for name, c in ballots:
        miss = log((1 - c) / seen)
        against += miss
        support[name] = support.get(name, 0.0) + log(c) - miss
    if answer not in support:
        return 0.0
    # Relative to OTHER, whose score is `against`; the largest is taken out before exp.
    peak = max(0.0, *support.values())
    total = exp(-peak) + sum(exp(score - peak) for score in support.values())
    return exp(support[answer] - peak) / total
