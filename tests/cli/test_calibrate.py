"""`quorate calibrate`: the profile it writes, what it prints, what it refuses."""

import json
import sys
from datetime import date, timedelta
from hashlib import sha256

import pytest

from cli.main import main
from core.calibration import Profile, Target
from core.profiles import decode
from sim.dice import dice

QUICK = ("--cap", 4, "--width", 2, "--orders", 2, "--certainty", "0.7,0.9", "--jobs", 1)


def calibrate(*arguments):
    """Call the command as a shell would."""
    return main(["calibrate", *map(str, arguments)])


def line(number, *, labels=True, samples=8):
    """A question as a trace has it: easy or hard by turns, its answer A."""
    answers = dice(0, f"line {number}").choices("AB", (0.95, 0.05) if number % 2 else (0.5, 0.5), k=samples)
    flags = {"correct": None} if not labels else {}
    return json.dumps(
        {"id": f"q{number}", "samples": [{"answer": a, "correct": a == "A", "tokens": 10, **flags} for a in answers]}
    )


@pytest.fixture
def trace(tmp_path):
    """A trace of forty questions with eight samples each."""
    path = tmp_path / "forty.jsonl"
    path.write_text("\n".join(map(line, range(40))) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def written(tmp_path):
    """Calibrate and return the document that was written."""

    def write(*arguments):
        assert calibrate("--out", tmp_path / "profile.json", *QUICK, *arguments) == 0
        return json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))

    return write


def test_a_profile_is_written(written, trace):
    """It decodes, is calibrated, and says what it was made from."""
    document = written(trace, "--model", "m", "--task", "letters")
    profile = decode(document)
    assert profile.calibrated
    expected = Profile("forty", Target.AGREEMENT, 8, cap=4, width=2, model="m", task="letters")
    for field in ("name", "target", "reference", "cap", "width", "model", "task"):
        assert getattr(profile, field) == getattr(expected, field)
    assert [bound.certainty for bound in profile.bounds] == [0.7, 0.9]
    account = document["account"]
    assert account["traces"] == [{"name": "forty.jsonl", "sha256": sha256(trace.read_bytes()).hexdigest()}]
    assert (account["questions"], account["held_out"]) == (40, 20)
    assert abs(date.fromisoformat(account["made"]) - date.today()) <= timedelta(days=1)
    assert [row["certainty"] for row in account["reliability"]] == [None, 0.7, 0.9]


def test_the_same_samples_give_the_same_profile(written, trace):
    """To the last byte, however many processes there are."""
    assert written(trace) == written(trace, "--jobs", 2)


def test_agreement_needs_no_labels(written, tmp_path):
    """Flags that are null change nothing."""
    path = tmp_path / "unlabelled.jsonl"
    path.write_text("\n".join(line(number, labels=False) for number in range(40)), encoding="utf-8")
    assert decode(written(path, "--name", "n")).calibrated


def test_correctness_needs_labels(tmp_path, capsys):
    """The line without them is named."""
    path = tmp_path / "unlabelled.jsonl"
    path.write_text("\n".join([line(0), line(1, labels=False)]), encoding="utf-8")
    assert calibrate(path, "--out", tmp_path / "p.json", "--target", "correctness", *QUICK) == 1
    assert "unlabelled.jsonl:2" in capsys.readouterr().err


def test_correctness_is_calibrated(written, trace, capsys):
    """With settled thresholds as well, and a word on every abstention that could not be certified."""
    profile = decode(written(trace, "--target", "correctness"))
    assert profile.target is Target.CORRECTNESS
    assert profile.bounds
    missing = {0.7, 0.9} - {each.certainty for each in profile.abstentions}
    said = capsys.readouterr().out
    assert all(f"certainty {each:g}: no level of abstention is certified" in said for each in missing)


def test_certainty_itself_cannot_be_certified(written, trace, capsys):
    """Nothing is risked where it is asked for, and no abstention keeps it."""
    profile = decode(written(trace, "--target", "correctness", "--certainty", "0.9,1"))
    assert [bound.settled for bound in profile.bounds if bound.certainty == 1] == [1.0]
    assert all(each.certainty < 1 for each in profile.abstentions)
    assert "certainty 1: no level of abstention is certified" in capsys.readouterr().out


def test_the_table_says_how_reliable_it_is(written, trace, capsys):
    """On held-out questions, with a warning where there are few, and what could not be certified."""
    written(trace)
    said = capsys.readouterr().out
    assert "forty: 40 questions, 20 of them held out, 2 orders each" in said
    assert "Fewer than 100 questions" in said
    assert "Fewer than 50 questions held out" in said
    assert "noise floor" in said
    assert "certainty 0.9: 40 questions certify no threshold" not in said
    assert "log-odds = " in said


def test_the_same_question_in_two_files_is_one(written, trace, tmp_path):
    """Two models on the same questions: both are in, and prove no more than so many questions."""
    other = tmp_path / "other.jsonl"
    other.write_bytes(trace.read_bytes())
    document = written(trace, other)
    account = document["account"]
    assert (account["questions"], account["held_out"]) == (40, 20)
    assert {bound["questions"] for bound in document["bounds"]} == {40}
    assert [each["name"] for each in account["traces"]] == ["forty.jsonl", "other.jsonl"]


def test_the_diagram_is_drawn(written, trace, tmp_path):
    """A PNG."""
    written(trace, "--plot", tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_nothing_is_calibrated(trace, tmp_path, capsys, monkeypatch):
    """It says what to install before the work is done."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert calibrate(trace, "--out", tmp_path / "p.json", "--plot", tmp_path / "p.png", *QUICK) == 1
    assert capsys.readouterr().err == "quorate calibrate: --plot needs matplotlib: pip install 'quorate[bench]'.\n"
    assert not (tmp_path / "p.json").exists()


def test_a_file_is_given_once(trace, tmp_path, capsys):
    """However it is spelled."""
    again = trace.parent / "." / trace.name
    assert calibrate(trace, again, "--out", tmp_path / "p.json", *QUICK) == 1
    assert capsys.readouterr().err == f"quorate calibrate: {again} is given twice\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cap", 9], "8 samples are recorded of every question, 9 are needed"),
        (["--reference", 20], "8 samples are recorded of every question, 20 are needed"),
        (["--out", "nowhere/p.json"], "there is no folder nowhere"),
        (
            ["--holdout", "0.0001"],
            "forty.jsonl: 39 questions to learn from and 1 held out are too few: at least 10 of each are needed",
        ),
        (
            ["--holdout", "0.99"],
            "forty.jsonl: 0 questions to learn from and 40 held out are too few: at least 10 of each are needed",
        ),
    ],
)
def test_what_cannot_be_done_is_said(trace, tmp_path, capsys, options, message):
    """In one line, with status 1."""
    assert calibrate(trace, "--out", tmp_path / "p.json", *QUICK, *options) == 1
    assert capsys.readouterr().err == f"quorate calibrate: {message}\n"


def test_questions_that_nobody_answers_are_refused(tmp_path, capsys):
    """There is nothing to learn from them."""
    path = tmp_path / "silent.jsonl"
    silent = {"id": "q", "samples": [{"answer": None, "tokens": 1}] * 4}
    path.write_text("\n".join(json.dumps({**silent, "id": n}) for n in range(20)), encoding="utf-8")
    assert calibrate(path, "--out", tmp_path / "p.json", *QUICK) == 1
    assert "silent.jsonl: no sample of these questions voted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--target", "luck"],
        ["--certainty", "1.5"],
        ["--certainty", "high"],
        ["--delta", "0"],
        ["--holdout", "1"],
        ["--rule", "no-such-rule"],
        ["--rule", "fixed,esc-5"],
        ["--cap", "0"],
    ],
)
def test_wrong_options_are_refused(trace, tmp_path, options):
    """With status 2, as of every command."""
    with pytest.raises(SystemExit) as caught:
        calibrate(trace, "--out", tmp_path / "p.json", *options)
    assert caught.value.code == 2
