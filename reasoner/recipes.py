"""The demonstration models: shapes, stages and what gates them. `python -m reasoner.training train NAME` trains one."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random

from reasoner import judge, verdicts
from reasoner.examples import text
from reasoner.mixtures import Mixture, probes
from reasoner.spotting import Lines, Spotting
from reasoner.training.recipe import Recipe, Stage
from reasoner.training.shape import Shape

TEXTS = 6000
"""Examples from which the tokeniser's merges come."""
TINY = Shape(vocab=2048, width=96, layers=3, heads=3, kv_heads=1, ff=256, context=1280)
SMALL = Shape(vocab=2048, width=128, layers=4, heads=4, kv_heads=2, ff=352, context=1280)
LARGE = Shape(vocab=2048, width=256, layers=5, heads=8, kv_heads=4, ff=704, context=1280)
SPOTTER = replace(SMALL, layers=6)
"""Two layers to compare what the others expect with what there is."""
JUDGE = replace(SPOTTER, layers=8)
"""And two to gather what those have found: what the last layer says of a token, no other token can read."""
EVERYTHING = Mixture(
    stories=0.50,
    ledgers=0.26,
    puzzles=0.18,
    drills=0.06,
    lookups=0.03,
    walks=0.05,
    clauses=0.09,
    steps={1: 0.12, 2: 0.34, 3: 0.30, 4: 0.11, 5: 0.06, 6: 0.04, 8: 0.03},
    levels={1: 0.16, 2: 0.16, 3: 0.16, 4: 0.16, 5: 0.12, 6: 0.11, 7: 0.09, 8: 0.04},
    bins={"o1": 0.15, "o2": 0.20, "o3": 0.25, "o4": 0.20, "o5": 0.12, "o6": 0.08},
    checks=(0.38, 0.36, 0.18, 0.08),
)
LETTERS = replace(EVERYTHING, puzzles=0.30, lookups=0.30, drills=0.04)
"""The letter behind a name is found late and all at once, in some runs not before their end. Shown this often it is."""
WORDING = replace(EVERYTHING, stories=0.64, ledgers=0.22, clauses=0.12, everyday=0.6)
"""What is left to learn in the end is wording, that of newcomers above all."""
GROWN = replace(WORDING, puzzles=0.24, lookups=0.06)
"""A grown model has room for orderings too."""
ORDINARY = replace(GROWN, stories=0.80, puzzles=0.20, everyday=0.5, written=0.7)
"""And for the wording of many hands."""
HANDS = replace(ORDINARY, written=0.8)
PLAIN = replace(
    HANDS, stories=1.6, ledgers=0.12, puzzles=0.12, drills=0.04, lookups=0.02, walks=0.02, clauses=0.0, written=0.9
)
"""Ten thousand templates take their time; of the rest as much as keeps it. A clause alone tells no order of telling."""
EASY = replace(
    EVERYTHING,
    stories=0.28,
    ledgers=0.17,
    puzzles=0.10,
    drills=0.40,
    lookups=0.06,
    walks=0.10,
    clauses=0.08,
    steps={1: 0.25, 2: 0.35, 3: 0.25, 4: 0.10, 6: 0.05},
    levels={1: 0.28, 2: 0.24, 3: 0.18, 4: 0.12, 5: 0.07, 6: 0.05, 7: 0.03, 8: 0.03},
    bins={"o1": 0.35, "o2": 0.35, "o3": 0.20, "o4": 0.10},
    checks=(0.6, 0.3, 0.1, 0.0),
)
READING = replace(
    EASY,
    stories=0.38,
    ledgers=0.24,
    puzzles=0.38,
    drills=0.0,
    lookups=0.10,
    walks=0.10,
    clauses=0.08,
    levels={1: 0.28, 2: 0.24, 3: 0.20, 4: 0.14, 5: 0.08, 6: 0.06},
    reading=True,
)
RIGHT = replace(EVERYTHING, drills=0.0, lookups=0.0, walks=0.0, clauses=0.0, slips=False)
"""Thoughts in which nothing is wrong, yet."""


def recipes() -> Mapping[str, Recipe]:
    """By name, each after the one that it grows from."""
    tiny = stages(reading=0.5, clues=0.08, sums=0.7, most=8_000_000, wording=4_000_000)
    small = stages(reading=0.65, clues=0.3, sums=0.85, most=20_000_000, letters=0.6, wording=8_000_000)
    made = (
        Recipe("reasoner-tiny", TINY, tiny, probes),
        Recipe("reasoner-small", SMALL, small, probes),
        Recipe("reasoner-large", LARGE, grown_stages(), probes, grown_from="reasoner-small"),
        *judges(),
    )
    return {recipe.name: recipe for recipe in made}


def grown_stages() -> tuple[Stage, ...]:
    """Of a model that has grown: wording of its own grammar first, of many hands second, and ever more of those."""
    return (
        Stage("wording", GROWN, 20_000_000, lr=0.008, embedding_lr=0.0015, decay=0.75),
        Stage("ordinary", ORDINARY, 16_000_000, lr=0.008, embedding_lr=0.0015, decay=0.9),
        Stage("hands", HANDS, 20_000_000, lr=0.008, embedding_lr=0.0015, decay=0.9),
        Stage("plain", PLAIN, 34_000_000, lr=0.008, embedding_lr=0.0015, decay=0.9),
    )


def judges() -> tuple[Recipe, ...]:
    """The judge, after the spotter that it grows from."""
    return (
        Recipe(
            "reasoner-spotter",
            SPOTTER,
            (Stage("spotting", Spotting(RIGHT), 4_000_000, lr=0.008, embedding_lr=0.002),),
            grown_from="reasoner-small",
            after=True,
            step_tokens=2048,
            template=judge.CHAT_TEMPLATE,
        ),
        Recipe(
            "reasoner-judge",
            JUDGE,
            (
                Stage("lines", Lines(RIGHT), 5_000_000, lr=0.008, embedding_lr=0.002),
                Stage("verdicts", verdicts.Verdicts(others=Lines(RIGHT)), 5_000_000, lr=0.006, decay=0.6),
            ),
            verdicts.probes,
            grown_from="reasoner-spotter",
            after=True,
            step_tokens=2048,
            template=judge.CHAT_TEMPLATE,
        ),
    )


def stages(
    *, reading: float, clues: float, sums: float, most: int, wording: int, letters: float = 0.0
) -> tuple[Stage, ...]:
    """Reading first, arithmetic second, then everything, and in the end wording, the rate falling in each of the two.

    `reading`, `clues`, `sums`, `letters`: gates, of which the last is that of a stage of its own before wording, left
    out where it is 0; `most`, `wording`: tokens of everything and of wording.
    """
    lettered = Stage("letters", LETTERS, 6_000_000, {"choices": letters}, lr=0.012, embedding_lr=0.0025)
    return (
        Stage("reading", READING, 20_000_000, {"reading": reading, "clues": clues}, 3_000_000, 0.012, 0.0025),
        Stage("sums", EASY, 12_000_000, {"reading": reading, "sums": sums}, 2_500_000, 0.016, 0.003),
        Stage("everything", EVERYTHING, most, lr=0.016, embedding_lr=0.003, decay=0.6),
        *([lettered] if letters else []),
        Stage("wording", WORDING, wording, lr=0.008, embedding_lr=0.0015, decay=0.9),
    )


def tokenizer_text() -> Iterator[str]:
    """What the tokeniser's merges come from: the questions and thoughts of all kinds."""
    dice = Random("tokenizer")
    for number in range(TEXTS):
        mixture = READING if number % 3 == 0 else EVERYTHING
        yield text(mixture(dice))
