"""Recorded samples: reading them, and drawing them in seeded orders."""

import gzip
import json
from pathlib import Path

import pytest

from core.types import Prompt, Request, Usage
from sim.traces import Question, Recorded, TraceError, TraceSource, by_agreement, draw, half, labelled, load
from sim.types import Drawn

DATA = Path(__file__).parents[1] / "data" / "mcqa-gpt35-20.jsonl.gz"
GOOD = {"answer": "A", "correct": True, "tokens": 7}


def write(path, *records):
    """A trace file of these lines."""
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records)
    return path


def question(name, count):
    """A question whose samples are told apart by their tokens."""
    return Question(name, tuple(Recorded("A", True, 10 + number) for number in range(count)))


def test_a_real_trace_loads_whole():
    """Every question with every sample, abstentions as None."""
    trace = load(DATA)
    assert (len(trace), {len(question.samples) for question in trace}) == (20, {100})
    samples = [sample for question in trace for sample in question.samples]
    assert {sample.answer for sample in samples} == {None, "A", "B", "C", "D", "E"}
    assert not any(sample.correct for sample in samples if sample.answer is None)
    assert min(sample.tokens for sample in samples) > 0


@pytest.mark.parametrize(
    ("flags", "found"), [((None, None), False), ((None, True), True), ((False, False), True), ((0, None), True)]
)
def test_one_flag_makes_a_trace_labelled(tmp_path, flags, found):
    """And what cannot be read is left to the reader, who says why."""
    samples = [{**GOOD, "correct": flag} for flag in flags]
    assert labelled(write(tmp_path / "t.jsonl.gz", {"id": "q", "samples": samples})) is found
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{", encoding="utf-8")
    assert labelled(broken)


def test_without_labels_the_majority_of_all_is_right():
    """Ties go to the answer recorded first; who did not vote is wrong."""
    answers = ("b", "a", None, "a", "b")
    [judged] = by_agreement([Question("q", tuple(Recorded(answer, False, 1) for answer in answers))])
    assert [sample.correct for sample in judged.samples] == [True, False, False, False, True]
    [silent] = by_agreement([Question("q", (Recorded(None, True, 1),))])
    assert not silent.samples[0].correct


@pytest.mark.parametrize(
    "broken",
    [
        {"samples": [GOOD]},
        {"id": "q"},
        {"id": "q", "samples": [{"answer": "A", "correct": True}]},
        {"id": "q", "samples": [{**GOOD, "correct": None}]},
        {"id": "q", "samples": [{**GOOD, "tokens": None}]},
        {"id": "q", "samples": [{"correct": True, "tokens": 7}]},
        {"id": "\ud800", "samples": [GOOD]},
    ],
)
def test_a_line_that_cannot_be_replayed_is_named(tmp_path, broken):
    """Unknown tokens or flags would falsify every figure, so the line is refused by number."""
    path = write(tmp_path / "t.jsonl.gz", {"id": "fine", "samples": [GOOD]}, broken)
    with pytest.raises(TraceError, match=r"t\.jsonl\.gz:2: "):
        load(path)


def test_a_line_nested_too_deeply_is_named(tmp_path):
    """A parser that gives up is no reason to fall over."""
    path = tmp_path / "deep.jsonl"
    path.write_text("[" * 1_000_000, encoding="utf-8")
    assert labelled(path)
    with pytest.raises(TraceError, match=r"deep\.jsonl:1: "):
        load(path)


def test_a_question_may_not_appear_twice(tmp_path):
    """Two questions of one name would draw the same orders."""
    line = {"id": "q", "samples": [GOOD]}
    with pytest.raises(ValueError, match="appears twice"):
        load(write(tmp_path / "t.jsonl.gz", line, line))


def test_plain_files_are_read_as_zipped_ones_are(tmp_path):
    """What a file is counts, not what it is called; empty lines do not."""
    line = json.dumps({"id": 7, "samples": [GOOD]})
    (tmp_path / "plain.jsonl.gz").write_text(f"{line}\n\n", encoding="utf-8")
    assert load(tmp_path / "plain.jsonl.gz") == (Question("7", (Recorded("A", True, 7),)),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.jsonl: no questions"),
        (b"\xff\xfe", "t.jsonl: neither JSONL nor gzipped JSONL"),
        (gzip.compress(b"{}")[:-4], "t.jsonl: neither JSONL nor gzipped JSONL"),
        (b"{", "t.jsonl:1: not a question with recorded samples"),
        (b"[]\n", "t.jsonl:1: not a question with recorded samples"),
        (b'{"id": "q", "samples": [{"answer": "A", "tokens": 3}]}', "t.jsonl:1: .* has no flag 'correct'"),
        (b'{"id": "q", "samples": [{"answer": "A", "correct": true, "tokens": 3, "confidence": [1]}]}', "t.jsonl:1: "),
        (b'{"id": "q", "samples": [{"answer": "A", "correct": true, "tokens": -3}]}', "t.jsonl:1: .* 'tokens'"),
    ],
)
def test_a_file_that_is_no_trace_is_named(tmp_path, content, message):
    """Whatever is wrong is said in one sentence with the file in it."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=message):
        load(path)


def test_halves_share_nothing_and_miss_nothing():
    """About as many questions on either side, by the id alone."""
    halves = [half(question(f"q{number}", 1)) for number in range(400)]
    assert {*halves} == {"a", "b"}
    assert 150 < halves.count("a") < 250
    assert half(question("q7", 1)) == half(question("q7", 30))


def test_answers_are_spelled_as_strings(tmp_path):
    """A number in the file votes with the same number in another sample."""
    [read] = load(write(tmp_path / "t.jsonl.gz", {"id": "q", "samples": [{**GOOD, "answer": 12}]}))
    assert read.samples[0].answer == "12"


def test_every_cap_sees_the_same_order():
    """A smaller cap draws the beginning of what a larger one draws, so that budgets can be compared pairwise."""
    trace = [question("q", 30), question("r", 30)]
    small, large = (draw(trace, cap=cap, orders=3, seed=4) for cap in (5, 30))
    assert {name: samples[:5] for name, samples in large.items()} == small
    assert sorted(sample.tokens for sample in large["2/q"]) == list(range(10, 40))


def test_orders_differ_by_seed_order_and_question():
    """Each program has an order of its own; the same seed gives it again."""
    trace = [question("q", 30), question("r", 30)]
    drawn = {**draw(trace, cap=30, orders=2, seed=0)}
    other = draw(trace, cap=30, orders=2, seed=1)
    assert drawn == draw(trace, cap=30, orders=2, seed=0)
    assert len({*drawn.values(), *other.values()}) == 8


def test_too_few_recorded_samples_are_refused():
    """A cap beyond the recording cannot be replayed without repeating samples."""
    with pytest.raises(ValueError, match="q has 3 recorded samples, fewer than 4"):
        draw([question("q", 3)], cap=4, orders=1, seed=0)


def test_the_source_serves_the_kth_draw_for_as_long_as_its_tokens_take():
    """Service time is proportional to tokens; the answer votes as recorded."""
    source = TraceSource({"p": (Recorded("A", True, 7), Recorded(None, False, 9))}, nanos_per_token=10)
    assert source(Request("p", 0, Prompt({}))) == Drawn(70, "A", usage=Usage(completion=7))
    assert source(Request("p", 1, Prompt({}))) == Drawn(90, None, usage=Usage(completion=9))
