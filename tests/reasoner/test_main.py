"""The command line: record, evaluate, list questions, and say what is wrong."""

import json
from pathlib import Path

import pytest

from reasoner.__main__ import main
from reasoner.record import load


def test_sample_then_evaluate(small_gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A short recording with the shipped model is a trace named for the model, and both commands print its table."""
    out = tmp_path / "t.jsonl.gz"
    common = ["--model", str(small_gguf), "--split", "development", "--bins", "1,2", "--out", str(out)]
    assert main(["sample", *common, "--per-bin", "2", "--samples", "4", "--parallel", "2"]) == 0
    recorded = capsys.readouterr()
    assert "20 new samples" in recorded.err
    assert {line["model"] for line in load(out).values()} == {"reasoner-small"}
    assert main(["evaluate", str(out)]) == 0
    assert capsys.readouterr().out == recorded.out
    assert "| 1 | 2 | " in recorded.out
    assert main(["evaluate", str(out), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["bin"], row["questions"]) for row in rows] == [("1", 2), ("2", 2), ("all", 4)]
    assert rows[0]["maj@8"] is None


def test_everything_can_be_recorded(small_gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Confidence, steps and forced answers of the first samples are in the trace, and in the second table."""
    out = tmp_path / "t.jsonl.gz"
    argv = [
        "sample",
        "--model",
        str(small_gguf),
        "--bins",
        "1,o1",
        "--per-bin",
        "1",
        "--samples",
        "2",
        "--out",
        str(out),
    ]
    assert main([*argv, "--confidence", "--steps", "--probes", "--probed", "1"]) == 0
    assert "| forced@100% | after stated |" in capsys.readouterr().out
    for line in load(out).values():
        assert [("probes" in sample) for sample in (line["greedy"], *line["samples"])] == [True, True, False]
        assert all({"confidence", "steps", "stated", "thought"} <= set(sample) for sample in line["samples"])


@pytest.mark.parametrize(
    ("argv", "ids"),
    [
        ([], [f"development/{bin_}/0000" for bin_ in range(1, 10)]),
        (["--tasks", "story"], [f"development/s{bin_}/0000" for bin_ in range(1, 7)]),
        (["--bins", "o2,3"], ["development/o2/0000", "development/3/0000"]),
        (["--tasks", "ordering,ledger", "--bins", "9"], ["development/9/0000"]),
    ],
)
def test_tasks_and_bins_select_questions(argv: list[str], ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Ledgers unless told otherwise; bins say which tasks they are of."""
    assert main(["questions", "--per-bin", "1", *argv]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ids


def test_the_newcomer_comes_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """All of the newcomer's questions are listed, whatever the number asked for."""
    assert main(["questions", "--split", "held-out", "--tasks", "newcomer", "--per-bin", "3", "--worked"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 100


def test_questions_lists_answers_and_worked_solutions(capsys: pytest.CaptureFixture[str]) -> None:
    """Each question is one JSON line with its answer; --worked adds the solution, which ends in that answer."""
    assert main(["questions", "--per-bin", "1", "--bins", "2", "--worked"]) == 0
    first, *worked = capsys.readouterr().out.splitlines()
    assert json.loads(first)["id"] == "development/2/0000"
    assert worked[0] == "<think>"
    assert worked[-1] == rf"The answer is \boxed{{{json.loads(first)['gold']}}}."


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["evaluate", "absent.jsonl.gz"], "no trace in absent.jsonl.gz"),
        (["sample", "--model", "absent.gguf", "--out", "t.gz"], "no such model file: absent.gguf"),
        (["sample", "--base-url", "http://localhost:1/v1", "--out", "t.gz"], "--base-url needs --name"),
        (["questions", "--tasks", "newcomer"], "newcomer's questions are held out"),
        (["questions", "--tasks", "story", "--bins", "o1"], "--bins: o1 is of ordering"),
        (["sample", "--model", "absent.gguf", "--out", "t.gz", "--probed", "3"], "--probed needs --probes"),
        (
            ["sample", "--base-url", "http://localhost:1/v1", "--name", "m", "--bins", "1", "--out", "t.gz"],
            "ConnectError",
        ),
    ],
)
def test_failures_are_one_line_and_status_1(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went wrong is said in one line, without a traceback."""
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("reasoner: ")
    assert message in last


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["questions", "--bins", "10"],
        ["questions", "--tasks", "poems"],
        ["questions", "--per-bin", "2", "--standard"],
        ["questions", "--per-bin", "0"],
    ],
)
def test_wrong_arguments_are_status_2(argv: list[str]) -> None:
    """Missing commands, unknown bins and counts below one are refused by the parser."""
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
