"""`python -m reasoner`: record samples of a model, have them judged, evaluate a recording, print questions."""

import argparse
import importlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from reasoner import written
from reasoner.card.curves import keep
from reasoner.card.pages import write
from reasoner.engines import MOST_AT_ONCE, Engine, EngineError, LlamaCpp, OpenAIServer, Reply, address
from reasoner.evaluate import Row, rows, tables
from reasoner.figures import Line
from reasoner.judging import judged
from reasoner.kept import answered
from reasoner.questions import SPLITS
from reasoner.record import Recording, check_replaceable, load, missing, record, save, split_of_id, weights_of
from reasoner.samples import Extras
from reasoner.sets import OWNERS, STANDARD, TASKS, Question, Task, bins_of, selected
from reasoner.trace import solved

HERE = Path(__file__).parent
_PER_BIN = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], None] = args.run
    try:
        run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has seen enough, as `head` has; nothing is left to be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (EngineError, ValueError, OSError, ImportError) as error:
        print(f"reasoner: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"reasoner: interrupted{args.interrupted}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reasoner", description=__doc__)
    parser.set_defaults(interrupted="")
    commands = parser.add_subparsers(required=True)
    _add_sample(commands.add_parser("sample", help="record samples of a model to a trace (resumes)"))
    evaluate = commands.add_parser("evaluate", help="figures of a trace, per bin")
    evaluate.add_argument("trace", type=Path)
    evaluate.add_argument("--json", action="store_true", help="figures of every row as JSON, more of them")
    evaluate.set_defaults(run=_evaluate)
    _add_judge(commands.add_parser("judge", help="have a judge score recorded samples, and print how well it does"))
    listing = commands.add_parser("questions", help="print questions with their answers")
    _add_selection(listing)
    listing.add_argument("--worked", action="store_true", help="with the worked solution")
    listing.set_defaults(run=_questions)
    templates = commands.add_parser("written", help="tell what is wrong with files of templates, or what they say")
    templates.add_argument("files", type=Path, nargs="*", metavar="FILE", help="as in the folder `written`")
    templates.add_argument(
        "--model", type=Path, metavar="GGUF", help="ask it every template kept from training, greedily"
    )
    templates.set_defaults(run=_written)
    card = commands.add_parser("card", help="write the generated parts of the model card, and its pictures")
    card.add_argument("--root", type=Path, default=HERE, metavar="FOLDER", help="instead of this package's folder")
    card.set_defaults(run=_card)
    curves = commands.add_parser("curves", help="keep the curves of runs, thinned, for the model card")
    curves.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run's folder, named <recipe>-<seed>")
    curves.add_argument("--root", type=Path, default=HERE, metavar="FOLDER", help="instead of this package's folder")
    curves.set_defaults(run=_curves)
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", choices=SPLITS, default="development")
    parser.add_argument("--tasks", type=_tasks, metavar="T,...", help=f"of {','.join(TASKS)} (default: ledger)")
    parser.add_argument(
        "--bins", type=_bins, metavar="B,...", help="bins (default: all of the tasks: 1-9, s1-s6, o1-o6)"
    )
    size = parser.add_mutually_exclusive_group()
    # No default here: argparse takes a value that is the default for an option that was not given.
    size.add_argument("--per-bin", type=_positive, metavar="N", help=f"questions of each bin (default {_PER_BIN})")
    size.add_argument("--standard", action="store_true", help="as many of each bin as figures are reported on")


def _add_judge(parser: argparse.ArgumentParser) -> None:
    _add_engine(parser, "requests")
    parser.add_argument("--samples", type=Path, required=True, metavar="TRACE", help="recorded with --texts")
    parser.add_argument("--out", type=Path, metavar="SCORED", help="a copy of the trace with scores, *.jsonl.gz")
    parser.add_argument("--json", action="store_true", help="figures of every row as JSON, more of them")
    parser.set_defaults(run=_judge, max_tokens=1, interrupted="; the same command scores everything again")


def _add_engine(parser: argparse.ArgumentParser, what: str) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, metavar="GGUF", help="a GGUF file, run in llama.cpp here")
    source.add_argument(
        "--base-url", type=_base_url, metavar="URL", help="an OpenAI-compatible server, up to and including /v1"
    )
    parser.add_argument("--name", help="the served model's name, written to the trace (default: the file's folder)")
    parser.add_argument("--parallel", type=_at_once, default=8, metavar="N", help=f"{what} at once (8)")
    parser.add_argument("--threads", type=_threads, default=1, metavar="N", help="threads of llama.cpp (1)")


def _add_sample(parser: argparse.ArgumentParser) -> None:
    _add_engine(parser, "samples")
    _add_selection(parser)
    parser.add_argument("--samples", type=_positive, default=16, metavar="K", help="samples of each question (16)")
    parser.add_argument("--temperature", type=_temperature, default=1.0, metavar="T")
    parser.add_argument("--max-tokens", type=_positive, default=900, metavar="N", help="tokens of one sample (900)")
    parser.add_argument("--confidence", action="store_true", help="record how sure each sample's tokens were")
    parser.add_argument("--steps", action="store_true", help="record the share of right steps of each sample")
    parser.add_argument("--probes", action="store_true", help="record forced answers at every line of each thought")
    parser.add_argument("--probed", type=_positive, metavar="P", help="... of the first P samples of a question alone")
    parser.add_argument("--texts", action="store_true", help="record what each sample says, for a judge")
    parser.add_argument("--out", type=Path, required=True, metavar="TRACE", help="where to, *.jsonl.gz")
    parser.set_defaults(run=_sample, interrupted="; the same command resumes")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def _threads(text: str) -> int:
    value, cores = _positive(text), os.cpu_count() or 1
    if value > cores:
        raise argparse.ArgumentTypeError(f"{value} is more than the {cores} cores of this machine")
    return value


def _at_once(text: str) -> int:
    value = _positive(text)
    if value > MOST_AT_ONCE:
        raise argparse.ArgumentTypeError(f"{value} is more than {MOST_AT_ONCE}")
    return value


def _base_url(text: str) -> str:
    try:
        address(text)
    except EngineError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no finite number of at least 0")
    return value


def _bins(text: str) -> tuple[str, ...]:
    return _known(text, OWNERS, "bin")


def _tasks(text: str) -> tuple[Task, ...]:
    chosen = _known(text, TASKS, "task")
    return tuple(task for task in TASKS if task in chosen)


def _known(text: str, known: Iterable[str], what: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if unknown := sorted(set(chosen) - set(known)):
        raise argparse.ArgumentTypeError(f"no such {what}: {unknown[0]}")
    return chosen


def _selected(args: argparse.Namespace) -> dict[str, Question]:
    bins: tuple[str, ...] = args.bins or bins_of(args.tasks or TASKS[:1])
    for bin_ in bins:
        if args.tasks and OWNERS[bin_] not in args.tasks:
            raise ValueError(f"--bins: {bin_} is of {OWNERS[bin_]}, which is not among --tasks")
    numbers = {bin_: STANDARD.get(bin_, 1) if args.standard else args.per_bin or _PER_BIN for bin_ in bins}
    return selected(args.split, numbers)


def _extras(args: argparse.Namespace) -> Extras:
    if args.probed and not args.probes:
        raise ValueError("--probed needs --probes")
    probed = min(args.probed or args.samples, args.samples) if args.probes else 0
    return Extras(confidence=args.confidence, steps=args.steps, probed=probed, text=args.texts)


def _questions(args: argparse.Namespace) -> None:
    for id_, question in _selected(args).items():
        print(json.dumps({"id": id_, "gold": question.gold, "question": question.question}))
        if args.worked and (worked := solved(question)):
            print(worked)


def _written(args: argparse.Namespace) -> None:
    if not args.files and not args.model:
        raise ValueError("name files of templates, or a --model that is to be asked")
    dice = Random(0)
    if args.model:
        with LlamaCpp(args.model, parallel=1) as engine:
            print(answered(engine, dice))
    told = [written.shown(line, dice) for file in args.files for line in written.lines(file)]
    for number, each in enumerate(told, 1):
        print(f"{number}. {each}")
    faulty = sum(each.startswith(written.FAULT) for each in told)
    if faulty:
        raise ValueError(f"{faulty} of {len(told)} lines are faulty")


def _card(args: argparse.Namespace) -> None:
    for path in write(args.root):
        print(path)


def _curves(args: argparse.Namespace) -> None:
    for run in args.runs:
        print(keep(run, args.root / "curves"))


def _evaluate(args: argparse.Namespace) -> None:
    _print_figures(_trace(args.trace), as_json=args.json)


def _trace(path: Path, needs: Collection[str] = ()) -> list[Line]:
    """The lines of a trace, of one model and one split as far as they tell: figures of several would be of none."""
    lines = list(load(path, needs).values())
    if not lines:
        raise ValueError(f"no trace in {path}" if path.exists() else f"no such file: {path}")
    _check_one(path, "models", {line["model"] for line in lines if "model" in line})
    # The ids of others are not made of splits.
    _check_one(path, "splits", {split_of_id(line["id"]) for line in lines}.intersection(SPLITS))
    return lines


def _check_one(path: Path, what: str, found: Collection[str]) -> None:
    if len(found) > 1:
        raise ValueError(f"{path} holds samples of several {what}: {' and '.join(sorted(found))}")


def _print_figures(lines: Sequence[Line], *, as_json: bool) -> None:
    print(json.dumps([_jsonable(row) for row in rows(lines)], indent=1) if as_json else tables(lines))


def _judge(args: argparse.Namespace) -> None:
    lines = _trace(args.samples, ("question", "greedy"))
    if args.out:
        _make_room(args.out)
    total = sum(1 + len(line["samples"]) for line in lines)
    with _engine(args, _name(args)) as engine, _progress_bar(total) as bar:
        scored = judged(engine, lines, parallel=args.parallel, on_score=lambda _: bar.update())
    if args.out:
        save(args.out, scored)
    _print_figures(scored, as_json=args.json)


def _make_room(out: Path) -> None:
    """Make the folder of a file that is yet to be written; what would prevent that is told before the work is done."""
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        check_replaceable(out)
    except ValueError as error:
        raise ValueError(f"--out: {error}") from error
    if not os.access(out.parent, os.W_OK):
        raise ValueError(f"--out: nothing can be written in {out.parent}")


def _jsonable(row: Row) -> Row:
    """JSON has no nan: what is unknown is null; six digits are more than any figure has."""
    return {name: _number(value) if isinstance(value, float) else value for name, value in row.items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _sample(args: argparse.Namespace) -> None:
    name = _name(args)
    questions = _selected(args)
    extras, weights = _extras(args), _weights(args.model)
    recording = Recording(name, args.temperature, args.samples, args.parallel, extras, args.max_tokens, weights)
    _make_room(args.out)
    total = missing(questions, recording, args.out)
    made: list[Reply] = []
    started = time.monotonic()
    with _engine(args, name) as engine, _progress_bar(total) as bar:

        def count(reply: Reply) -> None:
            made.append(reply)
            bar.update()

        lines = record(engine, questions, recording, args.out, on_sample=count)
    print(_speed(made, time.monotonic() - started, args.parallel), file=sys.stderr)
    print(tables(lines))


def _weights(model: Path | None) -> str | None:
    if model is None:
        return None
    if not model.is_file():
        raise ValueError(f"no such model file: {model}")
    return weights_of(model)


def _name(args: argparse.Namespace) -> str:
    if args.base_url and not args.name:
        raise ValueError("--base-url needs --name, the model to ask for")
    name: str = args.name or args.model.resolve().parent.name
    return name


def _progress_bar(total: int) -> Any:
    # Here and not above: the other commands do without the 'bench' extra that brings it.
    return importlib.import_module("tqdm").tqdm(total=total, unit="sample", file=sys.stderr)


def _speed(made: Sequence[Reply], seconds: float, parallel: int) -> str:
    tokens = sum(reply.tokens for reply in made)
    latency = 1000 * seconds * parallel / max(1, len(made))
    return (
        f"{len(made)} new samples, {tokens} tokens in {seconds:.1f} s: {tokens / seconds:.0f} tokens/s, "
        f"{latency:.0f} ms per sample with {parallel} at once"
    )


def _engine(args: argparse.Namespace, name: str) -> Engine:
    if args.base_url:
        return OpenAIServer(args.base_url, name, max_tokens=args.max_tokens)
    return LlamaCpp(args.model, parallel=args.parallel, threads=args.threads, max_tokens=args.max_tokens)


if __name__ == "__main__":
    sys.exit(main())
