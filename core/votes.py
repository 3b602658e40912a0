"""Votes over canonical answers, and the certainty that follows from the counts."""

from core.calibration import UNCALIBRATED, Profile
from core.evidence import Ballot, Evidence
from core.types import Answer, Outcome, Sample, StopReason


class Votes:
    """Running tally of the samples of one program. Samples without an answer are counted but do not vote."""

    def __init__(self, profile: Profile = UNCALIBRATED) -> None:
        self.profile = profile
        self._tally: dict[str, int] = {}
        self._first: dict[str, Sample] = {}
        self._fallback: Sample | None = None
        self.ballots: list[Ballot] = []
        self.finished = 0
        self.whole = 0

    def add(self, sample: Sample) -> None:
        """Count a sample; a tie later goes to the answer that was seen first."""
        self.finished += 1
        self.whole += sample.outcome is Outcome.FINISHED
        if sample.usable and self._better_fallback(sample):
            self._fallback = sample
        if sample.answer is None:
            return
        self.ballots.append(Ballot(sample.answer, sample.usage.completion, sample.confidence))
        self._tally[sample.answer] = self._tally.get(sample.answer, 0) + 1
        self._first.setdefault(sample.answer, sample)

    def _better_fallback(self, sample: Sample) -> bool:
        """Without any vote the first sample that says most stands: whole, else truncated, else empty."""
        return self._fallback is None or _weight(sample) > _weight(self._fallback)

    @property
    def voters(self) -> int:
        """Samples that carried an answer."""
        return sum(self._tally.values())

    @property
    def leader(self) -> str | None:
        """The answer with the most votes, the earliest seen among equals."""
        return max(self._tally, key=self._tally.__getitem__, default=None)

    @property
    def top_two(self) -> tuple[int, int]:
        """Vote counts of the leader and the runner-up (0 where there is none)."""
        lead, second = [*sorted(self._tally.values(), reverse=True), 0, 0][:2]
        return lead, second

    @property
    def certainty(self) -> float | None:
        """How sure the leader is, by the profile; None while nobody has voted."""
        return self.profile.certainty(self.evidence(remaining=0))

    @property
    def distribution(self) -> tuple[tuple[str, int], ...]:
        """Votes by answer, largest first, first seen first among equals."""
        return tuple(sorted(self._tally.items(), key=lambda item: -item[1]))

    @property
    def selected(self) -> Sample | None:
        """The first sample that gave the leading answer; without votes the first whole sample."""
        leader = self.leader
        return self._fallback if leader is None else self._first[leader]

    def evidence(self, *, remaining: int) -> Evidence:
        """The evidence that this tally holds while `remaining` samples may still vote. The ballots are not copied."""
        counts = tuple(sorted(self._tally.values(), reverse=True))
        return Evidence(counts, remaining, self.finished, self.whole, self.ballots)

    def answer(self, stop_reason: StopReason, settled: float | None = None) -> Answer:
        """The tally as it stands, as an answer; `settled` is the probability that the full budget would give it."""
        evidence = self.evidence(remaining=0)
        certainty, calibrated = self.profile.certainty(evidence), self.profile.covers(evidence)
        return Answer(self.selected, stop_reason, certainty, self.distribution, settled, calibrated)


def _weight(sample: Sample) -> int:
    """How much an answer without votes is worth: 2 whole, 1 truncated, 0 empty."""
    if sample.empty:
        return 0
    return 2 if sample.outcome is Outcome.FINISHED else 1
