"""Recording: the trace format, resuming after anything, and never mixing what does not belong together."""

import gzip
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoner.engines import EngineError, Piece, Reply
from reasoner.record import Line, Recording, load, missing, partial_path, record, save, split_of_id, weights_of
from reasoner.samples import Extras
from reasoner.sets import selected
from sim import traces

PROBLEMS = selected("development", {"1": 2, "2": 2})
RECORDING = Recording("reasoner-test", temperature=1.0, samples=3, parallel=2)
SIZE = len(PROBLEMS) * 4
Script = Callable[[str, float, int], Reply]


def honest(question: str, temperature: float, seed: int) -> Reply:
    """The right answer when greedy; otherwise right, wrong or none by the seed."""
    gold = next(p.gold for p in PROBLEMS.values() if p.question == question)
    text = ["no idea", rf"\boxed{{{gold}}}", rf"\boxed{{1{gold}}}"][seed % 3 if temperature else 1]
    return Reply(text, 10 + seed % 7)


def failing_after(calls: int) -> Script:
    """Answers honestly, then fails for good."""
    allowed = iter(range(calls))

    def script(question: str, temperature: float, seed: int) -> Reply:
        if next(allowed, None) is None:
            raise EngineError("gone")
        return honest(question, temperature, seed)

    return script


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the trace goes."""
    return tmp_path / "traces" / "t.jsonl.gz"


def test_lines_have_the_trace_format(out: Path, scripted: Any) -> None:
    """A line names the question, its gold answer as text, the greedy answer and each sample with flag and tokens."""
    engine = scripted(honest)
    record(engine, PROBLEMS, RECORDING, out)
    with gzip.open(out, "rt") as file:
        lines = [json.loads(line) for line in file]
    assert [line["id"] for line in lines] == list(PROBLEMS)
    for line, problem in zip(lines, PROBLEMS.values(), strict=True):
        gold = problem.gold
        assert (line["task"], line["gold"], line["question"]) == ("ledger", gold, problem.question)
        assert (line["bin"], line["model"], line["t"]) == (int(problem.bin), "reasoner-test", 1.0)
        assert (line["max_tokens"], "weights" in line) == (900, False)
        assert line["greedy"]["answer"] == gold
        assert len(line["samples"]) == 3
        for sample in [line["greedy"], *line["samples"]]:
            assert set(sample) == {"answer", "correct", "tokens"}
            assert sample["correct"] == (sample["answer"] == gold)
    assert not partial_path(out).exists()


def test_unanswered_samples_are_null_and_wrong(out: Path, scripted: Any) -> None:
    """A text without a boxed number is recorded as no answer, and counts as wrong."""
    lines = record(scripted(lambda *_: Reply("So it is 4.", 5)), PROBLEMS, RECORDING, out)
    assert {(s["answer"], s["correct"]) for line in lines for s in line["samples"]} == {(None, False)}


def test_every_sample_has_its_own_seed_and_one_is_greedy(out: Path, scripted: Any) -> None:
    """Each question is asked once at temperature 0 and `samples` times at the set one; all seeds differ."""
    engine = scripted(honest)
    record(engine, PROBLEMS, RECORDING, out)
    assert len(engine.asked) == SIZE
    assert len({seed for _, _, seed in engine.asked}) == SIZE
    assert sorted(t for _, t, _ in engine.asked) == [0.0] * len(PROBLEMS) + [1.0] * 3 * len(PROBLEMS)


def test_same_answers_are_the_same_bytes(tmp_path: Path, scripted: Any) -> None:
    """Two recordings of the same samples are byte for byte equal, whatever their file is called."""
    one, two = tmp_path / "one.gz", tmp_path / "two.gz"
    for path in (one, two):
        record(scripted(honest), PROBLEMS, RECORDING, path)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("calls", [0, 3, 6, SIZE - 1])
def test_recording_resumes_where_it_failed(out: Path, scripted: Any, calls: int) -> None:
    """After a failure the finished questions are kept, only the rest is asked for, and the result is the same."""
    with pytest.raises(EngineError, match="gone"):
        record(scripted(failing_after(calls)), PROBLEMS, RECORDING, out)
    assert not out.exists()
    left = missing(PROBLEMS, RECORDING, out)
    second = scripted(honest)
    resumed = record(second, PROBLEMS, RECORDING, out)
    assert len(second.asked) == left
    assert left > 0
    assert resumed == record(scripted(honest), PROBLEMS, RECORDING, out.with_name("whole.gz"))


def test_a_torn_last_line_is_dropped(out: Path, scripted: Any) -> None:
    """A line cut by a crash is forgotten; the whole ones before it are not asked for again."""
    with pytest.raises(EngineError):
        record(scripted(failing_after(SIZE - 1)), PROBLEMS, RECORDING, out)
    partial = partial_path(out)
    whole = partial.read_text()
    partial.write_text(whole + whole[:40])
    before = missing(PROBLEMS, RECORDING, out)
    assert before == SIZE - 4 * whole.count("\n")
    assert len(record(scripted(honest), PROBLEMS, RECORDING, out)) == len(PROBLEMS)


def test_a_cut_in_the_middle_of_a_letter_is_dropped_too(out: Path, scripted: Any) -> None:
    """A letter of several bytes, of which the crash left one, and line ends that are not the file's, do no harm."""
    accented = {id_: replace(problem, gold="é\u2028é") for id_, problem in PROBLEMS.items()}
    with pytest.raises(EngineError):
        record(scripted(failing_after(SIZE - 1)), accented, RECORDING, out)
    partial = partial_path(out)
    whole = partial.read_bytes()
    partial.write_bytes(whole + whole[: whole.index("é".encode()) + 1])
    assert missing(accented, RECORDING, out) == SIZE - 4 * whole.count(b"\n")
    assert partial.read_bytes() == whole


def test_an_interrupt_starts_nothing_more(out: Path, scripted: Any) -> None:
    """Ctrl-C lets the samples in flight finish, starts few others, and keeps the finished questions."""
    gate = threading.Semaphore(5)

    def gated(question: str, temperature: float, seed: int) -> Reply:
        gate.acquire(timeout=10)
        return Reply("", 1)

    def interrupt(reply: Reply) -> None:
        interrupts.append(reply)
        if len(interrupts) == 5:
            gate.release(RECORDING.parallel)
            raise KeyboardInterrupt

    interrupts: list[Reply] = []
    engine = scripted(gated)
    with pytest.raises(KeyboardInterrupt):
        record(engine, PROBLEMS, RECORDING, out, on_sample=interrupt)
    assert len(engine.asked) <= 5 + 2 * RECORDING.parallel < SIZE
    assert partial_path(out).read_text().count("\n") == 1


def test_more_samples_and_questions_extend_a_trace(out: Path, scripted: Any) -> None:
    """A larger run asks only for what is new, and a smaller one for nothing, losing nothing."""
    ids = list(PROBLEMS)
    record(scripted(honest), {id_: PROBLEMS[id_] for id_ in ids[:2]}, RECORDING, out)
    larger = Recording("reasoner-test", temperature=1.0, samples=5, parallel=2)
    engine = scripted(honest)
    record(engine, PROBLEMS, larger, out)
    assert len(engine.asked) == 2 * 2 + 2 * 6
    assert [len(line["samples"]) for line in load(out).values()] == [5] * 4
    idle = scripted(honest)
    record(idle, {ids[3]: PROBLEMS[ids[3]]}, RECORDING, out)
    assert idle.asked == []
    assert set(load(out)) == set(ids)


OF_FILE = replace(RECORDING, weights="0123456789abcdef")


def refused(engine: Any, recording: Recording, out: Path, message: str) -> None:
    """Recording so is refused with this message before anything is asked, and the trace stays as it is."""
    before = out.read_bytes() if out.exists() else None
    with pytest.raises(ValueError, match=message):
        record(engine, PROBLEMS, recording, out)
    assert engine.asked == []
    assert (out.read_bytes() if out.exists() else None) == before


@pytest.mark.parametrize(
    ("first", "other", "message"),
    [
        (RECORDING, replace(RECORDING, model="another"), "with model reasoner-test, now it is another: record to an"),
        (RECORDING, replace(RECORDING, temperature=0.7), "with t 1.0, now it is 0.7: record to another file"),
        (RECORDING, replace(RECORDING, max_tokens=400), "with max_tokens 900, now it is 400: record to another file"),
        (RECORDING, OF_FILE, "with weights none, now it is 0123456789abcdef: record to another file"),
        (OF_FILE, RECORDING, "with weights 0123456789abcdef, now it is none: record to another file"),
        (OF_FILE, replace(OF_FILE, weights="f" * 16), "with weights 0123456789abcdef, now it is ffffffffffffffff"),
    ],
)
def test_samples_of_other_origin_are_not_mixed_in(
    out: Path, scripted: Any, first: Recording, other: Recording, message: str
) -> None:
    """A trace holds one model of one file at one temperature and limit: the field and both values are told."""
    record(scripted(honest), PROBLEMS, first, out)
    refused(scripted(honest), replace(other, samples=5), out, message)


def test_an_unfinished_recording_is_not_mixed_either(out: Path, scripted: Any) -> None:
    """Finished questions that wait for the others are of the same model file, or nothing is asked."""
    with pytest.raises(EngineError):
        record(scripted(failing_after(SIZE - 1)), PROBLEMS, OF_FILE, out)
    refused(scripted(honest), replace(OF_FILE, weights="f" * 16), out, "with weights 0123456789abcdef, now it is fff")
    assert {line["weights"] for line in record(scripted(honest), PROBLEMS, OF_FILE, out)} == {OF_FILE.weights}


def test_older_traces_are_read_but_not_added_to(out: Path, scripted: Any) -> None:
    """Of lines without limit and weights nobody knows what made them: they load, and resuming says what to do."""
    made = record(scripted(honest), PROBLEMS, OF_FILE, out)
    older = [{key: line[key] for key in line if key not in ("max_tokens", "weights")} for line in made]
    save(out, older)
    assert list(load(out).values()) == older
    message = "does not tell max_tokens and weights of development/1/0000, .* record it anew, or to another file"
    refused(scripted(honest), replace(OF_FILE, samples=5), out, message)


def test_a_trace_is_of_one_split(out: Path, scripted: Any) -> None:
    """Questions of another split are refused; those of the newcomer are held out as others are."""
    record(scripted(honest), PROBLEMS, RECORDING, out)
    engine = scripted(honest)
    with pytest.raises(ValueError, match="one split, not of calibration and development: record to another file"):
        record(engine, selected("calibration", {"1": 1}), RECORDING, out)
    assert engine.asked == []
    ids = ("held-out/s1/0000", "newcomer/000", "train/1/0000")
    assert [split_of_id(id_) for id_ in ids] == ["held-out", "held-out", "train"]


def test_weights_are_told_by_their_digest(tmp_path: Path) -> None:
    """16 hex digits that follow from every byte of the file."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF" * 100_000)
    assert weights_of(model) == hashlib.sha256(b"GGUF" * 100_000).hexdigest()[:16]
    model.write_bytes(b"GGUF" * 99_999 + b"GGUE")
    assert weights_of(model) != hashlib.sha256(b"GGUF" * 100_000).hexdigest()[:16]


def test_a_changed_question_is_refused(out: Path, scripted: Any) -> None:
    """An id that stands for another question than recorded is refused."""
    record(scripted(honest), PROBLEMS, RECORDING, out)
    ids = list(PROBLEMS)
    swapped = {**PROBLEMS, ids[0]: PROBLEMS[ids[1]]}
    with pytest.raises(ValueError, match="another question"):
        record(scripted(honest), swapped, RECORDING, out)


FULL = replace(RECORDING, extras=Extras(steps=True, probed=2))


def telling(question: str, temperature: float, seed: int) -> Reply:
    """What `honest` says, with its tokens."""
    reply = honest(question, temperature, seed)
    return replace(reply, pieces=(Piece(reply.text, -0.5, (-0.5, -2.5)),))


def test_extras_are_recorded_of_every_sample(out: Path, scripted: Any) -> None:
    """Steps of all samples; forced answers of the greedy sample and the first ones of each question."""
    engine = scripted(telling)
    for line in record(engine, PROBLEMS, FULL, out):
        samples = [line["greedy"], *line["samples"]]
        assert all(FULL.extras.keys() <= set(sample) for sample in samples)
        assert [("probes" in sample) for sample in samples] == [True, True, True, False]
    assert engine.tops == {1}
    assert len(engine.prompts) == 3 * len(PROBLEMS)


def test_extras_can_be_extended_alike(out: Path, scripted: Any) -> None:
    """More samples of the same kind, and more questions, continue a trace."""
    record(scripted(telling), dict(list(PROBLEMS.items())[:2]), FULL, out)
    engine = scripted(telling)
    lines = record(engine, PROBLEMS, replace(FULL, samples=5), out)
    assert len(engine.asked) == 2 * 2 + 2 * 6
    assert {sum("probes" in sample for sample in line["samples"]) for line in lines} == {2}


@pytest.mark.parametrize(
    "extras", [Extras(), Extras(steps=True), Extras(steps=True, probed=3), Extras(confidence=True)]
)
def test_traces_with_other_extras_are_not_mixed(out: Path, scripted: Any, extras: Extras) -> None:
    """A trace tells the same of all of its samples: anything else is refused before anything is asked."""
    record(scripted(telling), PROBLEMS, FULL, out)
    engine = scripted(telling)
    with pytest.raises(ValueError, match="holds other things of development/1/0000"):
        record(engine, PROBLEMS, replace(FULL, extras=extras), out)
    assert engine.asked == []


def test_recorded_confidences_are_replayed(out: Path, scripted: Any) -> None:
    """The simulator reads a trace with all of it, and every sample's confidence is what it looks for."""
    extras = Extras(confidence=True, steps=True, probed=3)
    record(scripted(telling), PROBLEMS, replace(FULL, extras=extras), out)
    samples = [sample for question in traces.load(out) for sample in question.samples]
    assert len(samples) == 3 * len(PROBLEMS)
    assert {(s.confidence.mean, s.confidence.logprob, s.confidence.tokens) for s in samples if s.confidence} == {
        (1.5, -0.5, 1)
    }
    assert all(sample.confidence for sample in samples)


def test_every_family_is_recorded(out: Path, scripted: Any) -> None:
    """Lines say which family and bin a question is of, and letters are answers as numbers are."""
    mixed = selected("held-out", {"s1": 1, "o1": 1, "newcomer": 1})
    golds = {question.question: question.gold for question in mixed.values()}
    engine = scripted(lambda question, *_: Reply(rf"\boxed{{{golds[question]}}}", 3))
    lines = record(engine, mixed, replace(RECORDING, samples=1), out)
    assert [(line["task"], line["bin"]) for line in lines[:3]] == [
        ("story", "s1"),
        ("ordering", "o1"),
        ("newcomer", "newcomer"),
    ]
    assert all(line["greedy"]["correct"] and line["samples"][0]["answer"] == line["gold"] for line in lines)


SAMPLE = {"answer": "7", "correct": True, "tokens": 9}
LINE: Line = {"id": "q", "task": "t", "samples": [SAMPLE]}


def test_a_line_needs_little(tmp_path: Path) -> None:
    """Traces of others have neither a model nor a question; who needs them says so."""
    path = tmp_path / "t.gz"
    save(path, [LINE, {**LINE, "id": "r", "samples": [{**SAMPLE, "answer": None, "correct": False}]}])
    assert list(load(path)) == ["q", "r"]
    with pytest.raises(ValueError, match=r"t\.gz, line 1 has no 'question'"):
        load(path, ("question",))


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (b"{", "is no JSON"),
        (b"", "is no JSON"),
        (b'{"id": "\xff"}', "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1, 2]", "is no object"),
        (b"{}", "has no 'id'"),
        (json.dumps({"id": "r", "samples": []}).encode(), "has no 'task'"),
        (json.dumps({**LINE, "id": 3}).encode(), "has a 'id' that is not a text"),
        (json.dumps({**LINE, "samples": {}}).encode(), "has a 'samples' that is not a list"),
        (json.dumps({**LINE, "samples": [7]}).encode(), "a sample is no object"),
        (json.dumps({**LINE, "samples": [{"answer": "7"}]}).encode(), "a sample has no 'correct'"),
        (
            json.dumps({**LINE, "samples": [{**SAMPLE, "answer": ["7"]}]}).encode(),
            "a sample has a 'answer' that is not a text or null",
        ),
        (json.dumps({**LINE, "samples": [{**SAMPLE, "probes": [[0, "7", 1]]}]}).encode(), "has no 'gold'"),
        (json.dumps({**LINE, "greedy": {"answer": "7"}}).encode(), "a sample has no 'correct'"),
        (json.dumps({**LINE, "greedy": None}).encode(), "has a 'greedy' that is not an object"),
        (json.dumps(LINE).encode(), "holds q a second time"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, second: bytes, fault: str) -> None:
    """What is no line of a trace is told with the file and the line's number."""
    path = tmp_path / "t.gz"
    path.write_bytes(gzip.compress(json.dumps(LINE).encode() + b"\n" + second + b"\n"))
    with pytest.raises(ValueError, match=rf"t\.gz, line 2:? {fault}"):
        load(path)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"tokens": -1}, "has a 'tokens' that is not a whole number from 0"),
        ({"tokens": True}, "has a 'tokens' that is not a whole number"),
        ({"tokens": 10**400}, "has a 'tokens' that is not a whole number"),
        ({"tokens": 1.5}, "has a 'tokens' that is not a whole number"),
        ({"correct": 1}, "has a 'correct' that is not true or false"),
        ({"steps": float("nan")}, "has a 'steps' that is not a number"),
        ({"judge": float("inf")}, "has a 'judge' that is not a number or null"),
        ({"judge": "0.5"}, "has a 'judge' that is not a number or null"),
        ({"thought": None}, "has a 'thought' that is not a whole number"),
        ({"stated": 3}, "has a 'stated' and no 'thought'"),
        ({"confidence": [1]}, "has a 'confidence' that is not an object or null"),
        ({"confidence": {"mean": "high"}}, "has a 'confidence' whose 'mean' is not a number"),
        ({"confidence": {"tail": float("nan")}}, "has a 'confidence' whose 'tail' is not a number"),
        ({"probes": [5]}, "has 'probes' that are not"),
        ({"probes": [[]]}, "has 'probes' that are not"),
        ({"probes": [["a", 1]]}, "has 'probes' that are not"),
        ({"probes": [["a", "7", 1]]}, "has 'probes' that are not"),
        ({"probes": [[0, 7, 1]]}, "has 'probes' that are not"),
        ({"probes": [[0, "7", float("nan")]]}, "has 'probes' that are not"),
        ({"probes": [[4, "7", 1]]}, "has 'probes' that do not rise from 0 tokens"),
        ({"probes": [[0, "7", 1], [9, "7", 1], [5, "7", 1]]}, "has 'probes' that do not rise from 0 tokens"),
        ({"answer": None}, "is 'correct' and has no 'answer'"),
    ],
)
def test_what_no_sample_can_hold_is_named(tmp_path: Path, fields: Line, fault: str) -> None:
    """Counts, scores, confidences and forced answers that no figure can be drawn from: file, line and field."""
    path = tmp_path / "t.gz"
    for place in ("samples", "greedy"):
        sample = {**SAMPLE, **fields}
        save(path, [LINE, {**LINE, "id": "r", "gold": "7", place: [SAMPLE, sample] if place == "samples" else sample}])
        with pytest.raises(ValueError, match=rf"t\.gz, line 2: a sample {re.escape(fault)}"):
            load(path)


@pytest.mark.parametrize("place", ["samples", "greedy"])
def test_one_answer_is_not_right_and_wrong(tmp_path: Path, place: str) -> None:
    """Equal answers of a question are equal, also the greedy one."""
    path, wrong = tmp_path / "t.gz", {**SAMPLE, "correct": False}
    save(path, [{**LINE, place: [SAMPLE, wrong] if place == "samples" else wrong}])
    with pytest.raises(ValueError, match=r"t\.gz, line 1 has the answer '7' once as 'correct' and once not"):
        load(path)


@pytest.mark.parametrize(("field", "value"), [("t", -1), ("t", float("nan")), ("max_tokens", True), ("bin", None)])
def test_lines_are_of_their_kind(tmp_path: Path, field: str, value: Any) -> None:
    """As their samples are."""
    save(tmp_path / "t.gz", [{**LINE, field: value}])
    with pytest.raises(ValueError, match=rf"t\.gz, line 1 has a '{field}' that is not"):
        load(tmp_path / "t.gz")


def test_nothing_but_a_file_is_replaced(tmp_path: Path, scripted: Any) -> None:
    """What is there and is no regular file is refused before anything is asked, and stays."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    engine = scripted(honest)
    for refused_one in (fifo, tmp_path):
        with pytest.raises(ValueError, match="is no regular file"):
            record(engine, PROBLEMS, RECORDING, refused_one)
        with pytest.raises(ValueError, match="is no regular file"):
            save(refused_one, [LINE])
    assert engine.asked == []
    assert fifo.is_fifo()
    assert list(tmp_path.iterdir()) == [fifo]


def test_broken_files_are_named(tmp_path: Path) -> None:
    """Whatever byte of a trace is cut off or damaged: it loads as it was, or a ValueError names the file."""
    path = tmp_path / "t.gz"
    save(path, [{**LINE, "id": f"q{number}"} for number in range(3)])
    whole, lines = path.read_bytes(), load(path)
    damaged = [whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :] for place in range(len(whole))]
    refused = 0
    for raw in (*(whole[:length] for length in range(1, len(whole))), *damaged, whole + b"more", b'{"id": "q"}\n'):
        path.write_bytes(raw)
        try:
            assert load(path) == lines
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    # Time, flags and system in the header may be anything.
    assert refused > 2 * len(whole) - 12


def test_a_broken_unfinished_recording_is_named(out: Path, scripted: Any) -> None:
    """Whole lines of finished questions are checked as those of a trace are."""
    out.parent.mkdir()
    partial_path(out).write_text(json.dumps(LINE) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"t\.jsonl\.gz\.partial, line 1 has no 'question'"):
        missing(PROBLEMS, RECORDING, out)
