"""Does a calibrated certainty still keep what it says? An alarm that may be looked at after every outcome.

Some requests get shadow samples: did they bear out the answer? Each gives a stated probability and what came of it.
While E[outcome | past] is within `MARGIN` of the stated probability, betting on more than that cannot win: outcomes
rarer than stated - `MARGIN`, or more frequent than stated + `MARGIN`. For each shift of the log-odds, stakes grow by
1 + (q - p) / (p (1 - p)) (outcome - p), p the end of the margin on that side, q the shifted probability: the likelihood
ratio where the outcome is 0 or 1, fair for a share as well. Stakes are laid down at every outcome anew, the k-th with
the part 1 / (k (k + 1)) of the capital: a drift that begins late is found, although the time before spoke against it.
The sum is an e-process (test supermartingale; Shafer 2021; Ramdas et al. 2023): while every stated probability is right
to within the margin, it ever reaches 1 / alpha with probability at most alpha (Ville's inequality).
"""

from dataclasses import dataclass
from enum import StrEnum
from math import exp

from core.calibration import FLOOR, log_odds

SHIFTS = (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)
"""Shifts of the log-odds that are bet on: outcomes rarer than stated, and more frequent."""
MARGIN = 0.03
"""Distance of a stated probability from what comes of it that is no drift yet: the error that calibration accepts."""
RICHEST = 1e12
"""Capital beyond this is given away, so that numbers stay finite; that makes no alarm more likely."""


class Drifted(StrEnum):
    """Which way a certainty has gone wrong."""

    OVERCONFIDENT = "overconfident"
    """Outcomes are rarer than stated."""
    UNDERCONFIDENT = "underconfident"
    """Outcomes are more frequent than stated."""


@dataclass(frozen=True, slots=True)
class Watch:
    """All that is kept of the outcomes so far: their number, sums of stated and observed, and one stake per shift."""

    count: int = 0
    stated: float = 0.0
    observed: float = 0.0
    stakes: tuple[float, ...] = (0.0,) * len(SHIFTS)

    def after(self, stated: float, outcome: float) -> "Watch":
        """The watch after one more outcome in [0, 1] that was stated with this probability."""
        ends = max(FLOOR, stated - MARGIN), min(1 - FLOOR, stated + MARGIN)
        lower, upper = ((p, log_odds(p), p * (1 - p)) for p in ends)
        laid = 1 / ((self.count + 1) * (self.count + 2))
        stakes = []
        for shift, stake in zip(SHIFTS, self.stakes, strict=True):
            p, odds, variance = lower if shift < 0 else upper
            q = 1 / (1 + exp(-odds - shift))
            stakes.append(min(RICHEST, (stake + laid) * (1 + (q - p) / variance * (outcome - p))))
        return Watch(self.count + 1, self.stated + stated, self.observed + outcome, tuple(stakes))

    @property
    def evidence(self) -> float:
        """The e-value against calibration to within `MARGIN`, 1 at the start."""
        return (self.over + self.under) / 2

    @property
    def over(self) -> float:
        """The e-value against calibration in favour of over-confidence."""
        return self._side(below=True)

    @property
    def under(self) -> float:
        """The e-value against calibration in favour of under-confidence."""
        return self._side(below=False)

    def _side(self, *, below: bool) -> float:
        """The mean capital of the shifts on one side: their stakes, and what is not yet laid down."""
        own = [stake for shift, stake in zip(SHIFTS, self.stakes, strict=True) if (shift < 0) is below]
        return sum(own) / len(own) + 1 / (self.count + 1)

    def alarm(self, alpha: float) -> Drifted | None:
        """Which way it drifted, where the evidence is at least 1 / alpha.

        Looked at after every outcome, it is ever wrong with probability at most `alpha`: that is, it comes although all
        stated probabilities are right to within `MARGIN`.
        """
        if self.evidence < 1 / alpha:
            return None
        return Drifted.OVERCONFIDENT if self.over >= self.under else Drifted.UNDERCONFIDENT
