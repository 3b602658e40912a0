"""How a run begins, from nothing, from another model or from where it stood, and how it is stopped."""

import ctypes
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import torch

from reasoner.training import checkpoint, tokens
from reasoner.training.files import reading
from reasoner.training.grow import grown
from reasoner.training.loop import CHECKPOINT, Trainer
from reasoner.training.network import Llama
from reasoner.training.recipe import Recipe

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of malloc.h."""


def train(
    recipe: Recipe,
    folder: Path,
    tokenizer: Path,
    *,
    seed: int = 0,
    init: Path | None = None,
    resume: bool = False,
    threads: int = 1,
) -> bool:
    """Train a recipe in its run's folder, which is made; whether it came to the end, rather than being stopped.

    `init`: the checkpoint to begin with, instead of the one that the recipe grows from. `resume`: go on from the
    folder's own. ValueError where one of the files is missing, broken or does not fit: nothing is then left behind.
    """
    _check(folder / CHECKPOINT, resume=resume)
    torch.set_num_threads(threads)
    _keep_freed_memory()
    own = tokens.load(tokenizer)
    start = None if resume else init or _ancestor(recipe, folder, seed)
    first = _first_model(recipe, start, tokenizer, seed)
    with _stopped_by_signals() as stopped:
        trainer = Trainer(recipe, own, folder, seed=seed, first=first, stopping=stopped.is_set)
        if resume:
            trainer.resume()
        folder.mkdir(parents=True, exist_ok=True)
        return trainer.run()


def _check(kept: Path, *, resume: bool) -> None:
    """ValueError if there is a checkpoint where a run is to begin, or none where one is to go on."""
    if resume and not kept.is_file():
        raise ValueError(f"no checkpoint at {kept}: there is nothing to --resume")
    if not resume and kept.exists():
        raise ValueError(f"{kept.parent} holds a run already: --resume it, or name another --out")


def _keep_freed_memory() -> None:
    """Have the C library keep what is freed: by default each large tensor is new memory, zeroed page by page.

    Saves about a tenth of the time. Only the GNU library has this switch.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def _ancestor(recipe: Recipe, folder: Path, seed: int) -> Path | None:
    """The checkpoint that a recipe grows from: beside its own folder, of the same seed."""
    if recipe.grown_from is None:
        return None
    name, _, stage = recipe.grown_from.partition("/")
    return folder.parent / f"{name}-{seed}" / (f"{stage}.pt" if stage else CHECKPOINT)


def _first_model(recipe: Recipe, path: Path | None, tokenizer: Path, seed: int) -> Llama | None:
    """The model of a checkpoint, in the recipe's shape, what growth draws drawn from `seed`; None without one.

    ValueError if it was trained with another tokeniser: its embedding would be of other tokens.
    """
    if path is None:
        return None
    kept = checkpoint.load(path)
    with reading(path, "a checkpoint with its tokeniser"):
        alike = tokens.same(kept.tokenizer, tokenizer.read_text(encoding="utf-8"))
    if not alike:
        raise ValueError(
            f"{path} was trained with another tokeniser than {tokenizer}: name its own with --tokenizer, "
            "or another model with --init"
        )
    model = kept.model()
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
