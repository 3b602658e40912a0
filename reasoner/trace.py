"""Worked solutions, in the form of the models' own thoughts.

A thought has one line per event with its equations, then the balance asked for, then any number of redundant checking
passes that do every line again. The answer follows the thought.
"""

from collections.abc import Mapping

from reasoner.task import Event, Kind, Problem, Step, steps

_VERBS: Mapping[Kind, str] = {"add": "gains", "sub": "loses", "mul": "times", "div": "split by"}
_CHECKS = ("Let me double check.", "Wait, let me check again.", "Let me verify that once more.")


def solution(problem: Problem, *, checks: int = 1) -> str:
    r"""The right thought and answer: `<think>`, one pass and `checks` checking passes, `</think>`, the `\boxed{}`."""
    entries = _worked(problem)
    result = f"{problem.target} has {problem.answer}."
    lines = [f"{i}. {_head(event)}: {', '.join(done)}." for i, (event, done) in enumerate(entries, 1)]
    lines.append(f"So {result}")
    for check in range(checks):
        lines.append(_CHECKS[check % len(_CHECKS)])
        lines += [f"{i}. {', '.join(f'{equation} ok' for equation in done)}." for i, (_, done) in enumerate(entries, 1)]
        lines.append(f"Yes, {result}")
    thought = "\n".join(lines)
    return f"<think>\n{thought}\n</think>\nThe answer is \\boxed{{{problem.answer}}}."


def _worked(problem: Problem) -> list[tuple[Event, list[str]]]:
    """Each event with its equations as text, balances carried along."""
    balance = dict(problem.start)
    entries = []
    for event in problem.events:
        done = steps(event, balance)
        balance |= {step.owner: step.result for step in done if step.owner is not None}
        entries.append((event, [_equation(step, named=len(problem.start) > 1) for step in done]))
    return entries


def _equation(step: Step, *, named: bool) -> str:
    whose = f"{step.owner} " if named and step.owner is not None else ""
    return f"{whose}{step.left}{step.operator}{step.right}={step.result}"


def _head(event: Event) -> str:
    match event.kind:
        case "box":
            return f"{event.owner} gains {event.amount}*{event.size}"
        case "give":
            return f"{event.owner} gives {event.to} {event.amount}"
        case _:
            return f"{event.owner} {_VERBS[event.kind]} {event.amount}"
