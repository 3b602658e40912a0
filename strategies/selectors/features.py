"""Votes weighted by what the text looks like: its length, its doubts, its steps. No model, no log-probabilities."""

import re
from collections.abc import Sequence
from statistics import fmean

from core.errors import InvalidRequest
from core.types import Sample
from strategies.answers import split_reasoning
from strategies.selectors.selection import Selection, Selector, length, plain, scored, top, voters, weighted

HEDGES = frozenset(
    "apparently could guess hopefully likely maybe might perhaps possibly presumably probably roughly seemingly seems "
    "somewhat supposedly unclear unlikely unsure".split()
)
"""Words of doubt."""
MARKERS = frozenset("actually alternatively hm hmm hmmm mistake oops recheck reconsider rethink wait".split())
"""Words with which a thought turns around."""
_WORD = re.compile(r"[a-z']+")
_SENTENCE = re.compile(r"[.!?](?:\s|$)")


def features() -> Selector:
    """A vote in which short samples with few doubts weigh more: 1 / (1 + mean of three relative features).

    The features are the completion tokens and the rates of hedges and of thinking markers per word, each over its mean
    among the voters: the average sample weighs 1/2, one of twice the features 1/3. "Think Deep, Think Fast" (arXiv
    2504.14047) finds that right answers of reasoning models are shorter and have fewer of both; it gives no weights,
    and its word lists are not ours.
    """
    return Selector("features", _by_features, text=True)


def _by_features(samples: Sequence[Sample]) -> Selection:
    voting = voters(samples)
    rows = [row for sample in voting if (row := measures(sample)) is not None]
    if not rows or len(rows) < len(voting):
        return plain(samples)
    means = [fmean(column) for column in zip(*rows, strict=True)]
    weights = [1.0 / (1.0 + fmean(map(_relative, row, means))) for row in rows]
    return weighted(list(zip(voting, weights, strict=True))) or plain(samples)


def _relative(value: float, mean: float) -> float:
    """Over the mean; 1 where all are 0."""
    return value / mean if mean else 1.0


def measures(sample: Sample) -> tuple[float, float, float] | None:
    """Completion tokens, hedges per word and markers per word, in whole words of any case; None without words."""
    tokens, words = length(sample), _WORD.findall(text_of(sample).lower())
    if tokens is None or not words:
        return None
    return tokens, sum(map(HEDGES.__contains__, words)) / len(words), sum(map(MARKERS.__contains__, words)) / len(words)


def complexity(share: float) -> Selector:
    """The majority among the samples with the most steps, `share` of the voters rounded up.

    Complexity-based consistency (Fu et al., arXiv 2210.00720): for models that reason in lines of their answer; the
    opposite holds for those that think at length (arXiv 2504.14047).
    """
    if not 0 < share <= 1:
        raise InvalidRequest("complexity keeps a share above 0 and at most 1.", param="selector")

    def choose(samples: Sequence[Sample]) -> Selection:
        known = scored(voters(samples), steps)
        return plain([sample for sample, _ in top(known, share)]) if known else plain(samples)

    return Selector(f"complexity-{share:g}", choose, text=True)


def steps(sample: Sample) -> float | None:
    """Lines that say something, or sentences where all is on one line; None without text."""
    text = text_of(sample)
    lines = sum(1 for line in text.splitlines() if line.strip())
    return float(lines if lines > 1 else max(1, len(_SENTENCE.findall(text)))) if lines else None


def text_of(sample: Sample) -> str:
    """What a sample thought and said, one after the other."""
    return "\n".join(filter(None, split_reasoning(sample.message)))
