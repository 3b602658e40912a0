"""Records samples to a trace: gzip JSONL, one line per question, for replaying policies without a model.

A line is `{"id", "task", "gold", "question", "bin", "model", "t", "max_tokens", "weights", "greedy",
"samples": [...]}`; a sample (and `greedy`, the answer at temperature 0) is `{"answer", "correct", "tokens"}`, and what
`reasoner.samples` tells of it if asked for. Equal `answer` strings are equal answers; null means that none could be
extracted (no vote, wrong). `tokens` are generated tokens, thought included. `t`: temperature. `max_tokens`: where a
sample was cut. `weights`: the first 16 hex digits of the sha256 of the model file (64 bits are enough to tell files
apart), absent of a server behind a URL. Older traces have neither of the two: they can be read, but not added to.

Recording resumes: finished questions wait in `<trace>.partial` until all are there, and a larger run (more questions,
more samples) continues from a smaller one. A trace holds one model's samples of one split. The file carries no times:
the same lines are the same bytes.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from reasoner.engines import Engine, Reply
from reasoner.fields import parsed
from reasoner.files import replacing
from reasoner.samples import Entry, Extras, entry
from reasoner.sets import Question

Line = dict[str, Any]

_RESUMED = ("question", "model", "t", "greedy")


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record: `samples` per question at `temperature`, `parallel` at once; `model` is the name written down;
    `extras` is what to record beside answers. `max_tokens`: at which the engine cuts a sample; `weights`: those of the
    model file (`weights_of`), None behind a URL."""

    model: str
    temperature: float = 1.0
    samples: int = 16
    parallel: int = 8
    extras: Extras = field(default_factory=Extras)
    max_tokens: int = 900
    weights: str | None = None


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

    `on_sample` is called once per new sample. ValueError if `out` is broken or no regular file, holds another model,
    temperature, limit of tokens, question set or split, other weights or extras, or does not tell; EngineError if the
    engine fails (what was recorded stays).
    """
    partial = partial_path(out)
    lines = _begun(out)
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
    """How many samples (greedy ones included) `record` would still have to make. ValueError as of `record`."""
    lines = _begun(out)
    _check(lines, questions, recording)
    return sum(len(_jobs(id_, lines.get(id_), recording)) for id_ in questions)


def partial_path(out: Path) -> Path:
    """Where the finished questions of an unfinished recording are."""
    return out.with_name(out.name + ".partial")


def weights_of(model: Path) -> str:
    """The first 16 hex digits of the sha256 of a model file. OSError if it cannot be read."""
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def split_of_id(id_: str) -> str:
    """The split of a recorded question, `<split>/<bin>/<number>`; `newcomer/<number>` is held out."""
    first = id_.partition("/")[0]
    return "held-out" if first == "newcomer" else first


def load(path: Path, needs: Collection[str] = ()) -> dict[str, Line]:
    """The lines of a trace by id; nothing if there is no such file.

    Every line has an id, a task and samples, each with answer, flag and tokens, and what it `needs` beside. ValueError,
    naming the file and the line, if one has not, if any field is not of its kind (`reasoner.fields`), if an id comes
    twice, and if the file is damaged.
    """
    if not path.exists():
        return {}
    lines: dict[str, Line] = {}
    number = 0
    try:
        with gzip.open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                line = parsed(raw, f"{path}, line {number}", needs)
                if line["id"] in lines:
                    raise ValueError(f"{path}, line {number} holds {line['id']} a second time")
                lines[line["id"]] = line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}, after line {number}: no whole gzip file ({error})") from error
    return lines


def check_replaceable(path: Path) -> None:
    """ValueError, naming the path, if what is there is no regular file: a trace would take a device's place."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file, and is not to be replaced by one")


def save(path: Path, lines: list[Line]) -> None:
    """Write a trace: replaced in one step, and byte for byte the same for the same lines. ValueError as of
    `check_replaceable`."""
    check_replaceable(path)
    # mtime 0 and no file name in the gzip header: nothing but the lines decides the bytes.
    with replacing(path) as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write("".join(map(_dump, lines)).encode())


def _dump(line: Line) -> str:
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n"


def _begun(out: Path) -> dict[str, Line]:
    """What there is of a trace: those of its lines that an unfinished recording has extended are the latter's."""
    check_replaceable(out)
    return {**load(out, _RESUMED), **_load_partial(partial_path(out))}


def _load_partial(path: Path) -> dict[str, Line]:
    """Finished questions of an unfinished recording; a last line that was cut by a crash is dropped from the file."""
    if not path.exists():
        return {}
    # Bytes: a cut may be in the middle of a letter.
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        path.write_bytes(whole)
    lines = (parsed(line, f"{path}, line {n}", _RESUMED) for n, line in enumerate(whole.splitlines(), 1))
    # A question stands here twice if its samples were extended twice: the later line holds the more.
    return {line["id"]: line for line in lines}


def _check(lines: Mapping[str, Line], questions: Mapping[str, Question], recording: Recording) -> None:
    for line in lines.values():
        _check_origin(line, recording)
        if line["id"] in questions and line["question"] != questions[line["id"]].question:
            raise ValueError(f"the trace asks another question under {line['id']}: record to another file")
        if not _alike(line, recording.extras):
            raise ValueError(f"the trace holds other things of {line['id']} than now asked for: record to another file")
    splits = sorted({split_of_id(id_) for id_ in (*lines, *questions)})
    if len(splits) > 1:
        raise ValueError(f"a trace holds questions of one split, not of {' and '.join(splits)}: record to another file")


def _check_origin(line: Line, recording: Recording) -> None:
    """Whether the line's samples were made as those to be added."""
    if "max_tokens" not in line:
        raise ValueError(
            f"the trace does not tell max_tokens and weights of {line['id']}, so that nothing can be added to it: "
            "record it anew, or to another file"
        )
    asked = {"model": recording.model, "t": recording.temperature}
    asked |= {"max_tokens": recording.max_tokens, "weights": recording.weights}
    for name, now in asked.items():
        if line.get(name) != now:
            held = line.get(name, "none")
            raise ValueError(
                f"the trace holds {line['id']} with {name} {held}, now it is {'none' if now is None else now}: "
                "record to another file"
            )


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
    weights = {"weights": recording.weights} if recording.weights else {}
    return {
        "id": id_,
        "task": question.task,
        "gold": question.gold,
        "question": question.question,
        "bin": int(question.bin) if question.bin.isdigit() else question.bin,
        "model": recording.model,
        "t": recording.temperature,
        "max_tokens": recording.max_tokens,
        **weights,
        "greedy": entries[0],
        "samples": entries[1:],
    }
