"""Whether escalation pays: accuracy against cost of one model alone and of a small one that asks a large one.

A way's cost is CPU time per question on llama.cpp: its mean tokens divided by the model's tokens per CPU second. Where
no speeds are measured, a token costs in proportion to the model's parameters.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb, isnan, nan

from reasoner.card.accuracy import PAIR, Difference, difference
from reasoner.card.costs import measured, per_token
from reasoner.card.sources import FAMILIES, Recording, Sources
from reasoner.card.tables import share, table
from reasoner.figures import Line, Sample, greedy, mean, pass_at
from reasoner.sets import OWNERS

ASKED = (2, 3, 4, 6, 8)
"""Samples of the small model that must agree, or the large one is asked."""
COUNTS: Mapping[str, int] = {"greedy": 0, "x 1": 1, "x 4": 4, "x 8": 8, "x 16": 16, "x 32": 32}
"""Samples of a model alone, of which the majority answers; 0 stands for the one at temperature 0."""
SECOND = ("greedy", "x 1", "x 4")
"""What the large model does when it is asked."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to answer. `right`: how often, by question; `cost`: of a question; `asked`: how often the large one is."""

    name: str
    model: str
    right: tuple[float, ...]
    cost: float
    asked: float = 0.0

    @property
    def accuracy(self) -> float:
        """How often it is right."""
        return mean(self.right)


@dataclass(frozen=True, slots=True)
class Compared:
    """Ways on the same questions: models alone, and small then large."""

    questions: int
    alone: tuple[Way, ...]
    cascades: tuple[Way, ...]

    def at(self, cost: float) -> tuple[float, ...]:
        """How often models alone are right at this mean cost, of every question; empty below the cheapest.

        Ways are mixed by lot: with fixed odds a question is answered in the one way or in the other.
        """
        hull = upper_hull((way.cost, way.accuracy) for way in self.alone)
        ways = {(way.cost, way.accuracy): way for way in self.alone}
        reached = [point for point in hull if point[0] <= cost]
        if not reached:
            return ()
        low = reached[-1]
        high = hull[len(reached)] if len(reached) < len(hull) else low
        odds = (cost - low[0]) / (high[0] - low[0]) if high != low else 0.0
        both = zip(ways[low].right, ways[high].right, strict=True)
        return tuple(first + (second - first) * odds for first, second in both)

    def gain(self, way: Way) -> Difference:
        """What a cascade adds to models alone at its cost, over questions; nan below the cheapest."""
        alone = self.at(way.cost)
        return difference([a - b for a, b in zip(way.right, alone, strict=True)]) if alone else Difference(nan, nan)


def upper_hull(found: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The rising upper concave hull of points, from the leftmost one on."""
    hull: list[tuple[float, float]] = []
    for x, y in sorted(found, key=lambda point: (point[0], -point[1])):
        if hull and y <= hull[-1][1]:
            continue
        while len(hull) > 1 and _below(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    return hull


def _below(first: tuple[float, float], between: tuple[float, float], last: tuple[float, float]) -> bool:
    rise = (last[1] - first[1]) * (between[0] - first[0])
    return (between[1] - first[1]) * (last[0] - first[0]) <= rise


def agreed(samples: Sequence[Sample], k: int) -> tuple[float, float]:
    """Probability that k random samples give one and the same answer, and that they do and it is right."""
    answers = [sample["answer"] for sample in samples if sample["answer"] is not None]
    right = [sample["answer"] for sample in samples if sample["answer"] is not None and sample["correct"]]
    ways = {answer: comb(answers.count(answer), k) / comb(len(samples), k) for answer in sorted(set(answers))}
    return sum(ways.values()), sum(ways[answer] for answer in set(right))


def compared(recordings: Mapping[str, Recording], prices: Mapping[str, float], task: str = "all") -> Compared | None:
    """Ways on the questions (of one family) that both models have; None without traces of both.

    `prices`: the cost of a token, by model.
    """
    if not all(model in recordings for model in PAIR):
        return None
    lines = {model: {line["id"]: line for line in recordings[model].lines} for model in PAIR}
    shared = [id_ for id_ in lines[PAIR[0]] if id_ in lines[PAIR[1]] and _wanted(lines[PAIR[0]][id_], task)]
    if not shared:
        return None
    small, large = (
        {name: _measured(recordings[model], [lines[model][id_] for id_ in shared], name) for name in COUNTS}
        for model in PAIR
    )
    alone = [
        Way(f"{model} {name}", model, tuple(right), mean(tokens) * prices[model])
        for model, own in zip(PAIR, (small, large), strict=True)
        for name, (right, tokens) in own.items()
        if right
    ]
    first = [lines[PAIR[0]][id_] for id_ in shared]
    return Compared(len(shared), tuple(alone), tuple(_cascades(first, large, prices)))


def _wanted(line: Line, task: str) -> bool:
    return line["task"] == task if task != "all" else OWNERS.get(str(line.get("bin"))) in FAMILIES


def _measured(recording: Recording, own: Sequence[Line], name: str) -> tuple[list[float], list[float]]:
    """How often each question is answered right so, and the tokens it takes; nothing if a trace cannot tell."""
    k = COUNTS[name]
    if k == 0:
        known = [line for line in own if "greedy" in line]
        tokens = [float(line["greedy"]["tokens"]) for line in known]
        return ([greedy(line) for line in known], tokens) if len(known) == len(own) else ([], [])
    if recording.samples < k:
        return [], []
    right = [pass_at(line["samples"], 1) if k == 1 else recording.voted[line["id"], k] for line in own]
    return right, [k * _tokens(line) for line in own]


def _tokens(line: Line) -> float:
    return mean([sample["tokens"] for sample in line["samples"]])


def _cascades(
    small: Sequence[Line], large: Mapping[str, tuple[list[float], list[float]]], prices: Mapping[str, float]
) -> Iterator[Way]:
    for name in SECOND:
        right, tokens = large[name]
        for k in ASKED:
            if right and all(len(line["samples"]) >= k for line in small):
                way = f"small x {k}, large {name} if they disagree"
                yield _cascade(way, [(line, *agreed(line["samples"], k)) for line in small], right,
                               [k * _tokens(line) * prices[PAIR[0]] for line in small],
                               [each * prices[PAIR[1]] for each in tokens])  # fmt: skip


def _cascade(
    name: str,
    first: Sequence[tuple[Line, float, float]],
    otherwise: Sequence[float],
    costs: Sequence[float],
    more: Sequence[float],
) -> Way:
    asked = [1 - same for _, same, _ in first]
    right = tuple(known + share * large for (_, _, known), share, large in zip(first, asked, otherwise, strict=True))
    spent = [cost + share * large for cost, share, large in zip(costs, asked, more, strict=True)]
    return Way(name, "both", right, mean(spent), mean(asked))


def escalation(sources: Sources) -> str:
    """A table of all ways on all questions, and for each family whether its best cascade pays."""
    prices = per_token(sources)
    found = compared(sources.reported, prices)
    if found is None:
        return f"Not recorded yet: it takes held-out traces of `{PAIR[0]}` and `{PAIR[1]}`."
    header = ("way", "accuracy", f"cost, {unit(sources)}", "large asked", "against models alone at this cost, points")
    ways = sorted((*found.alone, *found.cascades), key=lambda way: way.cost)
    told = table(header, (_told(way, found) for way in ways))
    lines = [f"- {task}: {_verdict(sources, prices, task)}" for task in (*FAMILIES, "all")]
    return f"{found.questions} questions of the three families.\n\n{told}\n\n" + "\n".join(lines)


def unit(sources: Sources) -> str:
    """What costs are counted in."""
    return "CPU ms a question" if measured(sources) else "tokens of the small model a question"


def _told(way: Way, found: Compared) -> tuple[str, ...]:
    cascade = way in found.cascades
    gain = str(found.gain(way)) if cascade else "-"
    return way.name, share(way.accuracy), f"{way.cost:.0f}", f"{way.asked:.0%}" if cascade else "-", gain


def _verdict(sources: Sources, prices: Mapping[str, float], task: str) -> str:
    """Of the cascade that gains most on the calibration questions, where both models have some."""
    found = compared(sources.reported, prices, task)
    judged = compared(sources.chosen, prices, task) or found
    if not (found and judged and found.cascades and judged.cascades):
        return "not recorded"
    chosen = max(judged.cascades, key=lambda way: judged.gain(way).mean).name
    best = next((way for way in found.cascades if way.name == chosen), found.cascades[0])
    gain = found.gain(best)
    return f"{pays(gain)}: {best.name}: {share(best.accuracy)} for {best.cost:.0f}, {gain} points against models alone."


def pays(gain: Difference) -> str:
    """The verdict on what a cascade adds: none where the interval has 0 in it."""
    if isnan(gain.half) or abs(gain.mean) <= gain.half:
        return "no difference that shows"
    return "escalation pays" if gain.mean > 0 else "escalation does not pay"
