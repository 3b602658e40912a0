"""When a program that may abstain has sampled enough: its answer can be given, or no further samples could change that.

What withholds an answer (`core.budget.Budget.settle`) is what ends the sampling: else a unanimous vote would end it
before the answer may be given, with samples left that would have made it so.
"""

from core.budget import Budget
from core.calibration import Profile
from core.evidence import Evidence
from core.stopping.consistency import adaptive_consistency
from core.stopping.guards import out_of_reach
from core.stopping.rule import Rule
from core.types import StopReason


def until_answerable(budget: Budget, profile: Profile, width: int) -> Rule:
    """Stop where the answer can be given, or never will be; a mere lead is not curtailed: more votes can settle it.

    Uncalibrated: the Beta certainty has reached the target, or cannot. Calibrated: it stops there, too, as the runs
    did that the level of withholding was certified on, but only if the calibrated certainty has reached that level;
    else it goes on while agreement could still raise it so far.
    """
    settled = adaptive_consistency(budget.target) | out_of_reach(budget.target)
    if not profile.calibrated:
        return settled
    least = profile.least(budget.target, cap=budget.max_samples, width=width)
    return settled & _reached(profile, least) | _unreachable(profile, least)


def _reached(profile: Profile, least: float) -> Rule:
    """The calibrated certainty is at least this."""

    def check(evidence: Evidence) -> StopReason | None:
        return StopReason.CERTAIN if (profile.certainty(evidence) or 0.0) >= least else None

    return Rule(f"calibrated-{least:g}", check, ballots=_reads_ballots(profile))


def _unreachable(profile: Profile, least: float) -> Rule:
    """It would not be, even if all that remain backed the leader."""

    def check(evidence: Evidence) -> StopReason | None:
        if not evidence.remaining or (profile.certainty(evidence) or 0.0) >= least:
            return None
        best = profile.certainty(evidence.agreed(evidence.remaining)) or 0.0
        return StopReason.CURTAILED if best < least else None

    return Rule(f"calibrated-out-of-reach-{least:g}", check, ballots=_reads_ballots(profile))


def _reads_ballots(profile: Profile) -> bool:
    return any(name == "confidence" and weight for name, weight in profile.weights)
