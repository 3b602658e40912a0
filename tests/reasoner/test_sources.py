"""What the card is drawn from: traces that belong together are one, and whatever is broken is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from reasoner.card import accuracy
from reasoner.card.sources import Sources, gathered
from reasoner.record import save

SMALL, LARGE = accuracy.PAIR


def line(id_: str, bin_: int | str, right: int) -> dict[str, Any]:
    """A question of four samples, the first ones right."""
    samples = [{"answer": str(n), "correct": n < right, "tokens": 10} for n in range(4)]
    return {"id": id_, "task": "ledger", "bin": bin_, "model": SMALL, "t": 0.8, "samples": samples}


ROWS = '[{"bin": "all", "questions": 3}]'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("agreement", "{", "is no JSON"),
        ("agreement", "\\", "is no JSON"),
        ("agreement", "[]", "is no object of lists"),
        ("agreement", '{"speeds": []}', "is no object of lists"),
        ("agreement", '{"speeds": [{"model": "m"}], "agreements": []}', "has no list of rows with engine, model"),
        ("agreement", '{"speeds": [], "agreements": {}}', "has no list of rows with differences, engine"),
        ("judge", "[" * 100_000, "is no JSON"),
        ("judge", f'{{"all": {ROWS}}}', "has no list of rows with bin, questions"),
        ("judge", '[{"bin": "all"}]', "has no list of rows with bin, questions"),
        ("other-seeds", "", "is no JSON"),
        ("other-seeds", ROWS, "no object of rows by model"),
        ("other-seeds", f'{{"{SMALL}": {ROWS}}}', "no object of rows by model and seed"),
        ("other-seeds", '{"reasoner-small": {"1": [1]}}', "has no list of rows with bin, questions"),
    ],
)
def test_broken_figures_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    """A file that another command should have written, and has not, is told by its path."""
    path = tmp_path / f"{name}.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as told:
        gathered(tmp_path)
    assert str(told.value).startswith(str(path))


def test_whole_figures_are_read(tmp_path: Path) -> None:
    """The forms that the card reads, row by row."""
    (tmp_path / "agreement.json").write_text('{"agreements": [], "speeds": []}')
    (tmp_path / "judge.json").write_text(ROWS)
    (tmp_path / "other-seeds.json").write_text(f'{{"{SMALL}": {{"1": {ROWS}}}}}')
    found = gathered(tmp_path)
    assert found.agreement == {"agreements": [], "speeds": []}
    assert found.judge == found.seeds[SMALL]["1"] == json.loads(ROWS)


def traced(root: Path, **traces: list[dict[str, Any]]) -> Sources:
    """What is gathered of a folder with these traces, by name."""
    (root / "traces").mkdir()
    for name, lines in traces.items():
        save(root / "traces" / f"{name}.jsonl.gz", lines)
    return gathered(root)


def test_traces_of_one_split_are_one(tmp_path: Path) -> None:
    """Families in one file and the newcomer in another are reported together; older ones tell less of their origin."""
    first = [line("held-out/4/0", 4, 2), line("held-out/5/0", 5, 1)]
    second = [{**line("newcomer/000", "newcomer", 3), "max_tokens": 900, "weights": "0" * 16}]
    found = traced(tmp_path, a=first, b=second, c=[line("calibration/4/0", 4, 1)], d=[line("calibration/5/0", 5, 4)])
    reported = found.reported[SMALL]
    assert [each["id"] for each in reported.lines] == ["held-out/4/0", "held-out/5/0", "newcomer/000"]
    assert reported.single == {"4": 0.5, "5": 0.25, "newcomer": 0.75}
    assert accuracy.middle_bins(found, reported) == ("4",)
    assert len(found.recordings) == 4


@pytest.mark.parametrize(
    ("id_", "other", "message"),
    [
        ("held-out/4/0", {}, r"a\.jsonl\.gz and .*b\.jsonl\.gz both hold held-out/4/0"),
        ("held-out/4/1", {"weights": "f"}, r"a\.jsonl\.gz and .*b\.jsonl\.gz: samples of different weights \(0, f\)"),
        (
            "held-out/4/1",
            {"max_tokens": 400},
            r"a\.jsonl\.gz and .*b\.jsonl\.gz: samples of different max_tokens \(400, 9",
        ),
    ],
)
def test_traces_that_do_not_belong_together_are_named(
    tmp_path: Path, id_: str, other: dict[str, Any], message: str
) -> None:
    """The same question twice, other weights, another limit: nothing wins in silence."""
    origin = {"max_tokens": 900, "weights": "0"}
    one, two = line("held-out/4/0", 4, 2) | origin, line(id_, 4, 1) | origin | other
    found = traced(tmp_path, a=[one], b=[two])
    with pytest.raises(ValueError, match=message):
        _ = found.reported


def test_bins_are_chosen_at_one_temperature(tmp_path: Path) -> None:
    """Of calibration recordings none is the one to choose by: two temperatures are refused, with both files."""
    warm = {**line("calibration/5/0", 5, 2), "t": 1.0}
    found = traced(tmp_path, a=[line("calibration/4/0", 4, 2)], b=[warm])
    with pytest.raises(ValueError, match=r"b\.jsonl\.gz and .*a\.jsonl\.gz: samples of different t \(0\.8, 1\.0\)"):
        _ = found.chosen


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"id": "calibration/4/0"}, r"a\.jsonl\.gz holds several splits: calibration, held-out"),
        ({"id": "held-out/5/0", "t": 1.0}, r"a\.jsonl\.gz holds several temperatures: 0\.8, 1\.0"),
        ({"id": "held-out/5/0", "model": LARGE}, rf"a\.jsonl\.gz holds several models: {LARGE}, {SMALL}"),
    ],
)
def test_mixed_traces_are_named(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    """What the first line says of a trace holds of all of its lines."""
    with pytest.raises(ValueError, match=message):
        _ = traced(tmp_path, a=[line("held-out/4/0", 4, 2), line("", 4, 1) | other]).reported
