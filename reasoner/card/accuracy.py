"""Blocks of the card on how often the models are right: by bin, by vote, by size, and for a newcomer."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from reasoner.card.sources import FAMILIES, VOTES, Recording, Sources
from reasoner.card.tables import points, share, table
from reasoner.evaluate import FIRST, SECOND, drawn
from reasoner.figures import Line, greedy, mean, pass_at
from reasoner.orderings import BINS, LETTERS
from reasoner.sets import OWNERS, Task

NOTHING = "Not recorded yet: there is no trace of held-out questions in `reasoner/traces`."
MIDDLE = (0.25, 0.75)
"""A model's middle bins: one sample is right so often, guesses taken off."""
GUESSED: Mapping[str, float] = {bin_: 1 / min(level.people, len(LETTERS)) for bin_, level in BINS.items()}
"""How often who only guesses a letter is right; numbers are not guessed."""
PAIR = ("reasoner-small", "reasoner-large")
"""Between whom size is judged."""
_NORMAL = 1.96


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean over questions with the half-width of its 95 % interval (normal, questions independent)."""

    mean: float
    half: float

    def __str__(self) -> str:
        """In percentage points."""
        return f"{points(self.mean)} ±{100 * self.half:.1f}" if not math.isnan(self.half) else points(self.mean)


def difference(values: Sequence[float]) -> Difference:
    """Of one value per question; the interval is nan of fewer than two."""
    middle = mean(values)
    if len(values) < 2:
        return Difference(middle, math.nan)
    variance = sum((value - middle) ** 2 for value in values) / (len(values) - 1)
    return Difference(middle, _NORMAL * math.sqrt(variance / len(values)))


def accuracy(sources: Sources) -> str:
    """Both tables of `python -m reasoner evaluate` for every model."""
    parts = (
        "\n\n".join((f"### {model}", *(drawn(list(recording.rows.values()), names) for names in (FIRST, SECOND))))
        for model, recording in sources.reported.items()
    )
    return "\n\n".join(parts) or NOTHING


def newcomer(sources: Sources) -> str:
    """How many of the newcomer's questions each model answers: one table."""
    recorded = {model: each.rows["newcomer"] for model, each in sources.reported.items() if "newcomer" in each.rows}
    if not recorded:
        return "Not recorded yet: no trace has the newcomer's questions."
    figures = ("pass@1", "greedy", *(f"maj@{k}" for k in VOTES), "pass@32")
    rows = ([model, row["questions"], *(share(row[name]) for name in figures)] for model, row in recorded.items())
    return table(("model", "questions", *figures), rows)


def middle_bins(sources: Sources, recording: Recording) -> tuple[str, ...]:
    """The bins of a model in which one sample is right a quarter to three quarters of the time, guesses taken off.

    Which they are is read from its calibration recording, where there is one: figures of bins that were chosen by the
    same samples would flatter.
    """
    judged = sources.chosen.get(recording.model, recording)
    found = (bin_ for task in FAMILIES for bin_ in judged.bins(task))
    return tuple(
        bin_ for bin_ in found
        if MIDDLE[0] <= known(bin_, judged.single[bin_]) <= MIDDLE[1] and bin_ in recording.of_bins
    )  # fmt: skip


def known(bin_: str, right: float) -> float:
    """The share of questions whose answer is known, if all others are guessed: (right - guessed) / (1 - guessed)."""
    guessed = GUESSED.get(bin_, 0.0)
    return (right - guessed) / (1 - guessed)


def votes(sources: Sources) -> str:
    """What voting adds in the middle bins, against one sample and against greedy decoding."""
    parts = [_votes(sources, recording) for recording in sources.reported.values()]
    return "\n\n".join(parts) or NOTHING


def _votes(sources: Sources, recording: Recording) -> str:
    bins = middle_bins(sources, recording)
    named = f"`{recording.model}`, temperature {recording.temperature:g}"
    if not bins:
        return f"{named}: no bin is in the middle."
    counts = [k for k in VOTES if k <= recording.samples]
    groups = {bin_: recording.of_bins[bin_] for bin_ in bins}
    groups["together"] = tuple(line for bin_ in bins for line in recording.of_bins[bin_])
    header = ("bin", "questions", "pass@1", "greedy", *(f"maj@{k}" for k in counts), *_beyond(counts))
    where = "the calibration" if recording.model in sources.chosen else "these"
    return (
        f"{named}; middle bins as {where} questions tell. Differences in percentage points, with 95 % intervals:\n\n"
        + table(header, (tuple(_voted(recording, name, lines, counts)) for name, lines in groups.items()))
    )


def _beyond(counts: Sequence[int]) -> tuple[str, ...]:
    return (f"maj@{counts[-1]} - pass@1", f"maj@{counts[-1]} - greedy") if counts else ()


def _voted(recording: Recording, name: str, lines: Sequence[Line], counts: Sequence[int]) -> Iterator[str]:
    single = [pass_at(line["samples"], 1) for line in lines]
    plain = [greedy(line) for line in lines]
    voted = [[recording.voted[line["id"], k] for line in lines] for k in counts]
    yield from (name, str(len(lines)), share(mean(single)), share(mean(plain)), *(share(mean(each)) for each in voted))
    if voted:
        yield str(difference([a - b for a, b in zip(voted[-1], single, strict=True)]))
        yield str(difference([a - b for a, b in zip(voted[-1], plain, strict=True)]))


def beyond_greedy(sources: Sources, recording: Recording) -> Difference | None:
    """What the majority of all 32 samples adds to greedy decoding in a model's middle bins; None if it has none."""
    lines = [line for bin_ in middle_bins(sources, recording) for line in recording.of_bins[bin_]]
    if not lines or recording.samples < VOTES[-1]:
        return None
    return difference([recording.voted[line["id"], VOTES[-1]] - greedy(line) for line in lines])


def sizes(sources: Sources) -> str:
    """What size adds in the two middle bins of every family: one table."""
    small, large = (sources.reported.get(model) for model in PAIR)
    if small is None or large is None:
        return f"Not recorded yet: it takes held-out traces of `{PAIR[0]}` and `{PAIR[1]}`."
    chosen = {task: middle_two(sources, task) for task in FAMILIES}
    rows = [_sized(bin_, (small, large), (bin_,)) for bins in chosen.values() for bin_ in bins]
    rows.append(_sized("together", (small, large), [bin_ for bins in chosen.values() for bin_ in bins]))
    return table(("bin", "questions", *(f"{model} pass@1" for model in PAIR), "difference, points"), rows)


def beyond_small(sources: Sources, task: Task) -> Difference | None:
    """What size adds to pass@1 in a family's two middle bins; None without traces of both."""
    if not all(model in sources.reported for model in PAIR):
        return None
    small, large = (_singles(sources.reported[model], middle_two(sources, task)) for model in PAIR)
    gained = [large[id_] - small[id_] for id_ in small if id_ in large]
    return difference(gained) if gained else None


def middle_two(sources: Sources, task: Task) -> tuple[str, ...]:
    """The two neighbouring bins of a family whose pass@1, of both sizes, guesses taken off, is nearest to one half.

    By the calibration recordings of both, where there are any.
    """
    read = sources.chosen if all(model in sources.chosen for model in PAIR) else sources.reported
    rates = [read[model].single for model in PAIR]
    bins = [
        bin_ for bin_ in read[PAIR[0]].bins(task) if _in_both(sources, bin_) and all(bin_ in rate for rate in rates)
    ]
    both = {bin_: mean([known(bin_, rate[bin_]) for rate in rates]) for bin_ in bins}
    return min(pairwise(bins), key=lambda two: abs(both[two[0]] + both[two[1]] - 1), default=tuple(bins))


def _in_both(sources: Sources, bin_: str) -> bool:
    return all(bin_ in sources.reported[model].of_bins for model in PAIR)


def _sized(name: str, pair: Iterable[Recording], bins: Sequence[str]) -> tuple[str, ...]:
    small, large = (_singles(recording, bins) for recording in pair)
    both = small.keys() & large.keys()
    gained = difference([large[id_] - small[id_] for id_ in sorted(both)])
    return (name, str(len(both)), *(share(mean([each[id_] for id_ in sorted(both)])) for each in (small, large)),
            str(gained))  # fmt: skip


def _singles(recording: Recording, bins: Sequence[str]) -> Mapping[str, float]:
    return {line["id"]: pass_at(line["samples"], 1) for bin_ in bins for line in recording.of_bins[bin_]}


def hopeless(sources: Sources) -> str:
    """Which bins a model cannot do: of 32 samples, one is right for fewer than a tenth of the questions."""
    found = []
    for model, recording in sources.reported.items():
        bins = [
            bin_ for bin_, row in recording.rows.items()
            if OWNERS.get(bin_) in FAMILIES and row[f"pass@{VOTES[-1]}"] < 0.1
        ]  # fmt: skip
        if recording.samples >= VOTES[-1]:
            found.append(f"`{model}`: {', '.join(bins) or 'none'}")
    told = "; ".join(found)
    return f"Bins whose pass@{VOTES[-1]} is below 0.1: {told}." if told else NOTHING
