"""What one more sample is worth to a program, from the answer it has reported: the scheduler's signal."""

from core.stopping.value import best_ahead
from core.types import Answer


def worth(answer: Answer, *, finished: int, remaining: int) -> float | None:
    """Expected gain per further sample, as the square of a share of the votes (`core.stopping.value.best_ahead`).

    `finished` are the samples that said something, `remaining` those that may still vote. None where nothing has been
    found that could be compared; 0 where nobody can overtake any more.
    """
    if not answer.distribution:
        return None
    counts = sorted((votes for _, votes in answer.distribution), reverse=True)
    lead, second = counts[0], counts[1] if len(counts) > 1 else 0
    others = max(finished, sum(counts)) - lead - second
    return best_ahead(lead, second, others, remaining)[0] if remaining > 0 else 0.0
