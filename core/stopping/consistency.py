"""Adaptive-Consistency (Aggarwal et al., EMNLP 2023, arXiv 2305.11860): its Beta test, as published the default."""

from core.certainty import beta_certainty
from core.evidence import Evidence
from core.stopping.rule import Rule
from core.types import StopReason


def adaptive_consistency(threshold: float = 0.95) -> Rule:
    """Stop when P(p > 1/2) for p ~ Beta(lead + 1, second + 1) reaches `threshold` (section 3.2, the Beta criterion)."""

    def check(evidence: Evidence) -> StopReason | None:
        if evidence.counts and beta_certainty(evidence.lead, evidence.second) >= threshold:
            return StopReason.CERTAIN
        return None

    return Rule(f"adaptive-consistency-{threshold:g}", check)
