"""Best of N: one sample by its own score, whatever the others say."""

from collections import Counter
from collections.abc import Sequence

from core.types import Outcome, Sample
from strategies.selectors.confidences import measured
from strategies.selectors.selection import Score, Selection, Selector, length, plain, ranked, scored, voters


def best_of(score: Score, name: str = "best-of", *, confidence: bool = False, text: bool = False) -> Selector:
    """The sample with the highest score, the earlier among equals.

    Scored are the samples that vote; where none does (free text), the whole and non-empty ones. `distribution` and
    `share` count votes: how many agree with the chosen one, which need not be the majority.
    """

    def choose(samples: Sequence[Sample]) -> Selection:
        known = scored(voters(samples) or _whole(samples), score)
        if not known:
            return plain(samples)
        chosen, _ = max(known, key=lambda pair: pair[1])
        counts = Counter(sample.answer for sample in samples if sample.answer is not None)
        share = counts[chosen.answer] / counts.total() if chosen.answer is not None else 0.0
        return Selection(chosen, ranked((answer, float(count)) for answer, count in counts.items()), share)

    return Selector(name, choose, confidence=confidence, text=text)


def best_of_measure(measure: str) -> Selector:
    """The sample whose tokens were surest by one of `strategies.selectors.confidences.MEASURES`."""
    return best_of(measured(measure), f"best-of-{measure}", confidence=True)


def best_of_shortest() -> Selector:
    """The shortest sample: what First Finish Search (arXiv 2505.18149) and short-1@k (arXiv 2505.17813) return."""
    return best_of(_shortness, "best-of-shortest")


def _shortness(sample: Sample) -> float | None:
    tokens = length(sample)
    return None if tokens is None else -tokens


def _whole(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.outcome is Outcome.FINISHED and not sample.empty]
