"""The answer on the wire: one choice, the winner's own words, and an honest account of what it cost."""

from collections.abc import Mapping
from math import floor
from typing import Any

from core.types import NANOS, Outcome, RequestKind, Sample, StopReason
from server.accounts import result_fates, settled, total_usage
from server.budgets import Plan
from server.jobs import Record, Result

SHOWN_ANSWERS = 5
"""Entries of the answer distribution in a report."""


def compute_report(result: Result) -> dict[str, Any]:
    """The `compute` object (docs/api.md): what was planned, what was done, why it stopped, what it cost."""
    plan, answer, probability = result.job.plan, result.answer, settled(result)
    report: dict[str, Any] = {
        "strategy": plan.name,
        "samples": sample_counts(result),
        "stop_reason": answer.stop_reason.value,
        "certainty": answer.certainty if answer.certainty is None else round(answer.certainty, 4),
        "calibrated": answer.calibrated,
        "profile": result.program.profile.name,
        "settled": probability if probability is None else round(probability, 4),
        "distribution": [{"answer": text, "votes": votes} for text, votes in answer.distribution[:SHOWN_ANSWERS]],
        "escalated": False,
        "budget": limits(plan),
        "clamped": list(plan.clamped),
        "seconds": round(result.elapsed / NANOS, 4),
        "overhead_ms": round(result.overhead / 1e6, 3),
        "queue_ms": round(result.queued / 1e6, 3),
        "tokens": token_counts(result),
    }
    if "samples" in plan.include:
        started = [record for record in result.records.values() if record.started]
        report["candidates"] = [_candidate(each) for each in started if each.request.kind is RequestKind.SAMPLE]
    if "trace" in plan.include:
        report["trace"] = _trace(result)
    return report


def limits(plan: Plan) -> dict[str, Any]:
    """The budget that was in force; besides the samples and the seconds, what was set."""
    budget = plan.budget
    named = {
        "min_samples": budget.min_samples if budget.min_samples > 1 else None,
        "max_tokens": budget.max_tokens,
        "certainty": budget.certainty,
        "abstain": budget.abstain or None,
    }
    given = {key: value for key, value in named.items() if value is not None}
    return {
        "source": plan.source,
        "max_samples": budget.max_samples,
        "max_seconds": budget.max_seconds,
        **given,
    }


def sample_counts(result: Result) -> dict[str, int]:
    """Samples by fate; `truncated` ran into their token limit and did not vote.

    `asked`, where there are any, are requests beside them.
    """
    ledger = result.program.ledger
    return {
        "planned": result.program.planned,
        "started": ledger.sampled,
        "finished": ledger.samples[Outcome.FINISHED],
        "truncated": ledger.samples[Outcome.TRUNCATED],
        "aborted": ledger.samples[Outcome.ABORTED],
        "failed": ledger.samples[Outcome.FAILED],
        **({"asked": ledger.started - ledger.sampled} if ledger.started > ledger.sampled else {}),
    }


def token_counts(result: Result) -> dict[str, int]:
    """Generated tokens by fate; `discarded` includes `aborted`."""
    fates = result_fates(result)
    return {
        "selected": fates.selected,
        "discarded": fates.discarded + fates.aborted,
        "aborted": fates.aborted,
        "saved_estimate": fates.saved,
    }


def usage(result: Result) -> dict[str, Any]:
    """OpenAI's usage; `completion_tokens` counts every generated token, the details say where they went."""
    total, fates = total_usage(result), result_fates(result)
    return {
        "prompt_tokens": total.prompt,
        "completion_tokens": total.completion,
        "total_tokens": total.prompt + total.completion,
        "completion_tokens_details": {
            "reasoning_tokens": total.reasoning,
            "discarded_tokens": fates.discarded + fates.aborted,
            "samples": result.program.ledger.sampled,
        },
    }


def plain_body(result: Result, *, model: str, created: int) -> dict[str, Any]:
    """The whole `chat.completion` object."""
    record = result.selected
    if record is not None and record.body is not None:
        body = {**record.body, "model": model}
        if result.job.plan.off:
            return body
        theirs = body.get("usage")
        counted = {**(theirs if isinstance(theirs, Mapping) else {}), **usage(result)}
        return {**body, "usage": counted, "compute": compute_report(result)}
    return {
        "id": completion_id(result.job.request_id),
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice(result)],
        "usage": usage(result),
        "compute": compute_report(result),
    }


def completion_id(job: str) -> str:
    """The id of an answer, from the id of its request."""
    return f"chatcmpl-{job}"


def choice(result: Result) -> dict[str, Any]:
    """The one choice: the winner's message with its own finish reason, or a refusal when it abstained."""
    if result.answer.stop_reason is StopReason.ABSTAINED:
        message = {"role": "assistant", "content": None, "refusal": abstention(result)}
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    sample, record = result.answer.sample, result.selected
    assert sample is not None and record is not None, "an answered program has selected a sample"
    return {
        "index": 0,
        "message": dict(sample.message),
        "logprobs": record.assembly.logprobs,
        "finish_reason": sample.finish_reason,
        **record.assembly.extra,
    }


def abstention(result: Result) -> str:
    """Why no answer is given, for OpenAI's `refusal` field: which number fell short of which."""
    return f"Abstained: {_too_little(result)}."


def _too_little(result: Result) -> str:
    answer, target = result.answer, result.job.plan.budget.target
    so_far = f"after {result.program.ledger.samples[Outcome.FINISHED]} samples"
    below = target if answer.below is None else answer.below
    if not answer.distribution:
        return f"no comparable answers {so_far}"
    if answer.share is not None:
        return f"the winner's share is {_number(answer.share)} {so_far}, below the {below:g} asked for"
    reached = f"certainty {_number(answer.certainty or 0.0)} {so_far}"
    if below == target:
        return f"{reached}, below the target of {target:g}"
    return f"{reached}, below {_number(below)}, the level certified for the target of {target:g}"


def _number(value: float) -> str:
    """Cut, not rounded: what is below a level must not read as if it were the level."""
    return f"{floor(value * 10_000) / 10_000:g}"


def headers(result: Result) -> dict[str, str]:
    """The `x-compute-*` headers of a plain response."""
    answer = result.answer
    named = {
        "x-compute-samples": str(result.program.ledger.sampled),
        "x-compute-stop-reason": answer.stop_reason.value,
        "x-compute-overhead-ms": f"{result.overhead / 1e6:.2f}",
    }
    if answer.certainty is not None:
        named["x-compute-certainty"] = f"{answer.certainty:.4f}"
    return named


def _candidate(record: Record) -> dict[str, Any]:
    """One sample as the client may see it."""
    sample = record.sample or Sample(record.request.index, Outcome.ABORTED)
    return {
        "index": sample.index,
        "outcome": sample.outcome.value,
        "answer": sample.answer,
        "finish_reason": sample.finish_reason,
        "completion_tokens": sample.usage.completion,
        "seconds": round(sample.seconds, 4),
        "message": dict(sample.message),
        "error": sample.error.message if sample.error is not None else None,
    }


def _trace(result: Result) -> list[Mapping[str, Any]]:
    """Every request's life in milliseconds since the first was submitted: the auditable stop record."""
    records = list(result.records.values())
    origin = records[0].submitted if records else 0

    def at(moment: int | None) -> float | None:
        return None if moment is None else round((moment - origin) / 1e6, 3)

    return [
        {
            "index": record.request.index,
            "kind": record.request.kind.value,
            "submitted_ms": at(record.submitted),
            "started_ms": at(record.started),
            "ended_ms": at(record.ended),
            "outcome": record.sample.outcome.value if record.sample else None,
            "answer": record.sample.answer if record.sample else None,
        }
        for record in records
    ]
