"""Figures of recorded questions: how often right alone and by vote, how scattered, how soon, how well judged.

A figure is nan where a trace cannot give it.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

Line = dict[str, Any]
Sample = dict[str, Any]

# Majority of k is the mean over this many random subsets per question, with a fixed seed.
_SUBSETS = 200


def pass_at(samples: Sequence[Sample], k: int) -> float:
    """Probability that at least one of k samples, drawn without replacement, is right; nan with fewer than k.

    The unbiased estimate of Chen et al. 2021 (Codex), section 2.1.
    """
    if len(samples) < k:
        return math.nan
    wrong = sum(not sample["correct"] for sample in samples)
    return 1.0 - math.comb(wrong, k) / math.comb(len(samples), k)


def majority_at(line: Line, k: int) -> float:
    """Probability that the most frequent answer of k random samples is right; nan with fewer than k.

    A tie goes to the answer seen first; samples without an answer do not vote.
    """
    samples = line["samples"]
    if len(samples) < k:
        return math.nan
    if (certain := _certain(samples, k)) is not None:
        return certain
    rng = random.Random(line["id"])
    return sum(_majority_right(rng.sample(samples, k)) for _ in range(_SUBSETS)) / _SUBSETS


def _certain(samples: Sequence[Sample], k: int) -> float | None:
    """What every subset of k would say, where that needs no drawing: nobody is right, everybody is, or all vote."""
    right = sum(sample["correct"] for sample in samples)
    if right in (0, len(samples)):
        return float(right > 0)
    votes = Counter(sample["answer"] for sample in samples if sample["answer"] is not None).most_common(2)
    tied = len(votes) > 1 and votes[0][1] == votes[1][1]
    return None if k < len(samples) or tied else float(_majority_right(samples))


def _majority_right(samples: Sequence[Sample]) -> bool:
    votes = Counter(sample["answer"] for sample in samples if sample["answer"] is not None)
    if not votes:
        return False
    leader = votes.most_common(1)[0][0]
    return any(sample["correct"] for sample in samples if sample["answer"] == leader)


def best_at(samples: Sequence[Sample], k: int, score: str) -> float:
    """Probability that the one of k random samples with the highest score is right; ties are broken by chance.

    `score`: the samples' key that holds it. nan with fewer than k samples, or where one has no score.
    """
    if len(samples) < k or any(sample.get(score) is None for sample in samples):
        return math.nan
    ordered = sorted(samples, key=lambda sample: float(sample[score]), reverse=True)
    right, left = 0.0, len(ordered)
    for _, group in groupby(ordered, key=lambda sample: float(sample[score])):
        tied = [sample["correct"] for sample in group]
        # All k among the samples that are no better, less all k among those that are worse.
        reached = math.comb(left, k) - math.comb(left - len(tied), k)
        right += reached * mean(tied)
        left -= len(tied)
    return right / math.comb(len(ordered), k)


def weighted_at(line: Line, k: int, score: str) -> float:
    """Probability that the answer with the most score in k random samples is right; nan as of `best_at`.

    A vote in which every sample weighs as much as its score (Li et al. 2023, arXiv 2206.02336, section 3.2).
    """
    samples = line["samples"]
    if len(samples) < k or any(sample.get(score) is None for sample in samples):
        return math.nan
    rng = random.Random(line["id"])
    return sum(_weightiest_right(rng.sample(samples, k), score) for _ in range(_SUBSETS)) / _SUBSETS


def _weightiest_right(samples: Sequence[Sample], score: str) -> bool:
    votes: dict[str, float] = {}
    for sample in samples:
        if sample["answer"] is not None:
            votes[sample["answer"]] = votes.get(sample["answer"], 0.0) + sample[score]
    leader = max(votes, key=votes.__getitem__, default=None)
    return any(sample["correct"] for sample in samples if leader is not None and sample["answer"] == leader)


def greedy(line: Line) -> float:
    """Whether the answer at temperature 0 is right."""
    return float(line["greedy"]["correct"]) if "greedy" in line else math.nan


def entropy(samples: Iterable[Sample]) -> float:
    """Entropy of the answers of all samples, in nats; samples without an answer do not count, nan without any."""
    votes = Counter(sample["answer"] for sample in samples if sample["answer"] is not None)
    total = sum(votes.values())
    return math.log(total) - sum(n * math.log(n) for n in votes.values()) / total if total else math.nan


def forced_right(line: Line, share: float) -> float:
    """Share of the probed samples whose forced answer is right after this share of the lines' tokens.

    It is the last answer forced no later than there: of a thought of 100 tokens, at 0.25 the last of 25 tokens at most.
    """
    courses = [sample["probes"] for sample in line["samples"] if sample.get("probes")]
    return mean([float(_answer_at(course, share) == line["gold"]) for course in courses])


def _answer_at(course: Sequence[Sequence[Any]], share: float) -> str | None:
    until = share * course[-1][0]
    answer: str | None = [answer for tokens, answer, _ in course if tokens <= until][-1]
    return answer


def unanswered(samples: Sequence[Sample]) -> float:
    """Share of the samples without an answer."""
    return mean([float(sample["answer"] is None) for sample in samples])


def after_stated(samples: Iterable[Sample]) -> float:
    """Mean share of the thought that comes after its first stated answer, of the thoughts that state one."""
    told = [sample for sample in samples if sample.get("stated") is not None and sample["thought"]]
    return mean([1 - sample["stated"] / sample["thought"] for sample in told])


def auroc(scored: Iterable[tuple[float, bool]]) -> float:
    """Probability that a right sample has a higher score than a wrong one, ties half; nan if either kind is missing.

    The Mann-Whitney statistic, from mean ranks.
    """
    ordered = sorted(scored, key=lambda pair: pair[0])
    ranks, right, place = 0.0, 0, 0
    for _, tied in groupby(ordered, key=lambda pair: pair[0]):
        flags = [flag for _, flag in tied]
        ranks += sum(flags) * (place + (len(flags) + 1) / 2)
        right += sum(flags)
        place += len(flags)
    wrong = place - right
    return (ranks - right * (right + 1) / 2) / (right * wrong) if right and wrong else math.nan


def mean(values: Sequence[float]) -> float:
    """The mean, nan of nothing."""
    return sum(values) / len(values) if values else math.nan


def mean_known(values: Iterable[float]) -> float:
    """The mean of those that are not nan."""
    return mean([value for value in values if not math.isnan(value)])
