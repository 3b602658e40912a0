"""`python -m reasoner.training`: make the tokeniser, train a recipe, export a checkpoint."""

import argparse
import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Protocol

import torch

from reasoner import judge
from reasoner.training import checkpoint, tokens
from reasoner.training.grow import grown
from reasoner.training.loop import CHECKPOINT, GateMissedError, Trainer
from reasoner.training.network import Llama
from reasoner.training.recipe import Recipe

RUNS = Path("reasoner/runs")
FORMS = ("f16", "q8_0")
"""How a GGUF file may hold the matrices."""
FAILED, GATE_MISSED, INTERRUPTED = 1, 3, 130
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of malloc.h."""


class Book(Protocol):
    """What is trained: the module `reasoner.recipes`, or what a test puts in its place."""

    def recipes(self) -> Mapping[str, Recipe]:
        """By name, each after the one that it grows from."""
        ...

    def tokenizer_text(self) -> Iterator[str]:
        """What the tokeniser's merges come from; ends."""
        ...


def main(argv: Sequence[str] | None = None, book: Book | None = None) -> int:
    """Run one command; returns the exit status: 3 where a gate was missed, 130 where training was stopped."""
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reasoner.training", description=__doc__)
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
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and examples (0)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"the run's folder ({RUNS}/NAME-SEED)")
    parser.add_argument("--tokenizer", type=Path, default=RUNS / "tokenizer.json", metavar="JSON")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--init", type=Path, metavar="CKPT", help="the model to begin with, grown if need be")
    start.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    parser.add_argument("--threads", type=_positive, default=1, metavar="N", help="threads of PyTorch (1)")
    parser.set_defaults(run=_train)


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive integer")
    return int(text)


def _book(args: argparse.Namespace) -> Book:
    # By name, not by import: what the recipes train on is none of this package's business.
    book: Book = args.book or importlib.import_module("reasoner.recipes")
    return book


def _tokenizer(args: argparse.Namespace) -> int:
    tokenizer = tokens.train(_book(args).tokenizer_text())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    return 0


def _recipes(args: argparse.Namespace) -> int:
    print("\n".join(_book(args).recipes()))
    return 0


def _train(args: argparse.Namespace) -> int:
    recipe = _recipe(_book(args), args.name)
    torch.set_num_threads(args.threads)
    _keep_freed_memory()
    folder = args.out or RUNS / f"{recipe.name}-{args.seed}"
    if not args.resume and (folder / CHECKPOINT).exists():
        raise ValueError(f"{folder} holds a run already: --resume it, or name another --out")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokens.load(args.tokenizer)
    start = None if args.resume else args.init or _ancestor(recipe, folder, args.seed)
    first = _first_model(recipe, start, args.seed)
    with _stopped_by_signals() as stopped:
        trainer = Trainer(recipe, tokenizer, folder, seed=args.seed, first=first, stopping=stopped.is_set)
        if args.resume:
            trainer.resume()
        ended = trainer.run()
    if not ended:
        print("reasoner.training: stopped; --resume goes on from here", file=sys.stderr)
    return 0 if ended else INTERRUPTED


def _keep_freed_memory() -> None:
    """Have the C library keep what is freed: by default each large tensor is new memory, zeroed page by page.

    Saves about a tenth of the time. Only the GNU library has this switch.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def _recipe(book: Book, name: str) -> Recipe:
    known = book.recipes()
    if name not in known:
        raise ValueError(f"no recipe called {name!r}; there are {', '.join(known)}")
    return known[name]


def _ancestor(recipe: Recipe, folder: Path, seed: int) -> Path | None:
    """The checkpoint that a recipe grows from: beside its own folder, of the same seed."""
    if recipe.grown_from is None:
        return None
    name, _, stage = recipe.grown_from.partition("/")
    return folder.parent / f"{name}-{seed}" / (f"{stage}.pt" if stage else CHECKPOINT)


def _first_model(recipe: Recipe, path: Path | None, seed: int) -> Llama | None:
    """The model of a checkpoint, in the recipe's shape, what growth draws drawn from `seed`; None without one."""
    if path is None:
        return None
    model = checkpoint.load(path).model()
    return model if model.shape == recipe.shape else grown(model, recipe.shape, seed=seed, after=recipe.after)


@contextmanager
def _stopped_by_signals() -> Iterator[Event]:
    """An event that Ctrl-C and SIGTERM set, so that a step is never torn; a second Ctrl-C ends at once."""
    stopped = Event()

    def stop(number: int, frame: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _export(args: argparse.Namespace) -> int:
    # Here and not above: training needs neither of the two formats.
    export_hf = importlib.import_module("reasoner.training.export_hf")
    export_hf.export(checkpoint.load(args.checkpoint), args.folder)
    # Of what was written, not of the checkpoint: all files then hold the same weights, rounded to 16 bits.
    for form in FORMS:
        _convert(args.folder, args.folder / f"model-{form}.gguf", form)
    return 0


def _gguf(args: argparse.Namespace) -> int:
    _convert(args.folder, args.out, args.form)
    return 0


def _hf(args: argparse.Namespace) -> int:
    import_gguf, export_hf = (importlib.import_module(f"reasoner.training.{n}") for n in ("import_gguf", "export_hf"))
    export_hf.export(import_gguf.read(args.file), args.folder)
    return 0


def _rank(args: argparse.Namespace) -> int:
    import_gguf, export_gguf, rank = (
        importlib.import_module(f"reasoner.training.{n}") for n in ("import_gguf", "export_gguf", "rank")
    )
    kept = import_gguf.read(args.file)
    made, prompt = rank.ranking(kept, judge.RIGHT, judge.WRONG), judge.prompt("{query}", "{document}")
    export_gguf.export(made, args.out, args.form, kept.recipe, rerank=prompt)
    return 0


def _convert(folder: Path, out: Path, form: str) -> None:
    import_hf, export_gguf = (importlib.import_module(f"reasoner.training.{n}") for n in ("import_hf", "export_gguf"))
    export_gguf.export(import_hf.read(folder), out, form, folder.resolve().name)


if __name__ == "__main__":
    sys.exit(main())
