"""What the judge learns from: recorded samples of models that reason, each with where it goes wrong.

After every line up to a fault the judge learns to say whether it is right, and at the end whether all of them are. Some
thoughts are cut, so that unfinished ones are familiar.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from reasoner.examples import ASKED, ENDED, SAID, Example, Segment
from reasoner.judge import ASK, RIGHT, WRONG, lines, plain
from reasoner.record import Line, load
from reasoner.spotting import ENDING

SAMPLES = Path("reasoner/runs/judged")
"""The folder of recordings with texts, of the train split (`python -m reasoner sample --texts`)."""
OTHERS = 0.3
"""Share of the examples that come from elsewhere."""
_PROBED = 25
"""One in so many questions is kept for probes."""


@dataclass(frozen=True, slots=True)
class Told:
    """A reply. `sound`: how many of its lines come before a fault, if it is wrong."""

    text: str
    sound: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the distinct replies to it: `replies[True]` are right."""

    question: str
    replies: Mapping[bool, Sequence[Told]]

    @property
    def mixed(self) -> bool:
        """Whether some replies are right and some wrong."""
        return all(self.replies.values())


@dataclass(frozen=True, slots=True)
class Pool:
    """Recorded questions. `mixed`: those with replies of both kinds; `having[right]`: by bin, those with one of it."""

    mixed: Sequence[Asked]
    having: Mapping[bool, Mapping[str, Sequence[Asked]]]

    def draw(self, right: bool, mixed: bool, dice: Random) -> tuple[str, Told]:
        """A question and a reply of this kind, every question as likely: a mixed one, or of any bin alike."""
        having = self.having[right]
        asked = dice.choice(self.mixed if mixed else having[dice.choice(list(having))])
        return asked.question, dice.choice(asked.replies[right])


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A source of examples: right and wrong replies alike, whatever the bin.

    Args:
        folder: Of the recordings.
        mixed: Share of replies to questions that have both kinds: nothing else tells those apart.
        cut: Share of thoughts cut after a line.
        line: Weight of the verdict after each line; that at the end is `spotting.ENDING`.
        others: Where a share of the examples comes from instead.
    """

    folder: Path = SAMPLES
    mixed: float = 0.6
    cut: float = 0.3
    line: float = 1.0
    others: Callable[[Random], Example] | None = None

    def __call__(self, dice: Random) -> Example:
        """The next example. ValueError if the folder has too little to learn from."""
        if self.others and dice.random() < OTHERS:
            return self.others(dice)
        right = dice.random() < 0.5
        question, reply = pools(self.folder)[False].draw(right, dice.random() < self.mixed, dice)
        verdicts = verdicts_of(reply, right)
        until = dice.randint(1, len(verdicts)) if dice.random() < self.cut else len(verdicts)
        return example(question, verdicts[:until], line=self.line)


def verdicts_of(reply: Told, right: bool) -> Sequence[tuple[str, str]]:
    """The lines, at least one, without the thought's tags, each with its verdict: none is said after a fault."""
    shown = lines(plain(reply.text)) or [""]
    sound = len(shown) if right else min(reply.sound, len(shown) - 1)
    return [(line, RIGHT if at < sound else WRONG if at == sound else "") for at, line in enumerate(shown)]


def example(question: str, shown: Sequence[tuple[str, str]], *, line: float = 0.0) -> Example:
    """What the judge is asked of the lines shown, and is to say: whether all of them are right.

    `line`: weight of the verdict after each of them.
    """
    texts, verdicts = [text for text, _ in shown], [verdict if line else "" for _, verdict in shown]
    texts = [*texts[:-1], f"{texts[-1].rstrip()}\n\n", f"{ASK}{ENDED}{SAID}"]
    # A verdict has its place where the next line begins.
    rest = (Segment(text, line if said else 0.0, said) for text, said in zip(texts[1:], verdicts, strict=True))
    asked = (Segment(f"{ASKED}{question}\n\n", 0.0), Segment(texts[0], 0.0))
    ended = RIGHT if all(verdict == RIGHT for _, verdict in shown) else WRONG
    return (*asked, *rest, Segment(ended, ENDING), Segment(ENDED, 0.1))


def probes(folder: Path = SAMPLES, count: int = 150) -> Mapping[str, Sequence[Example]]:
    """The skill `verdicts`: of so many right and as many wrong replies to questions that are not learnt from."""
    dice, pool = Random("probes"), pools(folder)[True]
    chosen = [(right, *pool.draw(right, True, dice)) for right in (True, False) for _ in range(count)]
    return {"verdicts": [example(asked, verdicts_of(reply, right))[:-1] for right, asked, reply in chosen]}


@cache
def pools(folder: Path) -> Mapping[bool, Pool]:
    """The recordings of a folder: what is kept for probes (True), and what is learnt from (False).

    ValueError without recordings, for questions of another split, and where either has no mixed question.
    """
    files = sorted(folder.glob("*.jsonl.gz"))
    lines = [line for file in files for line in load(file).values()]
    if not lines:
        raise ValueError(f"no recordings in {folder}: make them with `python -m reasoner sample --split train --texts`")
    for line in lines:
        if not line["id"].startswith("train/"):
            raise ValueError(f"{folder} holds {line['id']}: a judge learns from the train split alone")
    return {probed: _pool([line for line in lines if _kept(line["id"]) == probed]) for probed in (True, False)}


def _kept(id_: str) -> bool:
    return hashlib.sha256(id_.encode()).digest()[0] % _PROBED == 0


def _pool(lines: Iterable[Line]) -> Pool:
    asked = [(str(line["bin"]), _asked(line)) for line in lines]
    mixed = [each for _, each in asked if each.mixed]
    if not mixed:
        raise ValueError("the recordings have no question with right and wrong replies: record more of them")
    having: dict[bool, dict[str, list[Asked]]] = {True: {}, False: {}}
    for right, of_kind in having.items():
        for bin_, each in asked:
            if each.replies[right]:
                of_kind.setdefault(bin_, []).append(each)
    return Pool(mixed, having)


def _asked(line: Line) -> Asked:
    found: dict[bool, dict[str, Told]] = {True: {}, False: {}}
    for sample in (line["greedy"], *line["samples"]):
        told = Told(sample["text"], sample["sound"])
        # A letter can be right by luck, of which a reply does not tell.
        lucky = sample["correct"] and line["task"] == "ordering" and told.sound < len(lines(plain(told.text)))
        if not lucky:
            found[sample["correct"]][told.text] = told
    return Asked(line["question"].strip(), {right: tuple(replies.values()) for right, replies in found.items()})
