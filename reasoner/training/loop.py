"""The training loop: runs the stages of a recipe, checks their gates, and can be stopped and taken up anywhere.

A run is a function of (recipe, seed, tokeniser, number of threads): stopped and resumed it gives the same weights, bit
for bit, as in one go. The clock decides only when a checkpoint is written.
"""

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from reasoner.training.batches import Batch, Stream
from reasoner.training.checkpoint import Checkpoint, Progress, load
from reasoner.training.curve import Curve
from reasoner.training.files import reading
from reasoner.training.muon import Optimisers
from reasoner.training.network import Llama
from reasoner.training.recipe import GateMissedError, Recipe, Stage
from reasoner.training.skills import prepared, share_right

CHECKPOINT, CURVE = "checkpoint.pt", "curve.jsonl"
SAVE_SECONDS = 60.0
_SMOOTHING = 0.98


class Trainer:
    """One run of a recipe, in a folder of its own that exists.

    The folder gets `checkpoint.pt` (every minute and at the end), `<stage>.pt` (the model at the end of each stage) and
    `curve.jsonl`. `seed` seeds the weights and, stage by stage, the examples. `first`: the model to begin with, which
    is trained in place; None: one drawn from the seed. `stopping` is asked after every step: True ends `run` early.
    """

    def __init__(
        self,
        recipe: Recipe,
        tokenizer: Tokenizer,
        folder: Path,
        *,
        seed: int = 0,
        first: Llama | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        if tokenizer.get_vocab_size() != recipe.shape.vocab:
            raise ValueError(
                f"the tokeniser has {tokenizer.get_vocab_size()} entries, recipe {recipe.name} {recipe.shape.vocab}"
            )
        self.recipe, self.tokenizer, self.seed = recipe, tokenizer, seed
        self.model = first or Llama(recipe.shape, seed)
        if self.model.shape != recipe.shape:
            raise ValueError(f"the first model is {self.model.shape}, recipe {recipe.name} has {recipe.shape}")
        self.progress = Progress()
        self._folder, self._stopping = folder, stopping
        self._optimisers = Optimisers(self.model)
        self._curve = Curve(folder / CURVE)
        self._skills = {name: prepared(tokenizer, probes) for name, probes in recipe.made_skills().items()}
        self._values: dict[str, float] = {}
        self._started = time.process_time()
        self._saved = time.monotonic()

    def resume(self) -> None:
        """Continue from the folder's checkpoint.

        ValueError if there is none, if it belongs to another run, or if it lacks what training needs to go on.
        """
        path = self._folder / CHECKPOINT
        kept = load(path)
        own = self.checkpoint()
        for name in ("recipe", "seed", "shape", "tokenizer"):
            if getattr(kept, name) != getattr(own, name):
                raise ValueError(f"the checkpoint in {self._folder} belongs to a run of another {name}")
        if not kept.optimisers:
            raise ValueError(f"{path} has no optimiser state, without which training cannot go on")
        self.model.load_state_dict(kept.weights)
        with reading(path, "the checkpoint of a run that can go on"):
            self._optimisers.restore(kept.optimisers)
        self.progress = kept.progress
        self._started = time.process_time() - kept.progress.cpu_seconds

    def run(self) -> bool:
        """Train to the end, or until `stopping`; whether it is the end.

        GateMissedError where a stage fails; FloatingPointError if the loss is no longer a number.
        """
        self._curve.cut(self.progress.tokens)
        self._saved = time.monotonic()
        while self.progress.stage < len(self.recipe.stages):
            if not self._stage(self.recipe.stages[self.progress.stage]):
                self._save()
                return False
        self._save()
        return True

    def _stage(self, stage: Stage) -> bool:
        """Go through one stage from where it stands; whether it ended, rather than being stopped."""
        if self.progress.stage_tokens >= stage.most_tokens:
            # It stands where it missed a gate: no step more, but the same measurement and line of the curve again.
            self._curve.cut(self.progress.tokens - 1)
            self._over(stage, 0)
        elif not self._trained(stage):
            return False
        self._finish(stage)
        return True

    def _trained(self, stage: Stage) -> bool:
        """Train until the stage is over; whether it is, rather than being stopped."""
        progress, context = self.progress, self.recipe.shape.context
        stream = Stream(stage.mixture, self.tokenizer, f"{self.seed}/{stage.name}", context, self.recipe.step_tokens)
        with self._bar(stage) as bar:
            for batch, pool, index in stream.start(progress.pool, progress.batch):
                self._step(stage, batch)
                progress.pool, progress.batch = pool, index
                bar.set_postfix({"loss": f"{progress.loss:.3f}"} | _shown(self._values), refresh=False)
                bar.update(batch.tokens)
                if self._over(stage, batch.tokens):
                    break
                if self._stopping():
                    return False
                if time.monotonic() - self._saved >= SAVE_SECONDS:
                    self._save()
        return True

    def _bar(self, stage: Stage) -> Any:
        return tqdm(
            desc=f"{self.recipe.name} {stage.name}",
            total=stage.most_tokens,
            initial=self.progress.stage_tokens,
            unit="tok",
            unit_scale=True,
            file=sys.stderr,
            # A log file is not to get ten lines a second.
            mininterval=0.5 if sys.stderr.isatty() else 60.0,
            maxinterval=60.0,
        )

    def _step(self, stage: Stage, batch: Batch) -> None:
        progress = self.progress
        rate = stage.rate(progress.stage_tokens + batch.tokens / 2)
        loss = weighted_loss(self.model, batch)
        loss.backward()
        self._optimisers.step(rate * stage.lr, rate * stage.embedding_lr)
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} after {progress.tokens} tokens")
        progress.loss = _SMOOTHING * progress.loss + (1 - _SMOOTHING) * value if progress.steps else value
        progress.steps += 1
        progress.tokens += batch.tokens
        progress.stage_tokens += batch.tokens
        progress.cpu_seconds = time.process_time() - self._started

    def _over(self, stage: Stage, new: int) -> bool:
        """Whether the stage ends here, after `new` more tokens; measures its gates where a check is due."""
        seen, every = self.progress.stage_tokens, self.recipe.check_every
        full, check = seen >= stage.most_tokens, seen // every
        if not full and check == (seen - new) // every:
            return False
        gates = stage.gates if seen >= stage.least_tokens else {}
        self._measure(gates)
        missed = [name for name, least in gates.items() if self._values[name] < least]
        over = full or (bool(gates) and not missed)
        if over or check % self.recipe.skills_every == 0:
            self._measure(self._skills.keys() - gates.keys())
            self._record(stage, self._skills)
        else:
            self._record(stage, gates)
        if full and missed:
            self._save()
            values = ", ".join(f"{name} {self._values[name]:.3f} of {stage.gates[name]}" for name in missed)
            raise GateMissedError(f"{self.recipe.name}, stage {stage.name}: after {seen} tokens {values}")
        return over

    def _measure(self, names: Iterable[str]) -> None:
        self._values |= {name: share_right(self.model, self._skills[name]) for name in sorted(names)}

    def _record(self, stage: Stage, names: Iterable[str]) -> None:
        """Add a line to the curve, with the values of these skills."""
        progress = self.progress
        self._curve.add(
            {
                "tokens": progress.tokens,
                "cpu_seconds": round(progress.cpu_seconds, 2),
                "stage": stage.name,
                "stage_tokens": progress.stage_tokens,
                "rate": round(stage.rate(progress.stage_tokens), 4),
                "loss": round(progress.loss, 5),
                "skills": {name: round(self._values[name], 4) for name in names},
            }
        )

    def _finish(self, stage: Stage) -> None:
        """Keep the stage's model, and stand at the next stage."""
        replace(self.checkpoint(), optimisers=None).save(self._folder / f"{stage.name}.pt")
        self.progress = replace(self.progress, stage=self.progress.stage + 1, stage_tokens=0, pool=0, batch=0)
        self._save()

    def _save(self) -> None:
        self.checkpoint().save(self._folder / CHECKPOINT)
        self._saved = time.monotonic()

    def checkpoint(self) -> Checkpoint:
        """The run as it stands; its tensors are those being trained."""
        return Checkpoint(
            recipe=self.recipe.name,
            seed=self.seed,
            shape=self.recipe.shape,
            tokenizer=self.tokenizer.to_str(),
            weights=self.model.state_dict(),
            progress=self.progress,
            optimisers=self._optimisers.state(),
            template=self.recipe.template,
        )


def _shown(values: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.2f}" for name, value in values.items()}


def weighted_loss(model: Llama, batch: Batch) -> Tensor:
    """Cross-entropy of the next token, in nats: the mean over the batch by the tokens' weights."""
    weights = batch.weights[:, 1:]
    learnt = weights > 0
    with torch.autocast("cpu", torch.bfloat16):
        # The vocabulary is wide: only the positions that count are scored.
        logits = model.logits(model.hidden(batch.ids[:, :-1])[learnt])
    losses = functional.cross_entropy(logits.float(), batch.targets[:, 1:][learnt], reduction="none")
    return losses @ weights[learnt] / weights.sum()
