"""`quorate replay`: what it writes, what it refuses, and that the number of processes changes nothing."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from cli.exports import matplotlib
from cli.main import main
from cli.plots import sparse
from sim.traces import half, load
from tests.proc import PROC, children, stat

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "mcqa-gpt35-20.jsonl.gz"
KEYS = (
    "trace rule cap width questions orders accuracy accuracy_fixed tokens tokens_fixed oracle_tokens oracle_gap_share "
    "makespan makespan_parallel"
).split()
QUICK = ["--orders", "2", "--jobs", "1"]
EXACT = {"id": "q", "samples": [{"answer": "A", "correct": True, "tokens": 10}] * 4}


def replay(*arguments):
    """Call the command as a shell would."""
    return main(["replay", *map(str, arguments)])


@pytest.fixture
def written(tmp_path):
    """Replay and return the records that were written."""

    def write(*arguments):
        assert replay(*arguments, "--json", tmp_path / "out.json") == 0
        return json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))

    return write


@pytest.fixture
def small(tmp_path):
    """A trace of one question with four equal samples of ten tokens."""
    path = tmp_path / "small.jsonl"
    path.write_text(json.dumps(EXACT) + "\n", encoding="utf-8")
    return path


def test_a_record_holds_what_was_promised(written, small):
    """Keys in their order, values worked out by hand."""
    [record] = written(small, "--rule", "at-least-2", "--cap", 4, "--width", 1, "--orders", 3, "--jobs", 1)
    assert list(record)[: len(KEYS)] == KEYS
    expected = ["small", "at-least-2", 4, 1, 1, 3, 1, 1, 20, 40, 10, 2 / 3, 20, 10]
    assert [record[key] for key in KEYS] == expected
    assert list(record)[-1] == "labels"
    assert record["labels"] is True


def test_without_labels_the_majority_of_everything_recorded_is_right(written, tmp_path, capsys):
    """As a gateway records it: nothing is known to be right, but what most samples say is what a budget is for."""
    path = tmp_path / "mine.jsonl"
    samples = [{"answer": answer, "correct": None, "tokens": 5} for answer in "aaab"]
    path.write_text(json.dumps({"id": "q", "samples": samples}) + "\n", encoding="utf-8")
    [record] = written(path, "--rule", "fixed", "--cap", 4, "--width", 1, *QUICK)
    assert (record["accuracy"], record["labels"]) == (1, False)
    out, err = capsys.readouterr()
    assert "no labels" in err
    assert "fixed 1.000 agreeing with the majority of all recorded (no labels)" in out


def test_there_is_a_record_for_every_setting(written):
    """Rules, caps and widths in the order of the command line, repeated ones once."""
    found = written(
        DATA, "--rules", "fixed,default", "--rule", "curtailment,fixed", "--caps", "4,2", "--widths", "1,2", *QUICK
    )
    settings = [
        (cap, rule, width) for cap in (4, 2) for rule in ("fixed", "default", "curtailment") for width in (1, 2)
    ]
    assert [(r["cap"], r["rule"], r["width"]) for r in found] == settings


def test_fixed_is_fixed_at_every_width(written):
    """Exactly, ties included; so is the lossless rule."""
    found = written(DATA, "--rules", "fixed,curtailment", "--caps", "6,16", "--widths", "1,4,8", *QUICK)
    assert [r["accuracy"] for r in found] == [r["accuracy_fixed"] for r in found]
    assert all(r["tokens"] == r["tokens_fixed"] for r in found if r["rule"] == "fixed")
    assert {r["agreement"] for r in found} == {1}


@pytest.mark.timeout(60)
def test_the_number_of_processes_changes_nothing(tmp_path, monkeypatch):
    """One process or two, the files are the same to the last byte."""
    monkeypatch.setattr("cli.jobs.PIECE", 1000)
    for jobs in (1, 2):
        assert replay(DATA, "--cap", 16, "--orders", 5, "--jobs", jobs, "--json", tmp_path / str(jobs)) == 0
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_halves_make_the_whole(written):
    """The two halves share no question and together are all of them."""
    sizes = [written(DATA, "--cap", 4, "--split", split, *QUICK)[0]["questions"] for split in ("a", "b", "all")]
    assert sizes[0] + sizes[1] == sizes[2] == 20
    assert sizes[0] == sum(half(question) == "a" for question in load(DATA))


def test_a_cap_beyond_the_recording_is_skipped_with_a_note(written, small, capsys):
    """The other caps and files are replayed all the same."""
    found = written(small, DATA, "--caps", "4,8", "--rule", "default", "--width", 1, *QUICK)
    assert [(r["trace"], r["cap"]) for r in found] == [("small", 4), ("mcqa-gpt35-20", 4), ("mcqa-gpt35-20", 8)]
    assert capsys.readouterr().err == "small: skipped at cap 8, 4 samples are recorded\n"


SURE = {"mean": 9.0, "bottom": 9.0, "lowest": 9.0, "tail": 9.0, "logprob": -0.01, "tokens": 10}


@pytest.mark.parametrize(
    ("confidence", "note", "samples"),
    [(None, "small: confident-0.9 reads token confidences, and none are recorded\n", 4), (SURE, "", 1)],
)
def test_a_rule_that_cannot_work_on_a_trace_is_noted(written, small, capsys, confidence, note, samples):
    """Without log-probabilities a rule that reads them never stops; with them it does."""
    question = {"id": "q", "samples": [{**EXACT["samples"][0], "confidence": confidence}] * 4}
    small.write_text(json.dumps(question), encoding="utf-8")
    [record] = written(small, "--rules", "confident-0.9", "--cap", 4, "--width", 1, *QUICK)
    assert record["samples"] == samples
    assert capsys.readouterr().err == note


def works(pid):
    """Whether a worker has begun: an interrupt ends it, which Python does not handle any more as while it starts.

    Python does not handle it yet in a process that has just been made, which has used next to no processor time.
    """
    try:
        caught = re.search(r"^SigCgt:\s*(\w+)", (PROC / str(pid) / "status").read_text(), re.MULTILINE)
        used = stat(pid)[11:13]
    except OSError:
        return False
    handled = int(caught[1], 16) >> (signal.SIGINT - 1) & 1
    return not handled and sum(map(int, used)) / os.sysconf("SC_CLK_TCK") > 0.3


def wait_for_workers(pid, count):
    """Until so many have begun."""
    if not (PROC / "self" / "task" / str(threading.get_native_id()) / "children").exists():
        time.sleep(4)  # nobody tells
        return
    deadline = time.monotonic() + 30
    while sum(map(works, children(pid, "--multiprocessing-fork"))) < count:
        assert time.monotonic() < deadline, "No worker began."
        time.sleep(0.02)


@pytest.mark.timeout(60)
def test_an_interrupt_ends_it_quietly():
    """Ctrl-C in a terminal reaches all processes at once: status 130 within seconds, and no stack traces."""
    command = [sys.executable, "-m", "cli", "replay", DATA, "--orders", "2000", "--jobs", "2"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            wait_for_workers(process.pid, 2)
            os.killpg(process.pid, signal.SIGINT)
            assert process.communicate(timeout=15)[1] == ""
            assert process.returncode == 130
        finally:
            process.kill()


def test_files_of_one_name_are_told_apart(written, small, tmp_path):
    """Their records carry the paths that were given."""
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "small.jsonl"
    other.write_bytes(small.read_bytes())
    found = written(small, other, "--cap", 4, "--rule", "fixed", "--width", 1, *QUICK)
    assert [r["trace"] for r in found] == [str(small), str(other)]


def test_the_table_says_what_was_found(small, capsys):
    """Grouped by trace and cap, with a summary and no progress bar where nobody looks on."""
    assert replay(small, "--rules", "default,adaptive-consistency-0.95", "--caps", "2,4", "--width", 1, *QUICK) == 0
    out, err = capsys.readouterr()
    assert "small, cap 4: 1 questions x 2 orders; fixed 1.000 right, 40.0 tokens a question" in out
    assert "All 2 pairs of trace and cap, tokens relative to adaptive-consistency-0.95" in out
    assert out.count("default") == 3
    assert not err


def test_the_table_is_printed_even_if_a_file_cannot_be_written(small, capsys, monkeypatch, tmp_path):
    """What was worked out is not lost with the disk that is full."""

    def full(*_):
        raise OSError(28, "No space left on device", "out.json")

    monkeypatch.setattr("cli.replay.write_json", full)
    assert replay(small, "--cap", 4, "--json", tmp_path / "out.json", *QUICK) == 1
    out, err = capsys.readouterr()
    assert "small, cap 4: 1 questions" in out
    assert err == "quorate replay: out.json: No space left on device\n"


def test_a_mark_of_byte_order_is_no_content(written, small):
    """Editors write one at the front of a file."""
    small.write_bytes(b"\xef\xbb\xbf" + small.read_bytes())
    assert written(small, "--rule", "fixed", "--cap", 4, *QUICK)[0]["questions"] == 1


def test_a_progress_bar_is_shown_on_a_terminal(small, capsys, monkeypatch):
    """On standard error, so that the table can be piped."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert replay(small, "--cap", 4, *QUICK) == 0
    out, err = capsys.readouterr()
    assert "samples" in err
    assert "\r" not in out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"id": "q", "samples": [{"answer": "A", "correct": true}]}', "t.jsonl:1: "),
        ('{"id": "q", "samples": [{"answer": "A", "correct": true, "tokens": true}]}', "t.jsonl:1: "),
        ("", "t.jsonl: no questions"),
        ('{"id": "q", "samples": []}', "no file has as many recorded samples as the smallest cap"),
    ],
)
def test_an_unusable_file_is_one_line(tmp_path, capsys, content, expected):
    """Status 1 and a sentence that names file and line; nothing is written."""
    path = tmp_path / "t.jsonl"
    path.write_text(content, encoding="utf-8")
    assert replay(path, "--cap", 4, "--json", tmp_path / "out.json") == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith("quorate replay: ")
    assert expected in err
    assert not out
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["no-such-file"], "no-such-file: No such file or directory"),
        ([DATA, "--json", "no/such/folder/out.json"], "there is no folder no/such/folder"),
        ([DATA, "--json", DATA.parent], f"{DATA.parent} is a folder, not a file"),
        ([DATA, "--plots", DATA], f"{DATA} is a file, not a folder"),
        ([DATA, DATA.parent / ".." / "data" / DATA.name], f"{DATA.parent / '..' / 'data' / DATA.name} is given twice"),
    ],
)
def test_a_path_that_will_not_do_is_one_line(arguments, expected, capsys):
    """Status 1, before any work is done."""
    assert replay(*arguments) == 1
    assert capsys.readouterr() == ("", f"quorate replay: {expected}\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rules", "no-such-rule"], "Unknown rule 'no-such-rule'. Known: "),
        (["--rules", ","], "the list is empty"),
        (["--caps", ""], "the list is empty"),
        (["--caps", "8,0"], "'0' is not a whole number above 0"),
        (["--widths", "x"], "'x' is not a whole number above 0"),
        (["--certainty", "2"], "2 is not above 0 and at most 1"),
        (["--split", "c"], "invalid choice: 'c'"),
    ],
)
def test_a_wrong_option_is_refused(arguments, expected, capsys):
    """Status 2 and the reason, as every command line has it."""
    with pytest.raises(SystemExit) as ended:
        replay(DATA, *arguments)
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "module", "extra"), [("--parquet", "pyarrow", "parquet"), ("--plots", "matplotlib.figure", "bench")]
)
def test_a_missing_library_is_named(option, module, extra, monkeypatch, capsys, tmp_path):
    """Status 1 before the work is done, and how to get it."""
    monkeypatch.setitem(sys.modules, module, None)
    library = module.partition(".")[0]
    assert replay(DATA, option, tmp_path / "out") == 1
    assert capsys.readouterr() == (
        "",
        f"quorate replay: {option} needs {library}: pip install 'quorate[{extra}]'.\n",
    )


def test_parquet_gets_the_same_rows(written, small, monkeypatch, tmp_path):
    """The library is handed the rows that JSON has; it is not installed for tests."""
    kept = {}
    parquet = ModuleType("pyarrow.parquet")
    parquet.write_table = lambda rows, path: kept.update({path: rows})
    table = SimpleNamespace(from_pylist=lambda rows: rows)
    monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace(Table=table, parquet=parquet))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", parquet)
    rows = written(small, "--cap", 4, "--parquet", tmp_path / "out.parquet", *QUICK)
    assert kept == {tmp_path / "out.parquet": rows}


def test_plots_are_pictures(small, tmp_path):
    """Two per trace, in a folder that is made if need be."""
    assert replay(small, "--caps", "2,4", "--plots", tmp_path / "a" / "plots", *QUICK) == 0
    drawn = sorted((tmp_path / "a" / "plots").iterdir())
    assert [path.name for path in drawn] == ["small-frontier.png", "small-makespan.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def documented():
    """Calls of the command in the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [shlex.split(line) for line in text.splitlines() if line.startswith("quorate replay ")]


@pytest.mark.timeout(60)
def test_what_the_readme_shows_runs(monkeypatch, capsys):
    """As printed, from the folder of the checkout."""
    monkeypatch.chdir(ROOT)
    [(_, *arguments)] = documented()
    assert main(arguments) == 0
    assert "mcqa-gpt35-20, cap 16: 20 questions x 20 orders" in capsys.readouterr().out


@pytest.mark.parametrize("low", [1, 30, 150, 400, 550])
@pytest.mark.parametrize("span", [1.5, 4, 20, 200])
def test_labels_of_a_logarithmic_axis_keep_apart(low, span):
    """Two at least, whatever the range, and none touches the next."""
    figure = matplotlib().Figure(figsize=(6.2, 4.4), layout="constrained")
    axis = figure.subplots()
    axis.plot([low, low * span], [0, 1])
    axis.set(xscale="log")
    sparse(axis)
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axis.get_xticklabels(which="both") if label.get_text()]
    inside = [box for box in boxes if axis.bbox.x0 - 1 <= (box.x0 + box.x1) / 2 <= axis.bbox.x1 + 1]
    assert len(inside) > 1
    assert all(left.x1 < right.x0 for left, right in pairwise(sorted(inside, key=lambda box: box.x0)))
