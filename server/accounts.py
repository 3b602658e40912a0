"""The books of a program: where its tokens went, as counts for the report and for the metrics."""

from collections.abc import Mapping
from statistics import fmean

from core.types import NANOS, Outcome, RequestKind, Sample, StopReason, Usage
from server.jobs import Record, Result
from server.metrics import Metrics, TokenFates

FORBIDDEN = frozenset({StopReason.MAX_TOKENS, StopReason.DEADLINE, StopReason.FAILED})
"""Reasons to stop that are no decision: the samples that were not drawn could not have been."""


def token_fates(records: Mapping[int, Record], *, selected: Sample | None, planned: int) -> TokenFates:
    """Generated tokens by fate. `selected` is the answer's sample, with the tokens of all requests that it was put
    together from; `planned` counts the samples that would have been drawn without stopping early.

    `saved` is an estimate: the planned samples at the mean length of the finished ones, less what was generated.
    """
    usage = {index: record.sample.usage for index, record in records.items() if record.sample is not None}
    aborted = {i for i, record in records.items() if record.sample and record.sample.outcome is Outcome.ABORTED}
    whole = {i for i, record in records.items() if record.sample and record.sample.outcome is Outcome.FINISHED}
    finished = [usage[i].completion for i in whole if records[i].request.kind is RequestKind.SAMPLE]
    lost = sum((record.lost for record in records.values()), Usage())
    total = sum(each.completion for each in usage.values()) + lost.completion
    chosen = min(total, selected.usage.completion) if selected is not None else 0
    dropped = lost.completion + sum(usage[i].completion for i in aborted if selected is None or i != selected.index)
    dropped = min(dropped, total - chosen)  # what was cut may be a part of the answer
    return TokenFates(
        selected=chosen,
        discarded=total - chosen - dropped,
        aborted=dropped,
        prompt=sum(each.prompt for each in usage.values()) + lost.prompt,
        saved=max(0, round(planned * fmean(finished)) - total) if finished else 0,
    )


def result_fates(result: Result) -> TokenFates:
    """The token fates of an answered program."""
    sample = result.answer.sample
    withheld = sample is None or result.answer.stop_reason is StopReason.ABSTAINED
    selected = None if withheld else sample
    return token_fates(result.records, selected=selected, planned=0 if forbidden(result) else result.program.planned)


def forbidden(result: Result) -> bool:
    """Whether a limit ended the program. Of an answer that was withheld, its reason to stop is no longer known."""
    if result.answer.stop_reason is not StopReason.ABSTAINED:
        return result.answer.stop_reason in FORBIDDEN
    program, seconds = result.program, result.program.budget.max_seconds
    spent = program.exhausted or program.affordable(1) < 1
    return spent or (seconds is not None and result.elapsed >= seconds * NANOS)


def settled(result: Result) -> float | None:
    """Probability that the full budget would give the answer; None while nobody has voted, whatever was asked."""
    return result.answer.settled if result.answer.distribution else None


def total_usage(result: Result) -> Usage:
    """What the client is told: its own prompt once (as OpenAI does for n > 1), every generated token.

    Of the samples as they ended, not of the ledger: an engine's last count may be below what its pieces looked like.
    """
    ended = [
        (record.request.kind, record.sample.usage) for record in result.records.values() if record.sample is not None
    ]
    total = sum((usage for _, usage in ended), sum((record.lost for record in result.records.values()), Usage()))
    asked = max((usage.prompt for kind, usage in ended if kind is RequestKind.SAMPLE), default=0)
    return Usage(asked, total.completion, total.reasoning)


def count_result(metrics: Metrics, result: Result) -> None:
    """Enter an answered program into the metrics."""
    tokens = result_fates(result)
    metrics.scheduling.served(result.job.tenant, tokens.generated)
    metrics.program_ended(
        result.job.model,
        result.job.plan.name,
        result.answer.stop_reason.value,
        seconds=result.elapsed / NANOS,
        certainty=result.answer.certainty,
        calibrated=result.answer.calibrated,
        settled=settled(result),
        tokens=tokens,
        overhead=result.overhead / NANOS,
    )
