"""Questions of all task families in one form, and which of them may be used for what.

Families: `ledger` (bins 1-9, exactly those of `reasoner.questions`), `story` (s1-s6), `ordering` (o1-o6) and
`newcomer`, a hundred questions in a stranger's wording. A question belongs to the split that a hash of its wordless key
names; the newcomer's are held out, all of them. Stories and orderings are drawn with dice of their own each, so that a
change in the wording bank leaves their numbers as they are.
"""

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count, islice
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from reasoner import orderings, plots, questions, stories
from reasoner.questions import ALL_BINS, Split, split_of_key
from reasoner.task import Problem, final_answer

Task = Literal["ledger", "story", "ordering", "newcomer"]

TASKS: tuple[Task, ...] = get_args(Task)
STEPS: Mapping[str, int] = MappingProxyType({"s1": 1, "s2": 2, "s3": 3, "s4": 4, "s5": 6, "s6": 8})
"""Steps of the stories of each bin."""
BINS: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {
        "ledger": tuple(map(str, ALL_BINS)),
        "story": tuple(STEPS),
        "ordering": tuple(orderings.BINS),
        "newcomer": ("newcomer",),
    }
)
OWNERS: Mapping[str, Task] = MappingProxyType({bin_: family for family, bins in BINS.items() for bin_ in bins})
"""The family of every bin."""
STANDARD: Mapping[str, int] = MappingProxyType(
    dict(zip(BINS["ledger"], (8, 10, 14, 18, 18, 18, 14, 21, 21), strict=True))
    | dict(zip(BINS["story"], (8, 12, 16, 16, 16, 10), strict=True))
    | dict(zip(BINS["ordering"], (8, 12, 14, 16, 14, 10), strict=True))
)
"""How many of each bin to report on: the steep middle well covered, a seventh as good as hopeless (bins 8 and 9)."""
NEWCOMERS = Path(__file__).with_name("newcomer.jsonl")
# A split has at least 10 % of the problems; far more misses in a row mean that a bin's distinct ones are used up.
_MOST_MISSES = 3000


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its known answer. `gold`: canonical, so that equal strings are equal answers; `key`: all of
    it but its words (of a newcomer's the words, since no more is known of it); `origin`: what it was told from."""

    question: str
    gold: str
    task: Task
    bin: str
    key: object
    origin: Problem | stories.Story | orderings.Puzzle | None = None

    def answer(self, text: str) -> str | None:
        r"""The text's final answer, from its last `\boxed{}`, in canonical form; None without one."""
        found = orderings.final_letter(text) if self.task == "ordering" else final_answer(text)
        return None if found is None else str(found)

    def correct(self, text: str) -> bool:
        """Whether the text's final answer is exactly right."""
        return self.answer(text) == self.gold

    @property
    def split(self) -> Split:
        """The one split that the question belongs to."""
        if isinstance(self.origin, Problem):
            return questions.split_of(self.origin)
        return "held-out" if self.task == "newcomer" else split_of_key(self.key)


def of_problem(problem: Problem) -> Question:
    """A ledger problem as a question."""
    return Question(problem.question, str(problem.answer), "ledger", str(problem.bin), problem.ledger(), problem)


def of_story(story: stories.Story, bin_: str) -> Question:
    """A story as a question of this bin."""
    return Question(story.question, str(story.total.answer), "story", bin_, story.total, story)


def of_puzzle(puzzle: orderings.Puzzle) -> Question:
    """An ordering puzzle as a question."""
    return Question(puzzle.question, puzzle.answer, "ordering", puzzle.bin, puzzle.key(), puzzle)


def selected(split: Split, numbers: Mapping[str, int]) -> dict[str, Question]:
    """So many questions of every bin by id (`<split>/<bin>/<number>`), no key twice within a bin, in the bins' order.

    Bins are independent, and fewer questions are a prefix of more. The newcomer's keep the ids of their file and come
    all of them, whatever their number. KeyError for an unknown bin; ValueError if a bin has fewer distinct questions,
    or for newcomers outside the held-out split.
    """
    found: dict[str, Question] = {}
    for bin_, number in numbers.items():
        match OWNERS[bin_]:
            case "ledger":
                drawn = questions.questions(split, number, bins=[int(bin_)])
                found |= {id_: of_problem(problem) for id_, problem in drawn.items()}
            case "newcomer":
                if split != "held-out":
                    raise ValueError(f"the newcomer's questions are held out: there are none in the {split} split")
                found |= newcomers()
            case _:
                distinct = islice(_distinct(_stream(split, bin_)), number)
                found |= {f"{split}/{bin_}/{place:04d}": question for place, question in enumerate(distinct)}
    return found


def bins_of(tasks: Iterable[Task]) -> tuple[str, ...]:
    """The bins of these families, in order."""
    return tuple(bin_ for family in tasks for bin_ in BINS[family])


@cache
def newcomers() -> Mapping[str, Question]:
    """The newcomer's questions by id."""
    with NEWCOMERS.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return MappingProxyType(
        {each["id"]: Question(each["question"], str(each["answer"]), "newcomer", "newcomer", each["question"])
         for each in lines}
    )  # fmt: skip


def draw(rng: random.Random, bin_: str) -> Question:
    """The next question of a bin of stories or orderings. KeyError for another bin."""
    if bin_ in orderings.BINS:
        return of_puzzle(orderings.draw(rng, bin_))
    steps = STEPS[bin_]
    scales = {plots.Scale(20, 60): 2, plots.Scale(40, 99): 4, plots.Scale(70, 150): 1 + steps}
    scale = rng.choices(list(scales), list(scales.values()))[0]
    return of_story(stories.draw(rng, steps, scale), bin_)


def _stream(split: Split, bin_: str) -> Iterator[Question]:
    drawn = (draw(random.Random(f"{split}/{bin_}/{number}"), bin_) for number in count())
    return (question for question in drawn if question.split == split)


def _distinct(drawn: Iterator[Question]) -> Iterator[Question]:
    seen: set[object] = set()
    misses = 0
    for question in drawn:
        misses = misses + 1 if question.key in seen else 0
        if misses > _MOST_MISSES:
            raise ValueError(f"bin {question.bin} has no more than {len(seen)} distinct questions in this split")
        if misses == 0:
            seen.add(question.key)
            yield question
