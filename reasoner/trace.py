"""Worked solutions, in the form of the models' own thoughts.

A thought has one line per event with its equations, then what comes of them, then any number of redundant checking
passes that do every line again (`reasoner.thoughts`, `reasoner.ordering_thoughts`). With two owners every balance has a
name. The answer follows the thought.
"""

from random import Random

from reasoner import ordering_thoughts
from reasoner.examples import CLOSED, ENDED, OPENED, answer, text
from reasoner.mixtures import total_of
from reasoner.orderings import Puzzle
from reasoner.sets import Question
from reasoner.stories import Story
from reasoner.task import Event, Problem, Step, steps
from reasoner.thoughts import CHECKS, VERBS, Sum, thought


def solved(question: Question, *, checks: int = 1) -> str:
    """The worked solution of a question of any family; empty for a newcomer's, of which only the answer is known."""
    match question.origin:
        case Problem():
            return solution(question.origin, checks=checks)
        case Story(total=total):
            return _framed(_summed(question.question, total, checks), total.answer)
        case Puzzle():
            written = ordering_thoughts.thought(question.origin, Random(0), checks=checks, slips=False)
            return _framed(text(written), question.gold)
    return ""


def solution(problem: Problem, *, checks: int = 1) -> str:
    r"""The right thought and answer: `<think>`, one pass and `checks` checking passes, `</think>`, the `\boxed{}`."""
    if len(problem.start) == 1:
        return _framed(_summed(problem.question, total_of(problem), checks), problem.answer)
    entries = _worked(problem)
    result = f"{problem.target} has {problem.answer}."
    lines = [f"{i}. {_head(event)}: {', '.join(done)}." for i, (event, done) in enumerate(entries, 1)]
    lines.append(f"So {result}")
    for check in range(checks):
        lines.append(CHECKS[check % len(CHECKS)])
        lines += [f"{i}. {', '.join(f'{equation} ok' for equation in done)}." for i, (_, done) in enumerate(entries, 1)]
        lines.append(f"Yes, {result}")
    return _framed("".join(f"{line}\n" for line in lines), problem.answer)


def _summed(question: str, total: Sum, checks: int) -> str:
    """Event by event, each sum in one step."""
    return text(thought(total, Random(0), question=question, checks=checks, slips=False, varied=False))


def _framed(written: str, value: object) -> str:
    return f"{OPENED}{written}{CLOSED}{answer(value).removesuffix(ENDED)}"


def _worked(problem: Problem) -> list[tuple[Event, list[str]]]:
    """Each event of a ledger of two owners with its equations as text, balances carried along."""
    balance = dict(problem.start)
    entries = []
    for event in problem.events:
        done = steps(event, balance)
        balance |= {step.owner: step.result for step in done if step.owner is not None}
        entries.append((event, list(map(_equation, done))))
    return entries


def _equation(step: Step) -> str:
    whose = f"{step.owner} " if step.owner is not None else ""
    return f"{whose}{step.left}{step.operator}{step.right}={step.result}"


def _head(event: Event) -> str:
    match event.kind:
        case "box":
            return f"{event.owner} gains {event.amount}*{event.size}"
        case "give":
            return f"{event.owner} gives {event.to} {event.amount}"
        case _:
            return f"{event.owner} {VERBS[event.kind]} {event.amount}"
