"""The command line: record, evaluate, list questions, and say what is wrong."""

import gzip
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reasoner.__main__ import main
from reasoner.engines import Piece, Reply
from reasoner.judge import ASK
from reasoner.record import load, save, weights_of

command = importlib.import_module("reasoner.__main__")


def test_sample_then_evaluate(small_gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A short recording with the shipped model is a trace named for the model, and both commands print its table."""
    out = tmp_path / "t.jsonl.gz"
    common = ["--model", str(small_gguf), "--split", "development", "--bins", "1,2", "--out", str(out)]
    assert main(["sample", *common, "--per-bin", "2", "--samples", "4", "--parallel", "2"]) == 0
    recorded = capsys.readouterr()
    assert "20 new samples" in recorded.err
    told = {(line["model"], line["max_tokens"], line["weights"]) for line in load(out).values()}
    assert told == {("reasoner-small", 900, weights_of(small_gguf))}
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


ASKED: dict[str, Any] = {
    "id": "train/1/0000", "task": "ledger", "bin": 1, "question": "Q?", "gold": "7",
    "greedy": {"answer": "7", "correct": True, "tokens": 9, "text": "So 7."},
    "samples": [{"answer": "8", "correct": False, "tokens": 9, "text": "So 8."}],
}  # fmt: skip


def broken(folder: Path) -> None:
    """Traces that cannot be read to their end, one without questions, and a whole one."""
    save(folder / "asked.jsonl.gz", [ASKED])
    save(folder / "mute.jsonl.gz", [{key: ASKED[key] for key in ("id", "task", "samples")}])
    (folder / "cut.jsonl.gz").write_bytes((folder / "asked.jsonl.gz").read_bytes()[:60])
    (folder / "text.jsonl.gz").write_text(json.dumps(ASKED))
    (folder / "keys.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    (folder / "none.jsonl.gz").write_bytes(gzip.compress(b""))
    save(folder / "recorded.jsonl.gz", [{**ASKED, "model": "big", "t": 1, "max_tokens": 900}])
    save(folder / "models.jsonl.gz", [{**ASKED, "id": f"train/1/{model}", "model": model} for model in ("big", "wee")])
    save(folder / "splits.jsonl.gz", [ASKED, {**ASKED, "id": "newcomer/000"}])
    save(folder / "probes.jsonl.gz", [{**ASKED, "samples": [{**ASKED["samples"][0], "probes": [5]}]}])
    os.mkfifo(folder / "fifo")
    (folder / "traces").mkdir()
    for path in (folder / "list.jsonl.gz", folder / "traces" / "list.jsonl.gz"):
        path.write_bytes(gzip.compress(b"[]\n"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["evaluate", "absent.jsonl.gz"], "no such file: absent.jsonl.gz"),
        (["evaluate", "none.jsonl.gz"], "no trace in none.jsonl.gz"),
        (["evaluate", "models.jsonl.gz"], "models.jsonl.gz holds samples of several models: big and wee"),
        (["evaluate", "splits.jsonl.gz"], "splits.jsonl.gz holds samples of several splits: held-out and train"),
        (["evaluate", "probes.jsonl.gz"], "probes.jsonl.gz, line 1: a sample has 'probes' that are not"),
        (["sample", "--model", "absent.gguf", "--out", "t.gz"], "no such model file: absent.gguf"),
        (["sample", "--base-url", "http://localhost:1/v1", "--out", "t.gz"], "--base-url needs --name"),
        (["questions", "--tasks", "newcomer"], "newcomer's questions are held out"),
        (["questions", "--tasks", "story", "--bins", "o1"], "--bins: o1 is of ordering"),
        (["sample", "--model", "absent.gguf", "--out", "t.gz", "--probed", "3"], "--probed needs --probes"),
        (
            ["sample", "--base-url", "http://localhost:1/v1", "--name", "m", "--bins", "1", "--out", "t.gz"],
            "ConnectError",
        ),
        (["evaluate", "cut.jsonl.gz"], "cut.jsonl.gz, after line 0: no whole gzip file"),
        (["evaluate", "text.jsonl.gz"], "text.jsonl.gz, after line 0: no whole gzip file"),
        (["evaluate", "list.jsonl.gz"], "list.jsonl.gz, line 1 is no object"),
        (["evaluate", "keys.jsonl.gz"], "keys.jsonl.gz, line 1 has no 'id'"),
        (["judge", "--model", "m.gguf", "--samples", "mute.jsonl.gz"], "mute.jsonl.gz, line 1 has no 'question'"),
        (["judge", "--model", "m.gguf", "--samples", "models.jsonl.gz"], "several models: big and wee"),
        (["judge", "--model", "m.gguf", "--samples", "asked.jsonl.gz", "--out", "."], "--out: . is no regular file"),
        (["judge", "--model", "m.gguf", "--samples", "asked.jsonl.gz", "--out", "fifo"], "--out: fifo is no regular"),
        (["sample", "--model", "cut.jsonl.gz", "--out", "fifo"], "--out: fifo is no regular file"),
        # No model, but what is wrong with the trace is told first.
        (["sample", "--model", "cut.jsonl.gz", "--out", "asked.jsonl.gz"], "asked.jsonl.gz, line 1 has no 'model'"),
        (["sample", "--model", "cut.jsonl.gz", "--out", "recorded.jsonl.gz"], "with model big, now it is"),
        (["judge", "--model", "m.gguf", "--samples", "asked.jsonl.gz", "--out", "keys.jsonl.gz/s.gz"], "keys.jsonl.gz"),
        (["card", "--root", "."], "traces/list.jsonl.gz, line 1 is no object"),
    ],
)
def test_failures_are_one_line_and_status_1(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went wrong is said in one line, without a traceback."""
    monkeypatch.chdir(tmp_path)
    broken(tmp_path)
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
        ["questions", "--per-bin", "5", "--standard"],
        ["questions", "--standard", "--per-bin", "5"],
        ["questions", "--per-bin", "0"],
    ],
)
def test_wrong_arguments_are_status_2(argv: list[str]) -> None:
    """Missing commands, unknown bins and counts below one are refused by the parser."""
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--threads", "9" * 9, f"is more than the {os.cpu_count()} cores of this machine"),
        ("--threads", "0", "is not positive"),
        ("--parallel", "257", "257 is more than 256"),
        ("--base-url", "", "'' is no address of a server"),
        ("--base-url", "http://[::", "is no address of a server"),
        ("--base-url", "http://a\x01b/v1", "is no address of a server"),
    ],
)
def test_options_out_of_bounds_are_named(
    option: str, value: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """More than the machine or llama.cpp has, and what is no address, by the parser."""
    source = [] if option == "--base-url" else ["--model", "m.gguf"]
    with pytest.raises(SystemExit) as stopped:
        main(["sample", *source, "--out", "t.gz", option, value])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert f"argument {option}: " in said
    assert told in said


def test_a_reader_may_leave() -> None:
    """What `head` has read is enough: the rest is not written, and nobody complains."""
    argv = [sys.executable, "-m", "reasoner", "questions", "--per-bin", "200"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=Path(command.__file__).parents[1], text=True, **pipes) as asked:
        assert json.loads(asked.stdout.readline())["id"] == "development/1/0000"
        asked.stdout.close()
        assert asked.stderr.read() == ""
    assert asked.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize("temperature", ["nan", "inf", "-0.5", "warm", "1e999"])
def test_temperatures_are_finite_and_not_negative(temperature: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused by the parser, which names the option and the value."""
    argv = ["sample", "--model", "m.gguf", "--out", "t.gz", f"--temperature={temperature}"]
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert f"--temperature: {temperature} is no finite number of at least 0" in capsys.readouterr().err


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scripted: Any) -> list[str]:
    """A judge command without its --out, of a whole trace, whose engine says that all is right."""
    pytest.importorskip("tqdm")
    save(tmp_path / "asked.jsonl.gz", [ASKED])

    def right(question: str, temperature: float, seed: int) -> Reply:
        assert question.endswith(ASK)
        return Reply("Yes", 1, (Piece("Yes", -0.1, (-0.1,), ("Yes",)),))

    monkeypatch.setattr(command, "_engine", lambda args, name: scripted(right))
    return ["judge", "--model", "m/m.gguf", "--samples", str(tmp_path / "asked.jsonl.gz")]


def test_scores_go_where_no_folder_is_yet(judging: list[str], tmp_path: Path) -> None:
    """The folder of --out is made, as a recording's is."""
    out = tmp_path / "absent" / "deep" / "scored.jsonl.gz"
    assert main([*judging, "--out", str(out)]) == 0
    (scored,) = load(out).values()
    assert [sample["judge"] for sample in (scored["greedy"], *scored["samples"])] == [1.0, 1.0]


def test_the_folder_is_made_before_anything_is_scored(
    judging: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interrupt while scoring leaves the folder, no scores, and a true word on what the same command would do."""

    def interrupted(*args: Any, **more: Any) -> None:
        assert (tmp_path / "absent").is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "judged", interrupted)
    assert main([*judging, "--out", str(tmp_path / "absent" / "scored.jsonl.gz")]) == 130
    assert list((tmp_path / "absent").iterdir()) == []
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "reasoner: interrupted; the same command scores everything again"


@pytest.mark.parametrize(
    ("argv", "work", "told"),
    [
        (["sample", "--model", "m.gguf", "--out", "t.gz"], "_selected", "interrupted; the same command resumes"),
        (["questions"], "_selected", "interrupted"),
        (["evaluate", "t.gz"], "load", "interrupted"),
    ],
)
def test_only_a_recording_resumes(
    argv: list[str], work: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is said after an interrupt is what is true of the command."""

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, work, interrupted)
    assert main(argv) == 130
    assert capsys.readouterr().err == f"reasoner: {told}\n"


def test_templates_are_shown_with_their_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What each line says, or what is wrong with it; a faulty one is a failure."""
    file = tmp_path / "some.txt"
    file.write_text("# birds\n\n[she] sees {a} larks and {b} owls. How many birds? | a +b\n")
    assert main(["written", str(file)]) == 0
    assert re.fullmatch(r"1\. .* \[(\d+) gains (\d+) -> \d+\]\n", capsys.readouterr().out, re.DOTALL)
    file.write_text(file.read_text() + "{a} larks and 4 owls. How many? | a\n")
    assert main(["written", str(file)]) == 1
    shown = capsys.readouterr()
    assert "2. FAULT: it has a number that is no slot" in shown.out
    assert "1 of 2 lines are faulty" in shown.err


def test_templates_need_files_or_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    """Without either there is nothing to tell of."""
    assert main(["written"]) == 1
    assert "--model" in capsys.readouterr().err
