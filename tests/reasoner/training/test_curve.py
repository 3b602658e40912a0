"""The curve: cut where a run is taken up, never lost, and no line of it trusted unseen."""

import json
from pathlib import Path

import pytest

from reasoner.training.curve import Curve


def lines(*tokens: int) -> str:
    """Lines of a curve, as far as this is about them."""
    return "".join(f"{json.dumps({'tokens': each, 'loss': 0.5})}\n" for each in tokens)


@pytest.fixture
def path(tmp_path) -> Path:
    """A curve of three lines, and one that was not finished."""
    path = tmp_path / "curve.jsonl"
    path.write_text(lines(100, 200, 300) + '{"tokens": 4', encoding="utf-8")
    return path


def test_later_lines_are_cut(path: Path) -> None:
    """And so is the one that was not finished; what is added comes after the others."""
    curve = Curve(path)
    curve.cut(200)
    assert path.read_text(encoding="utf-8") == lines(100, 200)
    curve.add({"tokens": 250, "loss": 0.5})
    assert path.read_text(encoding="utf-8") == lines(100, 200, 250)


def test_curve_that_is_not_there_is_begun(tmp_path) -> None:
    """A new run has none."""
    Curve(tmp_path / "curve.jsonl").cut(0)
    assert (tmp_path / "curve.jsonl").read_text(encoding="utf-8") == ""


def test_killed_cut_loses_nothing(path: Path, monkeypatch) -> None:
    """The new file takes the old one's place when it is on disk, and not before."""
    before = path.read_bytes()

    def killed(number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reasoner.files.os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        Curve(path).cut(200)
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", ['{"loss": 0.5}', '{"tokens": "3"}', '["tokens"]', "7", "", '{"tokens": 4'])
def test_line_without_tokens_is_named(path: Path, line: str) -> None:
    """By file and number, and the file is as it was."""
    path.write_text(f"{lines(100, 200)}{line}\n{lines(300)}", encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"curve\.jsonl, line 3 is no point of a curve$"):
        Curve(path).cut(200)
    assert path.read_bytes() == before


def test_file_of_bytes_is_named(path: Path) -> None:
    """Though its decoder knows of no file."""
    path.write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match=r"curve\.jsonl is broken, or is not a curve"):
        Curve(path).cut(200)
