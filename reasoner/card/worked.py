"""Block of the card with one question of every family, and the thought that the models learnt for such."""

import json
from collections.abc import Iterable

from reasoner import orderings, task
from reasoner.card.sources import Sources
from reasoner.sets import NEWCOMERS, STEPS, newcomers, selected
from reasoner.trace import solved

SHOWN = NEWCOMERS.with_name("newcomer-development.jsonl")
"""A newcomer's questions that may be looked at: those that are held out stay unread."""


def families(_: Sources) -> str:
    """A question with its worked solution of each family, of the development split; of the newcomer's a question."""
    first = json.loads(SHOWN.read_text(encoding="utf-8").partition("\n")[0])
    owned = [task.LEVELS[level].events for level, shared in task.BINS.values() if not shared]
    ledgers = (
        f"one name, one kind of thing, an event a sentence: {_listed(owned)} events in bins 1 to {len(owned)}; bin 8 "
    )
    ledgers += "multiplies beyond what the models learn, the events of bin 9 have two owners"
    stories = f"the same arithmetic in ordinary wording: {_listed(STEPS.values())} steps in bins s1 to s{len(STEPS)}"
    people = [level.people for level in orderings.BINS.values()]
    puzzles = (
        f"comparisons to be put in order, and lettered choices: {_listed(people)} names in bins o1 to o{len(people)}"
    )
    return "\n\n".join(
        (
            _shown("Ledgers", ledgers, "3"),
            _shown("Stories", stories, "s3"),
            _shown("Orderings", puzzles, "o3"),
            f"**A newcomer's questions**: {len(newcomers())} in a stranger's own wording, all held out and none shown; "
            f"`{SHOWN.name}` has others, such as this one. Only their answers are known.\n\n> {first['question']}\n\n"
            f"Answer: {first['answer']}.",
        )
    )


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _shown(name: str, what: str, bin_: str) -> str:
    (question,) = selected("development", {bin_: 1}).values()
    return f"**{name}**: {what}.\n\n> {question.question}\n\n```\n{solved(question)}\n```"
