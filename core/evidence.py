"""What is known when a sample completes: the counts that rules decide on, and the ballots they were counted from."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.types import Confidence


@dataclass(frozen=True, slots=True)
class Ballot:
    """One vote: a canonical answer, the completion tokens it took, and how sure the model's tokens were, if known."""

    answer: str
    tokens: int = 0
    confidence: Confidence | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when a sample completes.

    `counts` are the votes by answer, largest first (`lead` and `second` are the first two, 0 where there is none).
    `remaining` are the samples that may still vote: in flight, waiting, or not yet launched within the cap.
    `finished` counts every sample that said something, `whole` those of them that were not truncated.
    `ballots` are the votes in order of completion; a rule that needs the counts alone is given none in its tests.
    """

    counts: tuple[int, ...]
    remaining: int
    finished: int = 0
    whole: int = 0
    ballots: Sequence[Ballot] = ()

    @property
    def lead(self) -> int:
        """Votes of the leader."""
        return self.counts[0] if self.counts else 0

    @property
    def second(self) -> int:
        """Votes of the runner-up."""
        return self.counts[1] if len(self.counts) > 1 else 0

    @property
    def voters(self) -> int:
        """Samples that voted."""
        return sum(self.counts)

    @property
    def others(self) -> int:
        """Finished samples that back neither of the top two: votes for other answers, and samples that did not vote."""
        return max(self.finished, self.voters) - self.lead - self.second

    @property
    def leader(self) -> str | None:
        """The answer with the most ballots, the earliest seen among equals."""
        tally: dict[str, int] = {}
        for ballot in self.ballots:
            tally[ballot.answer] = tally.get(ballot.answer, 0) + 1
        return max(tally, key=tally.__getitem__, default=None)

    def agreed(self, more: int, *, ballots: bool = True) -> "Evidence":
        """The evidence after `more` of the remaining samples have backed the leader, each like its last ballot.

        Without `ballots` the counts alone, which is all that most rules read.
        """
        return Evidence(  # built, not replaced: looking ahead is the dearest part of a decision
            (self.lead + more, *self.counts[1:]),
            self.remaining - more,
            self.finished + more,
            self.whole + more,
            [*self.ballots, *[self._backing()] * more] if ballots else (),
        )

    def _backing(self) -> Ballot:
        """The last ballot of the leader."""
        leader = self.leader
        return next((ballot for ballot in reversed(self.ballots) if ballot.answer == leader), Ballot(leader or ""))
