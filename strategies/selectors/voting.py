"""Votes that count alike, or by the length of what backs them."""

from collections.abc import Callable, Sequence
from math import e, log
from statistics import fmean

from core.types import Sample
from strategies.selectors.selection import Selection, Selector, length, plain, ranked, scored, voters


def majority() -> Selector:
    """The most frequent answer, a tie goes to the one seen first (self-consistency, arXiv 2203.11171)."""
    return Selector("majority", plain)


def majority_tie_shortest() -> Selector:
    """The most frequent answer by its shortest sample; a tie goes to the answer with the shortest sample of all.

    The vote of short-m@k (Hassid et al., arXiv 2505.17813), which takes it over the first m chains to finish.
    """
    return Selector("majority-tie-shortest", lambda samples: _by_length(samples, lambda lengths: float(len(lengths))))


def shortest_majority() -> Selector:
    """Shortest Majority Vote: an answer weighs c / ln(l), with c votes of mean length l tokens.

    Zeng et al., arXiv 2502.12215, which gives this score for each group of equal answers. The logarithm makes it mild:
    a group of twice the length, 1,000 tokens against 500, loses a tenth of its weight. Under e tokens, where the
    logarithm would leave [1, inf), votes count alike; the paper has no such case.
    """
    return Selector("shortest-majority", lambda samples: _by_length(samples, _over_log_length))


def _over_log_length(lengths: Sequence[float]) -> float:
    return len(lengths) / log(max(e, fmean(lengths)))


def _by_length(samples: Sequence[Sample], weigh: Callable[[Sequence[float]], float]) -> Selection:
    """The answer whose lengths weigh most, a tie to the one with the shortest sample; chosen is its shortest."""
    known = scored(voters(samples), length)
    if not known:
        return plain(samples)
    groups: dict[str, list[tuple[Sample, float]]] = {}
    for sample, tokens in known:
        groups.setdefault(sample.answer or "", []).append((sample, tokens))
    weights = {answer: weigh([tokens for _, tokens in group]) for answer, group in groups.items()}
    winner = max(weights, key=lambda answer: (weights[answer], -min(tokens for _, tokens in groups[answer])))
    chosen, _ = min(groups[winner], key=lambda vote: vote[1])
    others = sorted(weights.items(), key=lambda item: item[0] != winner)
    return Selection(chosen, ranked(others), weights[winner] / sum(weights.values()))
