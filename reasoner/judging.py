"""Scores of recorded samples by a judge: what figures about verifiers are drawn from."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from reasoner.engines import Engine
from reasoner.judge import score
from reasoner.record import Line

_DIGITS = 5
"""Kept of a score: neighbours of 0 and 1 are to stay apart."""


def judged(
    engine: Engine, lines: Iterable[Line], *, parallel: int = 8, on_score: Callable[[float], None] = lambda score: None
) -> list[Line]:
    """The lines with a `judge` score in every sample, the greedy one included; `on_score` is called once for each.

    ValueError for a sample that was recorded without its text; EngineError as of the engine.
    """
    found = []
    with ThreadPoolExecutor(parallel) as pool:
        for line in lines:
            samples = (line["greedy"], *line["samples"])
            if any("text" not in sample for sample in samples):
                raise ValueError(f"{line['id']} was recorded without texts: record it with --texts")
            scores = []
            for value in pool.map(lambda sample, asked=line["question"]: score(engine, asked, sample["text"]), samples):
                on_score(value)
                scores.append(round(value, _DIGITS))
            greedy, *others = ({**sample, "judge": given} for sample, given in zip(samples, scores, strict=True))
            found.append({**line, "greedy": greedy, "samples": others})
    return found
