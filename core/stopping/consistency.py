"""Adaptive-Consistency (Aggarwal et al., EMNLP 2023, arXiv 2305.11860): its Beta test, as published the default.

And the criteria it was compared with (section 3.2 and the released code).
"""

from math import log

from core.certainty import beta_certainty, crp_certainty, dirichlet_certainty, entropy
from core.evidence import Evidence
from core.stopping.parameters import SLACK, Count, Threshold, certain_when, spelled
from core.stopping.rule import Rule


def adaptive_consistency(threshold: Threshold = 0.95) -> Rule:
    """Stop when P(p > 1/2) for p ~ Beta(lead + 1, second + 1) reaches `threshold` (section 3.2, the Beta criterion)."""
    name = spelled("adaptive-consistency", threshold)
    return certain_when(name, lambda e: beta_certainty(e.lead, e.second) >= threshold)


def dirichlet_consistency(threshold: Threshold = 0.95) -> Rule:
    """Stop when P(the leader's share is the largest) under Dirichlet(1 + counts) reaches `threshold`.

    The released code integrates by Monte Carlo over the five largest counts; here over all of them, deterministically.
    """

    def reached(evidence: Evidence) -> bool:
        bound = beta_certainty(evidence.lead, evidence.second)
        return bound >= threshold and dirichlet_certainty(evidence.counts) >= threshold

    return certain_when(spelled("adaptive-consistency-dirichlet", threshold), reached)


def crp_consistency(threshold: Threshold = 0.95, concentration: Count = 1) -> Rule:
    """Stop when P(the leader's share is the largest) under a Chinese restaurant process reaches `threshold`.

    The paper names the criterion and releases no code: the posterior is Dirichlet(counts, concentration), unseen
    answers are one rival, and the concentration is a given whole number.
    """

    def reached(evidence: Evidence) -> bool:
        # Against the runner-up alone it is the Beta test of one vote less each, which costs far less to rule out.
        bound = beta_certainty(evidence.lead - 1, evidence.second - 1) if evidence.second else 1.0
        return bound >= threshold - SLACK and crp_certainty(evidence.counts, concentration) >= threshold

    return certain_when(spelled("adaptive-consistency-crp", threshold, concentration), reached)


def entropy_consistency(threshold: Threshold = 0.75) -> Rule:
    """Stop when the entropy, relative to that of equal shares of the answers seen, is at most `threshold`.

    Lower is stricter. As in the released code: from the second vote on, and a lone answer is held against one vote for
    another, so that n-0 reads as n-1. Not a test of the lead: the tie 12-12-1-1-1 reads 0.68.
    """

    def reached(evidence: Evidence) -> bool:
        counts = evidence.counts if len(evidence.counts) > 1 else (*evidence.counts, 1)
        return evidence.voters > 1 and entropy(counts) / log(len(counts)) <= threshold + SLACK

    return certain_when(spelled("adaptive-consistency-entropy", threshold), reached)


def majority_consistency(threshold: Threshold = 0.8) -> Rule:
    """Stop when the leader's share of the votes reaches `threshold`, from the second vote on (released code)."""
    name = spelled("adaptive-consistency-majority", threshold)
    return certain_when(name, lambda e: e.voters > 1 and e.lead / e.voters >= threshold - SLACK)
