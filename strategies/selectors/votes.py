"""A vote that counts as always, and whose answer is chosen by a selector."""

from collections.abc import Mapping
from dataclasses import replace

from core.calibration import UNCALIBRATED, Profile
from core.certainty import beta_certainty
from core.types import Answer, Sample, StopReason
from core.votes import Votes
from strategies.selectors.selection import Selection, Selector

LAG = 16
"""While sampling goes on, a selection stands until a sixteenth more samples have finished: the work stays linear."""


class SelectedVotes(Votes):
    """The plain vote decides when to stop (counts, evidence and leader are its own), the selector what is said.

    An answer other than the leader's has the certainty that the counts give it against the leader: at most 1/2. Where
    the selector abstains, the leader is kept as the sample, with the stop reason `abstained`.
    """

    def __init__(self, selector: Selector, profile: Profile = UNCALIBRATED) -> None:
        super().__init__(profile)
        self._selector = selector
        self._samples: list[Sample] = []
        self._selection = Selection(None)
        self._due = 0

    def add(self, sample: Sample) -> None:
        """See `core.votes.Votes.add`; the sample is kept for the selector."""
        super().add(sample)
        self._samples.append(sample)

    def answer(self, stop_reason: StopReason, settled: float | None = None) -> Answer:
        """What the selector chooses. As a report in case of the deadline it may lag by a sixteenth of the samples."""
        if stop_reason is not StopReason.DEADLINE or len(self._samples) >= self._due:
            self._selection = self._selector(self._samples)
            self._due = len(self._samples) + max(1, len(self._samples) // LAG)
        plain = super().answer(stop_reason, settled)
        chosen = self._selection.sample
        if chosen is None:
            share, below = self._selection.share, self._selection.below
            withheld = replace(plain, stop_reason=StopReason.ABSTAINED, share=share, below=below)
            return withheld if self._samples else plain
        if chosen.answer is None or chosen.answer == self.leader:
            return replace(plain, sample=chosen)
        counts: Mapping[str, int] = dict(plain.distribution)
        against = beta_certainty(counts[chosen.answer], self.top_two[0])
        return replace(plain, sample=chosen, certainty=against, calibrated=False)  # a profile speaks of leaders alone


def votes_for(selector: Selector, profile: Profile = UNCALIBRATED) -> Votes:
    """The tally that answers by this selector; the plain majority keeps no samples beyond the first of each answer."""
    return Votes(profile) if selector.name == "majority" else SelectedVotes(selector, profile)
