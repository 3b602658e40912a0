"""Ordering puzzles with lettered choices: seeded generator, exact verifier and step checker.

A puzzle compares people, or things that differ in colour, two at a time in one quality, and asks who holds one place.
The clues have numbers: every name is in two of them, and small models lose their place without. The comparisons settle
the whole order. The number of people sets the difficulty; the answer is a letter.

The order of the random draws is part of the contract: the same (seed, bin) gives the same puzzles for ever.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

NAMES = tuple(
    "Mia Tom Ana Ben Eva Leo Zoe Max Ivy Sam Lily Jack Nina Paul Rosa Omar Amy Bob Cal Dan Eli Fay Gus Hal Ian Jay Kim "
    "Lou Meg Ned Pam Ray Sue Tia Uma Val Wes Yan Abe Bea Cleo Dora Ella Finn Gina Hugo Iris Joe Kate Luke Marc Nora "
    "Olga Pia Rex Seth Tara Ula Vera Wanda Xena Yara Zack Rita".split()
)
LETTERS = "ABCD"
"""Of the choices."""
COLOURS = tuple("red blue green white black brown pink gray gold silver orange purple yellow".split())
THINGS = tuple("box bag cup book ball lamp hat coat car chair kite plate".split())


@dataclass(frozen=True, slots=True)
class Pole:
    """One end of a quality: `base` (old), `comparative` (older) and `superlative` (oldest)."""

    base: str
    comparative: str
    superlative: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A quality with the words of both ends. `more`: of those who come first in an order; `less`: the opposite."""

    more: Pole
    less: Pole


def _relations(*rows: str) -> tuple[Relation, ...]:
    forms = (row.split() for row in rows)
    return tuple(Relation(Pole(*words[:3]), Pole(*words[3:])) for words in forms)


# A word belongs to the same end wherever it occurs: "lighter" is always the opposite of "heavier", never of "darker".
OF_PEOPLE = _relations(
    "old older oldest young younger youngest",
    "tall taller tallest short shorter shortest",
    "fast faster fastest slow slower slowest",
    "heavy heavier heaviest light lighter lightest",
    "rich richer richest poor poorer poorest",
    "strong stronger strongest weak weaker weakest",
    "loud louder loudest quiet quieter quietest",
    "happy happier happiest sad sadder saddest",
    "brave braver bravest shy shyer shyest",
    "kind kinder kindest mean meaner meanest",
    "busy busier busiest lazy lazier laziest",
    "calm calmer calmest wild wilder wildest",
)
OF_THINGS = _relations(
    "heavy heavier heaviest light lighter lightest",
    "big bigger biggest small smaller smallest",
    "long longer longest short shorter shortest",
    "wide wider widest narrow narrower narrowest",
    "thick thicker thickest thin thinner thinnest",
    "old older oldest new newer newest",
    "hard harder hardest soft softer softest",
    "clean cleaner cleanest dirty dirtier dirtiest",
    "bright brighter brightest dark darker darkest",
    "warm warmer warmest cold colder coldest",
    "costly costlier costliest cheap cheaper cheapest",
    "rough rougher roughest smooth smoother smoothest",
)
# `{x}` has the comparative or base in it; `{y}` is compared with. The weights are shares in parts.
WORDINGS: Mapping[str, int] = {
    "{x} is {comparative} than {y}.": 4,
    "Compared with {y}, {x} is {comparative}.": 2,
    "{y} is not as {base} as {x}.": 2,
    "Of {x} and {y}, {x} is the {comparative} one.": 1,
}


@dataclass(frozen=True, slots=True)
class Level:
    """How hard a puzzle is. `people`: how many; `in_order`: probability that the clues follow the order from its top;
    `extra`: the most clues that others imply."""

    people: int
    in_order: float
    extra: int = 0


BINS: Mapping[str, Level] = {
    "o1": Level(3, 0.7),
    "o2": Level(4, 0.7),
    "o3": Level(5, 0.4),
    "o4": Level(6, 0.2, extra=1),
    "o5": Level(7, 0.0, extra=2),
    "o6": Level(8, 0.0, extra=2),
}
_SHARE_OF_THINGS = 0.4


@dataclass(frozen=True, slots=True)
class Clue:
    """`greater` comes before `lesser` in the order. `wording`: the sentence; `upward`: whether it says so by the word
    for more (the subject of the comparison is `greater`) or by the word for less."""

    greater: str
    lesser: str
    wording: str
    upward: bool

    def mentioned(self) -> tuple[str, str]:
        """Both names in the order of the sentence."""
        x, y = (self.greater, self.lesser) if self.upward else (self.lesser, self.greater)
        return (x, y) if self.wording.index("{x}") < self.wording.index("{y}") else (y, x)

    def sentence(self, relation: Relation, thing: str = "") -> str:
        """The clue in English; with `thing`, the names are colours of such things."""
        pole = relation.more if self.upward else relation.less
        greater, lesser = (f"the {name} {thing}" if thing else name for name in (self.greater, self.lesser))
        x, y = (greater, lesser) if self.upward else (lesser, greater)
        said = self.wording.format(x=x, y=y, comparative=pole.comparative, base=pole.base)
        return said[0].upper() + said[1:]


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A question with its known answer. `answer`: the letter; `order`: all names (colours, for things) from most to
    least; `place`: index into `order` of the name asked for, negative if counted from the least; `phrase`: the
    place in words ("second oldest"); `choices`: names behind the letters A, B, C, D; `sentences`: the clues in English,
    one each."""

    question: str
    answer: str
    bin: str
    order: tuple[str, ...]
    clues: tuple[Clue, ...]
    choices: tuple[str, ...]
    place: int
    phrase: str
    sentences: tuple[str, ...] = ()

    def letter(self, name: str) -> str:
        """The letter of a choice; ValueError for a name that is none."""
        return LETTERS[self.choices.index(name)]

    def listed(self, name: str) -> str:
        """The choices up to this one, as a thought goes through them; ValueError for a name that is none."""
        upto = self.choices[: self.choices.index(name) + 1]
        return ", ".join(f"({letter}) {choice}" for letter, choice in zip(LETTERS, upto, strict=False))

    def key(self) -> tuple[object, ...]:
        """The puzzle without its words: equal for two that differ in names, things and quality only.

        Which name a clue mentions first, and whether it says more or less, count: a clue turned round is another one.
        """
        index = {name: i for i, name in enumerate(dict.fromkeys(n for clue in self.clues for n in clue.mentioned()))}
        clues = tuple((*map(index.__getitem__, c.mentioned()), c.mentioned()[0] == c.greater) for c in self.clues)
        stated = tuple(clue.upward for clue in self.clues)
        return clues, stated, self.place, tuple(index[name] for name in self.choices)


def draw(rng: random.Random, bin_: str) -> Puzzle:
    """The next puzzle of a bin ("o1" to "o6"), drawn from `rng`. KeyError for another bin."""
    level = BINS[bin_]
    thing = rng.choice(THINGS) if rng.random() < _SHARE_OF_THINGS else ""
    relation = rng.choice(OF_THINGS if thing else OF_PEOPLE)
    order = tuple(rng.sample(COLOURS if thing else NAMES, level.people))
    clues = tuple(_worded(rng, *pair) for pair in _pairs(rng, order, level))
    place, template = rng.choice(_places(level.people))
    phrase = template.format(most=relation.more.superlative, least=relation.less.superlative)
    choices = _choices(rng, order, order[place])
    asked = f"{f'Which {thing}' if thing else 'Who'} is the {phrase}?"
    sentences = tuple(clue.sentence(relation, thing) for clue in clues)
    numbered = (f"{i}. {sentence}" for i, sentence in enumerate(sentences, 1))
    listed = (f"({letter}) {name}" for letter, name in zip(LETTERS, choices, strict=False))
    return Puzzle(
        question=" ".join([*numbered, asked, *listed]),
        answer="ABCD"[choices.index(order[place])],
        bin=bin_,
        order=order,
        clues=clues,
        choices=choices,
        place=place,
        phrase=phrase,
        sentences=sentences,
    )


def _pairs(rng: random.Random, order: tuple[str, ...], level: Level) -> list[tuple[str, str]]:
    """(greater, lesser) of every clue: all neighbours, and now and then two who have one between them.

    An implied pair thus has a clue between the two candidates for the next place, which decides between them.
    """
    pairs = list(pairwise(order))
    if rng.random() >= level.in_order:
        rng.shuffle(pairs)
    for i in rng.sample(range(len(order) - 2), rng.randint(0, level.extra)):
        pairs.insert(rng.randint(0, len(pairs)), (order[i], order[i + 2]))
    return pairs


def _worded(rng: random.Random, greater: str, lesser: str) -> Clue:
    wording = rng.choices(list(WORDINGS), list(WORDINGS.values()))[0]
    return Clue(greater, lesser, wording, upward=rng.random() < 0.5)


def _places(people: int) -> list[tuple[int, str]]:
    """Places that may be asked for among so many, with their names; no place has two."""
    places = [(0, "{most}"), (-1, "{least}")]
    if people > 3:
        places += [(1, "second {most}"), (-2, "second {least}")]
    if people > 5:
        places.append((2, "third {most}"))
    if people % 2:
        places.append((people // 2, "middle one"))
    return places


def _choices(rng: random.Random, order: tuple[str, ...], right: str) -> tuple[str, ...]:
    others = [name for name in order if name != right]
    choices = [right, *rng.sample(others, min(3, len(others)))]
    rng.shuffle(choices)
    return tuple(choices)


_BOXED = re.compile(r"\\boxed\{\s*(?:\\text\{)?\s*\(?\s*([A-D])\s*\)?\s*\}", re.IGNORECASE)
# Of a walk down the order, the names that were weighed against each other before one was chosen.
_WEIGHED = re.compile(r" \w+(?: or \w+)+:")
_CHAIN = re.compile(r"(?<!not )\b(?!not\b)\w+(?: [<>] \w+)+")


def final_letter(text: str) -> str | None:
    r"""The letter, upper case, in the last `\boxed{}` that holds one of A to D, bare or as (B); None without any."""
    boxed: list[str] = _BOXED.findall(text)
    return boxed[-1].upper() if boxed else None


def verify(text: str, puzzle: Puzzle) -> bool:
    """Whether the text's final answer is the puzzle's letter."""
    return final_letter(text) == puzzle.answer


def step_ok(text: str, puzzle: Puzzle) -> list[bool]:
    """Whether each chain `A > B > C` or `A < B` of the text, in order, is true in the puzzle.

    What a checking pass rejects ("not A > B") is no claim. A chain that leaves out names may be true, so this is an
    imperfect judge of the whole thought, as real process rewards are.
    """
    place = {name: i for i, name in enumerate(puzzle.order)}
    return list(map(partial(_holds, place), _CHAIN.findall(_WEIGHED.sub("", text))))


def _holds(place: Mapping[str, int], chain: str) -> bool:
    words = chain.split(" ")
    if not all(name in place for name in words[::2]):
        return False
    claims = zip(words[::2], words[1::2], words[2::2], strict=False)
    return all((place[a] < place[b]) == (sign == ">") and a != b for a, sign, b in claims)
