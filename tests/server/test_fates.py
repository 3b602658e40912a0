"""Where a program's tokens went: every one in one place, whatever the answer was put together from."""

import pytest

from core.types import Outcome, Prompt, Request, RequestKind, Sample, Usage
from server.accounts import token_fates
from server.jobs import Record


def record(index: int, outcome: Outcome, tokens: int, kind: RequestKind = RequestKind.SAMPLE) -> Record:
    """A request that has ended like this."""
    ended = Sample(index, outcome, usage=Usage(10, tokens))
    return Record(Request("p", index, Prompt({}), kind), 0, started=0, sample=ended)


CUT, WHOLE, PROBE = Outcome.ABORTED, Outcome.FINISHED, RequestKind.PROBE


@pytest.mark.parametrize(
    ("records", "tokens", "fates"),
    [
        ([record(0, WHOLE, 50), record(1, CUT, 20), record(2, WHOLE, 40)], 50, (50, 40, 20)),
        ([record(0, CUT, 50), record(1, WHOLE, 6, PROBE), record(2, WHOLE, 5, PROBE)], 55, (55, 6, 0)),
        ([record(0, WHOLE, 50), record(1, CUT, 30, PROBE)], 80, (80, 0, 0)),
        ([record(0, WHOLE, 50)], 51, (50, 0, 0)),
        ([record(0, CUT, 50)], None, (0, 0, 50)),
    ],
)
def test_every_token_has_one_fate(records: list[Record], tokens: int | None, fates: tuple[int, int, int]) -> None:
    """Selected, discarded, aborted; parts of the answer are selected, however their requests ended."""
    selected = None if tokens is None else Sample(0, WHOLE, usage=Usage(10, tokens))
    found = token_fates({each.request.index: each for each in records}, selected=selected, planned=1)
    assert (found.selected, found.discarded, found.aborted) == fates
    assert sum(fates) == sum(each.sample.usage.completion for each in records if each.sample)


def test_the_saving_is_estimated_by_samples_alone() -> None:
    """Short probes do not make the samples that were not needed look short."""
    records = {0: record(0, WHOLE, 100), 1: record(1, WHOLE, 4, PROBE)}
    assert token_fates(records, selected=records[0].sample, planned=3).saved == 300 - 104
