"""The page of claims: how they were checked, the count of verdicts, and the table."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bench.claims.claim import Claim, Finding, Verdict
from bench.rules_page import cells, rule_of

METHOD = """\
# Published claims, checked

<!-- Written by `python -m bench.claims`: change that, not this page. -->

This page is generated:

    python -m bench.claims         # five minutes of CPU time

What the sources of the [stopping rules](strategies.md#stopping-rules-by-name) claim, and what became of it here.
Replayed are recorded samples of {traces} data sets (`bench/traces`), at most {questions} questions of each in {orders}
random orders: the real strategy, scheduler and program code in virtual time, every rule on the same samples in the same
orders, aborted tokens charged. One sample is in flight at a time unless a row says otherwise. Ten of the sets share
their questions, and none has long thoughts with a length for every sample: what fails here does not carry over to these
samples, and is not refuted where it was claimed.

- **fewer tokens, fewer samples, accuracy**: against the full budget at the same cap; mean over the sets (lowest to
  highest). **Sets below** are those whose whole 95 % bootstrap interval lies below zero.
- **at equal accuracy**: the mean change is above -0.1 points and no set is below.
- **other answers**: programs that gave another answer than the full budget in the same order.
- **time**: decode steps from arrival to answer at equal speed per sample.
- **half b**: the prior of `three-count` was fitted on half of the questions of the sets with 60 samples or more (by a
  hash of their ids); it is judged on the other half of each. No other published rule was fitted here; this project's
  own defaults were chosen on half a as well ([design.md](design.md)), and are judged on all questions.
- The parts of a claim and their thresholds are fixed in `bench/claims`; all met: it holds; some: in part.
"""
HEAD = "| rule | published claim | measured here | verdict | why |"


def page(
    found: Sequence[tuple[Claim, Finding]], run: Mapping[str, int | str], rest: Mapping[str, str]
) -> Iterator[str]:
    """Lines of the page; `rest` are the rules without a claim."""
    yield METHOD.format(**run)
    counts = Counter(finding.verdict for _, finding in found)
    yield f"{len(found)} claims: {', '.join(f'{verdict} {counts[verdict]}' for verdict in Verdict)}.\n"
    yield HEAD
    yield rule_of(HEAD)
    for claim, finding in found:
        yield row(claim, finding)
    yield "\n## Rules without a published figure\n"
    for name, reason in rest.items():
        yield f"- `{name}`: {reason}."


def row(claim: Claim, finding: Finding) -> str:
    """One line of the table; a bar in a spelling must not end its cell."""
    rules = ", ".join(f"`{rule}`" for rule in claim.rules)
    said = f"{claim.says}. *{claim.source}*"
    texts = (rules, said, finding.measured, f"**{finding.verdict}**", finding.why)
    return cells(*(text.replace("|", "\\|") for text in texts))
