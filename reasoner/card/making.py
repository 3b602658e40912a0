"""Blocks of the card on how the models are made: stages, gates, mixtures, what became of each seed."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from reasoner.card.curves import Point, ends
from reasoner.card.sources import FAMILIES, Sources
from reasoner.card.tables import UNKNOWN, millions, share, table
from reasoner.evaluate import Row
from reasoner.mixtures import CUT, Mixture
from reasoner.recipes import recipes
from reasoner.thoughts import NUMBERS_OF_CHECKS
from reasoner.training.recipe import Recipe, Stage

Key = TypeVar("Key")
KINDS = ("stories", "ledgers", "puzzles", "drills", "lookups", "walks", "clauses")


def stages(_: Sources) -> str:
    """Shapes, stages, gates and rates of every recipe: one table."""
    header = (
        "model",
        "stage",
        "tokens",
        "ends at",
        "rate of matrices",
        "of embedding and norms",
        "falls over the last",
    )
    rows = (_staged(recipe, stage) for recipe in recipes().values() for stage in recipe.stages)
    grown = [f"`{name}` grows from `{recipe.grown_from}`." for name, recipe in recipes().items() if recipe.grown_from]
    return "\n\n".join([table(header, rows), *grown])


def _staged(recipe: Recipe, stage: Stage) -> tuple[str, ...]:
    gates = ", ".join(f"{name} {least:g}" for name, least in stage.gates.items())
    span = f"{millions(stage.least_tokens)} to {millions(stage.most_tokens)}" if gates else millions(stage.most_tokens)
    return (f"`{recipe.name}`", stage.name, span, gates or "its last token", f"{stage.lr:g}", f"{stage.embedding_lr:g}",
            f"{stage.decay:.0%}" if stage.decay else UNKNOWN)  # fmt: skip


def mixtures(_: Sources) -> str:
    """What each stage's examples are: one table, and the shares of sizes below it."""
    found = _mixtures()
    wording = ("of the stories written, %", "in everyday words, %")
    header = ("mixture", *(f"{kind}, %" for kind in KINDS), *wording, "thoughts with 0, 1, 2, 3 checks, %", "slips")
    rows = (_mixed(name, mixture) for name, mixture in found.items())
    sizes = table(("mixture", "steps of a story", "level of a ledger", "bin of an ordering"),
                  (_sized(name, mixture) for name, mixture in found.items()))  # fmt: skip
    return f"{table(header, rows)}\n\n{sizes}\n\n{_left_out()}"


def _left_out() -> str:
    """What the columns do not tell."""
    return (
        "Shares in percent; checks and slips are those of sums. Thoughts of orderings have 0, 1, 2, 3 checks in "
        f"{_in_order(NUMBERS_OF_CHECKS)} of 100 and may slip, in the stage reading too. {CUT:.0%} of the thoughts are "
        "cut short, but for those of reading."
    )


def _mixtures() -> Mapping[str, Mixture]:
    """By the names of the stages that have them."""
    found: dict[str, Mixture] = {}
    for recipe in recipes().values():
        for stage in recipe.stages:
            mixture = stage.mixture
            if isinstance(mixture, Mixture) and mixture not in found.values():
                found[stage.name if stage.name not in found else f"{recipe.name} {stage.name}"] = mixture
    return found


def _mixed(name: str, mixture: Mixture) -> tuple[str, ...]:
    shares = percentages({kind: getattr(mixture, kind) for kind in KINDS})
    slips = "yes" if mixture.slips and not mixture.reading else "no"
    wording = (mixture.written, (1 - mixture.written) * mixture.everyday)
    numbers = (*shares.values(), *(100 * part for part in wording))
    return (name, *(f"{value:.0f}" for value in numbers), _in_order(mixture.checks), slips)


def _sized(name: str, mixture: Mixture) -> tuple[str, ...]:
    return name, _listed(mixture.steps), _listed(mixture.levels), _listed(mixture.bins)


def _in_order(shares: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in percentages(dict(enumerate(shares))).values())


def _listed(shares: Mapping[Key, float]) -> str:
    return ", ".join(f"{key}: {value:.0f}" for key, value in percentages(shares).items())


def percentages(shares: Mapping[Key, float]) -> dict[Key, float]:
    """Of their sum."""
    whole = sum(shares.values())
    return {key: 100 * value / whole for key, value in shares.items()}


def runs(sources: Sources) -> str:
    """What every stage of every kept run came to: tokens, CPU minutes, loss and all skills at its end."""
    if not sources.curves:
        return "No curves yet in `reasoner/curves`."
    skills = list(dict.fromkeys(skill for curve in sources.curves.values() for skill in curve[-1]["skills"]))
    header = ("run (recipe-seed)", "stage", "tokens", "CPU minutes", "loss", *skills)
    return table(header, (row for name, curve in sources.curves.items() for row in _ended(name, curve, skills)))


def _ended(name: str, curve: Sequence[Point], skills: Sequence[str]) -> Iterator[tuple[str, ...]]:
    before = {"tokens": 0, "cpu_seconds": 0}
    for earlier, end in pairwise([before, *ends(curve).values()]):
        tokens = millions(end["tokens"] - earlier["tokens"])
        minutes = f"{(end['cpu_seconds'] - earlier['cpu_seconds']) / 60:.1f}"
        known = (share(end["skills"].get(skill)) for skill in skills)
        yield (f"`{name}`", end["stage"], tokens, minutes, f"{end['loss']:.3f}", *known)


def missed(sources: Sources) -> str:
    """Which kept runs ended before their recipe did, or below a gate, in one sentence each."""
    found = [line for name, curve in sources.curves.items() for line in _missed(name, curve)]
    return "\n".join(found) or "Every kept run went through all of its stages."


def _missed(name: str, curve: Sequence[Point]) -> Iterator[str]:
    recipe = recipes().get(name.rpartition("-")[0])
    if recipe is None:
        return
    found, tokens = ends(curve), _stage_tokens(curve)
    for place, stage in enumerate(recipe.stages):
        later = any(other.name in found for other in recipe.stages[place + 1 :])
        if stage.name not in found:
            yield f"- `{name}` {'had no stage' if later else 'never began its stage'} {stage.name}."
            if later:  # The recipe got the stage after this run.
                continue
            return
        if told := _short(stage, tokens[stage.name], found[stage.name]["skills"], later=later):
            yield f"- `{name}` ended its stage {stage.name} {told}."


def _stage_tokens(curve: Sequence[Point]) -> dict[str, int]:
    """Tokens of every stage that began, by its name."""
    before = {"tokens": 0}
    return {
        end["stage"]: end["tokens"] - earlier["tokens"] for earlier, end in pairwise([before, *ends(curve).values()])
    }


def _short(stage: Stage, tokens: int, skills: Mapping[str, float], *, later: bool) -> str:
    """What kept a stage from going through, or is below its gates; empty if nothing. `later`: a later one began."""
    below = {gate: least for gate, least in stage.gates.items() if skills.get(gate, 0.0) < least}
    # Gates end a stage before its most tokens, and only they do.
    opened = later or (not below and tokens >= stage.least_tokens)
    through = tokens >= stage.most_tokens or (bool(stage.gates) and opened)
    told = [] if through else [f"after {tokens:,} of {stage.most_tokens:,} tokens"]
    if below:
        listed = ", ".join(f"{gate} {share(skills.get(gate))} of {least:g}" for gate, least in below.items())
        told.append(f"with {listed}")
    return " ".join(told)


FIGURES = ("pass@1", "greedy", "maj@8", "maj@32", "pass@32")


def other_seeds(sources: Sources) -> str:
    """Figures of the shipped models and of their rebuilds with other seeds, where questions are the same."""
    if not sources.seeds:
        return "Not measured yet: there is no `reasoner/other-seeds.json`."
    rows = [row for model, found in sources.seeds.items() for row in _compared(sources, model, found)]
    return table(("model", "seed", "questions of", "number", *FIGURES), rows)


def _compared(sources: Sources, model: str, rebuilt: Mapping[str, Sequence[Row]]) -> Iterator[tuple[str, ...]]:
    shipped = sources.reported[model].rows if model in sources.reported else {}
    for kind in (*FAMILIES, "newcomer", "all"):
        others = {seed: row for seed, rows in rebuilt.items() for row in rows if row["bin"] == kind}
        first = shipped.get(kind)
        if first is not None and any(first["questions"] == row["questions"] for row in others.values()):
            yield _seeded(model, "shipped", first)
        yield from (_seeded(model, seed, row) for seed, row in others.items())


def _seeded(model: str, seed: str, row: Mapping[str, object]) -> tuple[str, ...]:
    known = (row.get(figure) for figure in FIGURES)
    shares = (share(value if isinstance(value, float | int) else None) for value in known)
    return (f"`{model}`", seed, str(row["bin"]), str(row["questions"]), *shares)
