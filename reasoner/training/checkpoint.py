"""Checkpoints: all that a run needs to go on, and all that an export needs, in one file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reasoner.examples import CHAT_TEMPLATE
from reasoner.files import replacing
from reasoner.training.files import reading
from reasoner.training.network import Llama
from reasoner.training.shape import Shape


@dataclass(slots=True)
class Progress:
    """How far a run is. Nothing but `seed` and these numbers decides what comes next: no generator has a state to keep.

    `stage` and `stage_tokens`: number of the stage, and tokens seen in it; `pool` and `batch`: the next batch of its
    stream; `tokens`, `steps`, `cpu_seconds`: of the whole run; `loss`: its moving average, nats per weighted token.
    """

    stage: int = 0
    stage_tokens: int = 0
    pool: int = 0
    batch: int = 0
    tokens: int = 0
    steps: int = 0
    cpu_seconds: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model with the tokeniser (text of its tokenizer.json) it was trained with, and how it came there.

    `recipe` and `seed` name the run; `optimisers` is None where training is not to go on from here; `template` is the
    chat template.
    """

    recipe: str
    seed: int
    shape: Shape
    tokenizer: str
    weights: Mapping[str, Tensor]
    progress: Progress
    optimisers: Mapping[str, Any] | None = None
    template: str = CHAT_TEMPLATE

    def model(self) -> Llama:
        """The model, in 32-bit floats."""
        model = Llama(self.shape)
        model.load_state_dict(self.weights)
        return model

    def save(self, path: Path) -> None:
        """Write the file whole or not at all: what was there before stays until the new one is complete."""
        names = ("recipe", "seed", "tokenizer", "weights", "optimisers", "template")
        content = {name: getattr(self, name) for name in names}
        with replacing(path) as file:
            torch.save(content | {"shape": asdict(self.shape), "progress": asdict(self.progress)}, file)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; ValueError if there is none at `path`, or a broken one."""
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}")
    with reading(path, "a checkpoint"):
        content = torch.load(path, weights_only=True)
        shape, progress = Shape(**content.pop("shape")), Progress(**content.pop("progress"))
        kept = Checkpoint(shape=shape, progress=progress, **content)
        # Weights that do not fit the shape are found here, where the file's name is known.
        kept.model()
    return kept
