"""Records samples to a trace: gzip JSONL, one line per question, for replaying policies without a model.

A line is `{"id", "task", "gold", "question", "bin", "model", "t", "greedy", "samples": [...]}`; a sample (and `greedy`,
the answer at temperature 0) is `{"answer", "correct", "tokens"}`, and what `reasoner.samples` tells of it if asked for.
Equal `answer` strings are equal answers; null means that none could be extracted (no vote, wrong). `tokens` are
generated tokens, thought included. `t`: temperature.

Recording resumes: finished questions wait in `<trace>.partial` until all are there, and a larger run (more questions,
more samples) continues from a smaller one. The file carries no times: the same lines are the same bytes.
"""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from reasoner.engines import Engine, Reply
from reasoner.samples import Entry, Extras, entry
from reasoner.sets import Question

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record: `samples` per question at `temperature`, `parallel` at once; `model` is the name written down;
    `extras` is what to record beside answers."""

    model: str
    temperature: float = 1.0
    samples: int = 16
    parallel: int = 8
    extras: Extras = field(default_factory=Extras)


@dataclass(frozen=True, slots=True)
class _Job:
    """One sample to make: number `index` of question `id`; -1 is the greedy one."""

    id: str
    index: int

    @property
    def seed(self) -> int:
        """31 bits fixed by the job, so that no two samples share a seed and a rerun repeats them."""
        return int.from_bytes(hashlib.sha256(f"{self.id}/{self.index}".encode()).digest()[:4]) >> 1


def record(
    engine: Engine,
    questions: Mapping[str, Question],
    recording: Recording,
    out: Path,
    *,
    on_sample: Callable[[Reply], None] = lambda reply: None,
) -> list[Line]:
    """Record what is missing of `questions` in the trace `out` and return its lines, in the order of `questions`.

    `on_sample` is called once per new sample. ValueError if `out` holds another model, temperature or question set, or
    other extras; EngineError if the engine fails (what was recorded stays).
    """
    partial = partial_path(out)
    lines = {**load(out), **_load_partial(partial)}
    _check(lines, questions, recording)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("a", encoding="utf-8") as file:
        for line in _finished(engine, questions, recording, lines, on_sample):
            lines[line["id"]] = line
            file.write(_dump(line))
            file.flush()
    # Lines of questions beyond this run (from a larger one) are kept, after its own.
    ordered = {**{id_: lines[id_] for id_ in questions}, **lines}
    save(out, list(ordered.values()))
    partial.unlink()
    return [lines[id_] for id_ in questions]


def missing(questions: Mapping[str, Question], recording: Recording, out: Path) -> int:
    """How many samples (greedy ones included) `record` would still have to make."""
    lines = {**load(out), **_load_partial(partial_path(out))}
    return sum(len(_jobs(id_, lines.get(id_), recording)) for id_ in questions)


def partial_path(out: Path) -> Path:
    """Where the finished questions of an unfinished recording are."""
    return out.with_name(out.name + ".partial")


def load(path: Path) -> dict[str, Line]:
    """The lines of a trace by id; nothing if there is no such file."""
    if not path.exists():
        return {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return {line["id"]: line for line in map(json.loads, file)}


def save(path: Path, lines: list[Line]) -> None:
    """Write a trace: replaced in one step, and byte for byte the same for the same lines."""
    fresh = path.with_name(path.name + ".new")
    # mtime 0 and no file name in the gzip header: nothing but the lines decides the bytes.
    with fresh.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write("".join(map(_dump, lines)).encode())
    fresh.replace(path)


def _dump(line: Line) -> str:
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n"


def _load_partial(path: Path) -> dict[str, Line]:
    """Finished questions of an unfinished recording; a last line that was cut by a crash is dropped from the file."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return {line["id"]: line for line in map(json.loads, whole.splitlines())}


def _check(lines: Mapping[str, Line], questions: Mapping[str, Question], recording: Recording) -> None:
    for line in lines.values():
        if (line["model"], line["t"]) != (recording.model, recording.temperature):
            raise ValueError(f"the trace holds {line['model']} at temperature {line['t']}: record to another file")
        if line["id"] in questions and line["question"] != questions[line["id"]].question:
            raise ValueError(f"the trace asks another question under {line['id']}: record to another file")
        if not _alike(line, recording.extras):
            raise ValueError(f"the trace holds other things of {line['id']} than now asked for: record to another file")


def _alike(line: Line, extras: Extras) -> bool:
    """Whether the line's samples have what is to be recorded, and nothing else."""
    probed = sum("probes" in sample for sample in line["samples"])
    known = {key for sample in (line["greedy"], *line["samples"]) for key in sample} - {"probes"}
    return known == extras.keys() and probed == min(extras.probed, len(line["samples"]))


def _jobs(id_: str, line: Line | None, recording: Recording) -> list[_Job]:
    first = -1 if line is None else len(line["samples"])
    return [_Job(id_, index) for index in range(first, recording.samples)]


def _finished(
    engine: Engine,
    questions: Mapping[str, Question],
    recording: Recording,
    lines: Mapping[str, Line],
    on_sample: Callable[[Reply], None],
) -> Iterator[Line]:
    """Each question's line once its last sample is in; samples of neighbouring questions are made at once."""
    todo = [jobs for id_ in questions if (jobs := _jobs(id_, lines.get(id_), recording))]

    def run(job: _Job) -> tuple[Reply, Entry]:
        question, extras = questions[job.id], recording.extras
        temperature = recording.temperature if job.index >= 0 else 0.0
        reply = engine.reply(question.question, temperature=temperature, seed=job.seed, top=extras.top)
        return reply, entry(engine, question, reply, extras, probed=0 < extras.probed > job.index)

    pool = ThreadPoolExecutor(recording.parallel)
    try:
        made = pool.map(run, [job for jobs in todo for job in jobs])
        for jobs in todo:
            entries = []
            for reply, recorded in islice(made, len(jobs)):
                on_sample(reply)
                entries.append(recorded)
            yield _line(jobs[0].id, questions[jobs[0].id], recording, lines.get(jobs[0].id), entries)
    finally:
        # An interrupt waits for the samples in flight only: llama.cpp must not be torn down under them.
        pool.shutdown(cancel_futures=True)


def _line(id_: str, question: Question, recording: Recording, before: Line | None, entries: list[Entry]) -> Line:
    if before is not None:
        return {**before, "samples": [*before["samples"], *entries]}
    return {
        "id": id_,
        "task": question.task,
        "gold": question.gold,
        "question": question.question,
        "bin": int(question.bin) if question.bin.isdigit() else question.bin,
        "model": recording.model,
        "t": recording.temperature,
        "greedy": entries[0],
        "samples": entries[1:],
    }
