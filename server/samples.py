"""Samples of real traffic as a trace: what `quorate replay` and `quorate calibrate` read."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from core.types import RequestKind, Sample
from server.jobs import Result


class Keep(Protocol):
    """Where the samples of an answered program go."""

    def __call__(self, result: Result) -> None: ...


def forget(result: Result) -> None:
    """Nobody records."""


def line(result: Result) -> dict[str, Any] | None:
    """The program as one question of a trace; None unless it drew its whole budget on purpose.

    A vote that stopped early leaves few samples of easy questions and many of contested ones: no such record could say
    what another rule would have done. Only canonical answers and counts are kept, no prompt and no text.
    """
    budget = result.program.budget
    if budget.max_samples < 2 or budget.min_samples < budget.max_samples:
        return None
    ended = [record.sample for record in result.records.values() if record.request.kind is RequestKind.SAMPLE]
    samples = [recorded(sample) for sample in ended if sample is not None and sample.usable]
    if len(samples) < budget.max_samples:
        return None
    job = result.job
    return {"id": job.id, "task": job.kind.value, "model": job.model, "gold": None, "samples": samples}


def recorded(sample: Sample) -> Mapping[str, Any]:
    """One sample of a trace. Whether it is right is not known here."""
    confidence = {} if sample.confidence is None else {"confidence": asdict(sample.confidence)}
    return {"answer": sample.answer, "correct": None, "tokens": sample.usage.completion, **confidence}


@contextmanager
def sample_log(path: Path) -> Iterator[Keep]:
    """Append the samples of every program that drew its whole budget to a file, one JSON line a program."""
    with path.open("a", encoding="utf-8", buffering=1) as file:

        def keep(result: Result) -> None:
            found = line(result)
            if found is not None:
                file.write(json.dumps(found, ensure_ascii=False) + "\n")

        yield keep
