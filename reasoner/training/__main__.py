"""`python -m reasoner.training`: make the tokeniser, train a recipe, export a checkpoint."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reasoner.training.recipe import Book, GateMissedError, Recipe

RUNS = Path("reasoner/runs")
FORMS = ("f16", "q8_0")
"""How a GGUF file may hold the matrices."""
FAILED, GATE_MISSED, INTERRUPTED = 1, 3, 130


def main(argv: Sequence[str] | None = None, book: Book | None = None) -> int:
    """Run one command; returns the exit status: 3 where a gate was missed, 130 where Ctrl-C or SIGTERM stopped it."""
    args = _parser().parse_args(argv)
    args.book = book
    # The tokeniser would take every core for a few milliseconds of work.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        return run(args)
    except GateMissedError as error:
        print(f"reasoner.training: gate missed: {error}", file=sys.stderr)
        return GATE_MISSED
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"reasoner.training: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"reasoner.training: interrupted{args.interrupted}", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reasoner.training", description=__doc__)
    parser.set_defaults(interrupted="; the same command writes everything anew")
    commands = parser.add_subparsers(required=True)
    tokenizer = commands.add_parser("tokenizer", help="train the tokeniser")
    tokenizer.add_argument("out", type=Path, metavar="OUT", help="the tokenizer.json to write")
    tokenizer.set_defaults(run=_tokenizer)
    listing = commands.add_parser("recipes", help="print the recipes' names, each after the one that it grows from")
    listing.set_defaults(run=_recipes)
    _add_train(commands.add_parser("train", help="train a recipe of reasoner/recipes.py"))
    export = commands.add_parser("export", help="write a checkpoint for transformers, vLLM and llama.cpp")
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    export.add_argument("folder", type=Path, metavar="FOLDER", help="its name becomes the model's")
    export.set_defaults(run=_export)
    convert = commands.add_parser("gguf", help="write an exported folder's weights for llama.cpp")
    convert.add_argument("folder", type=Path, metavar="FOLDER", help="its name becomes the model's")
    convert.add_argument("out", type=Path, metavar="OUT", help="the GGUF file to write")
    convert.add_argument("--form", choices=FORMS, default="f16", help="of the matrices (%(default)s)")
    convert.set_defaults(run=_gguf)
    back = commands.add_parser("hf", help="write a GGUF file's weights for transformers and vLLM")
    back.add_argument("file", type=Path, metavar="GGUF", help="in any form that `export` or `gguf` writes")
    back.add_argument("folder", type=Path, metavar="FOLDER")
    back.set_defaults(run=_hf)
    rank = commands.add_parser("rank", help="write a judge's GGUF file anew for llama.cpp's rerank endpoint")
    rank.add_argument("file", type=Path, metavar="GGUF", help="of a judge, as exported")
    rank.add_argument("out", type=Path, metavar="OUT", help="the GGUF file to write; it answers chats as before")
    rank.add_argument("--form", choices=FORMS, default="f16", help="of the matrices (%(default)s)")
    rank.set_defaults(run=_rank)
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the recipe")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of weights and examples (0)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"the run's folder ({RUNS}/NAME-SEED)")
    parser.add_argument("--tokenizer", type=Path, default=RUNS / "tokenizer.json", metavar="JSON")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--init", type=Path, metavar="CKPT", help="the model to begin with, grown if need be")
    start.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    parser.add_argument("--threads", type=_positive, default=1, metavar="N", help="threads of PyTorch (1)")
    parser.set_defaults(run=_train, interrupted="; --resume goes on from the run's checkpoint, if there is one")


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive integer")
    return int(text)


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 2**64
    if not -(2**63) <= value < 2**64:
        raise argparse.ArgumentTypeError(f"{text} is no integer of 64 bits, which PyTorch takes for a seed")
    return value


def _imported(name: str) -> Any:
    """A module. Some (PyTorch above all) take seconds, so none is imported before `main` can answer a Ctrl-C.

    KeyboardInterrupt comes when the module is there: foreign modules swallow it while they are being imported.
    """
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        module = importlib.import_module(name)
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
    return module


def _own(*names: str) -> list[Any]:
    """Modules of this package."""
    return [_imported(f"reasoner.training.{name}") for name in names]


def _book(args: argparse.Namespace) -> Book:
    # By name, not by import: what the recipes train on is none of this package's business.
    book: Book = args.book or _imported("reasoner.recipes")
    return book


def _tokenizer(args: argparse.Namespace) -> int:
    (tokens,) = _own("tokens")
    tokenizer = tokens.train(_book(args).tokenizer_text())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    return 0


def _recipes(args: argparse.Namespace) -> int:
    print("\n".join(_book(args).recipes()))
    return 0


def _train(args: argparse.Namespace) -> int:
    recipe = _recipe(_book(args), args.name)
    (start,) = _own("start")
    folder = args.out or RUNS / f"{recipe.name}-{args.seed}"
    options = {name: getattr(args, name) for name in ("seed", "init", "resume", "threads")}
    ended = start.train(recipe, folder, args.tokenizer, **options)
    if not ended:
        print("reasoner.training: stopped; --resume goes on from here", file=sys.stderr)
    return 0 if ended else INTERRUPTED


def _recipe(book: Book, name: str) -> Recipe:
    known = book.recipes()
    if name not in known:
        raise ValueError(f"no recipe called {name!r}; there are {', '.join(known)}")
    return known[name]


def _export(args: argparse.Namespace) -> int:
    checkpoint, export_hf = _own("checkpoint", "export_hf")
    export_hf.export(checkpoint.load(args.checkpoint), args.folder)
    # Of what was written, not of the checkpoint: all files then hold the same weights, rounded to 16 bits.
    for form in FORMS:
        _convert(args.folder, args.folder / f"model-{form}.gguf", form)
    return 0


def _gguf(args: argparse.Namespace) -> int:
    _convert(args.folder, args.out, args.form)
    return 0


def _hf(args: argparse.Namespace) -> int:
    import_gguf, export_hf = _own("import_gguf", "export_hf")
    export_hf.export(import_gguf.read(args.file), args.folder)
    return 0


def _rank(args: argparse.Namespace) -> int:
    import_gguf, export_gguf, rank = _own("import_gguf", "export_gguf", "rank")
    judge = _imported("reasoner.judge")
    kept = import_gguf.read(args.file)
    made, prompt = rank.ranking(kept, judge.RIGHT, judge.WRONG), judge.prompt("{query}", "{document}")
    export_gguf.export(made, args.out, args.form, kept.recipe, rerank=prompt)
    return 0


def _convert(folder: Path, out: Path, form: str) -> None:
    import_hf, export_gguf = _own("import_hf", "export_gguf")
    export_gguf.export(import_hf.read(folder), out, form, folder.resolve().name)


if __name__ == "__main__":
    sys.exit(main())
