"""`python -m bench.agreement [FOLDER ...]`: one model in three engines: is the text the same, and what does it cost?

A folder holds a demonstration model as transformers and vLLM read it. A hundred questions of all families, that nothing
was trained on, go to transformers (32-bit floats, one at a time: the reference), to vLLM and to llama.cpp, alone and
eight at a time. Answers are compared token by token. Engines add up in different orders, and llama.cpp rounds to 16
bits on the way, most of all in its flash attention, so that two tokens of nearly the same likelihood may change places:
where answers part, the margins by which either engine prefers its own token over the other's tell such a tie from an
error. The GGUF files are made of the folder, so that all engines run the same weights; q8_0 rounds them to 8 bits,
which is another model. Cost is processor time on one core, of the whole server, prompt included, by token generated.

Needs the environments of tests/vllm/install.sh and reasoner/training/install.sh.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from itertools import islice, takewhile
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

from bench.greedy import Block, Engine, Said, converted, llama, transformers, vllm
from reasoner import sets

HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "reasoner" / "weights"
NEWCOMER = HERE.parent / "reasoner" / "newcomer-development.jsonl"
QUESTIONS, EACH = 100, 4
BLOCKS = 5
"""Parts in which the questions are put, each with some of every family: a figure is the median of theirs."""
STREAMS = (1, 8)
SPARED = 2
"""One question in so many is timed alone: all of them would take a server minutes more, and say the same."""
TIE = 0.05
"""Nats: two tokens whose log-probabilities are closer than this may change places by rounding."""
ROUNDED = "llama.cpp q8_0"
"""Has other weights: where it parts from the reference proves nothing."""
REFERENCE = "transformers"
HIDDEN = ("<|im_start|>", "<|endoftext|>")
"""Tokens that llama.cpp never writes out, and the other engines do: the smallest model now and then makes one."""
LLAMA: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {
        "llama.cpp f16": ("f16", True),
        "llama.cpp f16, --flash-attn off": ("f16", False),
        "llama.cpp q8_0": ("q8_0", True),
    }
)
"""Form of the weights, and whether with flash attention."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an answer parts from the reference's: the question, the place, either one's token and its margin.

    `margins`: nats by which transformers, and the engine, prefer their own token over the other one's. `tie`: each
    one's second choice is the other's first, and neither margin is above `TIE`.
    """

    question: str
    position: int
    tokens: tuple[str, str]
    margins: tuple[float, float]
    tie: bool


@dataclass(frozen=True, slots=True)
class Agreement:
    """The answers of one engine, so many at a time, beside those of transformers.

    `same`: answers with the same tokens and text; `prompts`: prompts with the same tokens; `drift`: median and largest
    difference, in nats, between the two log-probabilities of a token that both chose, before answers part.
    """

    model: str
    weights: str
    engine: str
    streams: int
    questions: int
    tokens: int
    prompts: int
    same: int
    drift: tuple[float, float]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens of a processor second on one core: the median of the blocks, and every block's.

    `others`: processors that other work kept busy meanwhile, which slows a core down even in its own time.
    """

    model: str
    weights: str
    engine: str
    streams: int
    tokens: int
    tokens_per_cpu_second: float
    blocks: tuple[float, ...]
    others: float


@dataclass(frozen=True, slots=True)
class Found:
    """All that was measured."""

    agreements: tuple[Agreement, ...] = ()
    speeds: tuple[Speed, ...] = ()

    def __add__(self, other: "Found") -> "Found":
        return Found(self.agreements + other.agreements, self.speeds + other.speeds)

    def of(self, models: AbstractSet[str]) -> "Found":
        """What was measured of these models."""
        agreements = (row for row in self.agreements if row.model in models)
        return Found(tuple(agreements), tuple(row for row in self.speeds if row.model in models))


def questions() -> dict[str, str]:
    """A hundred held-out questions by id: four of every bin, and the first of the newcomer's other ones."""
    drawn = sets.selected("held-out", dict.fromkeys(sets.bins_of(("ledger", "story", "ordering")), EACH))
    chosen = {id_: question.question for id_, question in drawn.items()}
    with NEWCOMER.open(encoding="utf-8") as lines:
        newcomer = islice(map(json.loads, lines), QUESTIONS - len(chosen))
        return chosen | {line["id"]: line["question"] for line in newcomer}


def parted(reference: Said, other: Said) -> int | None:
    """The first place where the tokens differ; None if they do not."""
    pairs = zip(reference.choices, other.choices, strict=False)
    place = sum(1 for _ in takewhile(lambda pair: pair[0].token == pair[1].token, pairs))
    return None if place == len(reference.choices) == len(other.choices) else place


def _shown(text: str) -> str:
    for name in HIDDEN:
        text = text.replace(name, "")
    return text


def difference(question: str, reference: Said, other: Said, names: Sequence[str]) -> Difference | None:
    """Where and why the answers part; None if they do not. `names`: the tokens as text, by number.

    ValueError where texts differ though tokens do not, or one answer is the other's beginning: no engine may do so.
    """
    place = parted(reference, other)
    if place is None:
        if _shown(reference.text) != _shown(other.text):
            raise ValueError(f"{question}: the same tokens, but {reference.text!r} and {other.text!r}")
        return None
    if place >= min(len(reference.choices), len(other.choices)):
        raise ValueError(f"{question}: one answer ends at token {place}, without a token that ends it")
    here, there = reference.choices[place], other.choices[place]
    margins = here.logprob - here.other_logprob, there.logprob - there.other_logprob
    mutual = here.other == there.token and there.other == here.token
    tokens = names[here.token], names[there.token]
    return Difference(question, place, tokens, margins, mutual and max(margins) <= TIE)


def drift(pairs: Iterable[tuple[Said, Said]]) -> tuple[float, float]:
    """Median and largest difference of the log-probabilities of tokens that both chose with the same before them."""
    apart = [
        abs(here.logprob - there.logprob)
        for reference, other in pairs
        for here, there in takewhile(
            lambda both: both[0].token == both[1].token, zip(reference.choices, other.choices, strict=False)
        )
    ]
    return (median(apart), max(apart)) if apart else (math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all engines of one model are asked, and what transformers answered (`reference`, in the same order)."""

    folder: Path
    weights: str
    asked: dict[str, str]
    names: Sequence[str]
    reference: Sequence[Said]

    def agreement(self, name: str, streams: int, engine: Engine) -> Agreement:
        """Answers with all their choices, beside the reference."""
        answered = engine.run(list(self.asked.values()), streams, explained=True)
        pairs = list(zip(self.reference, answered.said, strict=True))
        apart = [difference(id_, *pair, self.names) for id_, pair in zip(self.asked, pairs, strict=True)]
        found = tuple(each for each in apart if each is not None)
        prompts = sum(reference.prompt == other.prompt for reference, other in pairs)
        return Agreement(
            self.folder.name,
            self.weights,
            name,
            streams,
            len(pairs),
            answered.tokens,
            prompts,
            len(pairs) - len(found),
            drift(pairs),
            found,
        )

    def speed(self, name: str, streams: int, blocks: Sequence[Block]) -> Speed:
        """The figure of some blocks."""
        rates = tuple(block.tokens / block.cpu for block in blocks)
        tokens = sum(block.tokens for block in blocks)
        others = median(block.others for block in blocks)
        return Speed(self.folder.name, self.weights, name, streams, tokens, median(rates), rates, others)

    def of(self, name: str, engine: Engine) -> Found:
        """Agreement and speed of an engine, alone and with all streams."""
        texts = list(self.asked.values())
        engine.run(texts[:2], 1, explained=True)  # what is made on first use is no part of the time
        found = Found(tuple(self.agreement(name, streams, engine) for streams in STREAMS))
        for streams in STREAMS:
            step = BLOCKS * (SPARED if streams == 1 else 1)
            blocks = [engine.run(texts[k::step], streams) for k in range(BLOCKS)]
            found += Found(speeds=(self.speed(name, streams, blocks),))
        print(*summary(found), sep="\n", flush=True)
        return found


def measured(folder: Path, options: argparse.Namespace) -> Found:
    """Every engine with the model of one folder."""
    asked = dict(list(questions().items())[:: BLOCKS if options.short else 1])
    blocks = transformers(folder, list(asked.values()), BLOCKS, options.core)
    order = [blocks[place % BLOCKS].said[place // BLOCKS] for place in range(len(asked))]
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    bench = Bench(folder, weights, asked, names(folder / "tokenizer.json"), order)
    found = Found(speeds=(bench.speed(REFERENCE, 1, blocks),))
    print(*summary(found), sep="\n", flush=True)
    for name, (form, flash) in LLAMA.items():
        with converted(folder, form) as path, llama(path, max(STREAMS), options.core, flash=flash) as engine:
            found += bench.of(name, engine)
    if options.vllm:
        with vllm(folder, options.flags, options.core) as engine:
            found += bench.of("vLLM", engine)
    return found


def names(path: Path) -> list[str]:
    """The tokens of a tokenizer.json as text, by number."""
    content = json.loads(path.read_text(encoding="utf-8"))
    entries = content["model"]["vocab"] | {token["content"]: token["id"] for token in content["added_tokens"]}
    readable = {number: name.replace("Ġ", " ").replace("Ċ", "\n") for name, number in entries.items()}
    return [readable[number] for number in range(len(readable))]


def summary(found: Found) -> Iterator[str]:
    """A line for every row, and one for every difference."""
    for row in found.agreements:
        yield (
            f"{row.model}, {row.engine}, {row.streams} at a time: {row.same} of {row.questions} the same, "
            f"{row.prompts} prompts; log-probabilities apart by {row.drift[0]:.1e}, at most {row.drift[1]:.1e}"
        )
        for each in row.differences:
            here, there = each.tokens
            margins = "{:.4f} and {:.4f}".format(*each.margins)
            kind = "" if row.engine == ROUNDED else ": a tie" if each.tie else ": NO TIE"
            yield f"  {each.question}, token {each.position}: {here!r} against {there!r}, margins {margins}{kind}"
    for speed in found.speeds:
        spread = "-".join(f"{each(speed.blocks):,.0f}" for each in (min, max))
        yield (
            f"{speed.model}, {speed.engine}, {speed.streams} at a time: {speed.tokens_per_cpu_second:,.0f} tokens "
            f"a processor second ({spread}); others {speed.others:.2f}"
        )


def tables(found: Found) -> str:
    """Markdown: how many answers are the same, and what a token costs."""
    return "\n\n".join("\n".join(each) for each in (agreed(found.agreements), costs(found.speeds)))


def agreed(rows: Sequence[Agreement]) -> Iterator[str]:
    """A line for every model and engine."""
    yield "| the same text as transformers | engine | alone | eight at a time | largest margin where they part | ties |"
    yield "|---|---|---|---|---|---|"
    grouped: dict[tuple[str, str], list[Agreement]] = {}
    for row in rows:
        grouped.setdefault((row.model, row.engine), []).append(row)
    for (model, engine), each in grouped.items():
        differences = [one for row in each for one in row.differences]
        most = f"{max(max(one.margins) for one in differences):.3f}" if differences else ""
        ties = (
            f"{sum(one.tie for one in differences)} of {len(differences)}" if differences and engine != ROUNDED else ""
        )
        counts = " | ".join(f"{row.same} of {row.questions}" for row in each)
        yield f"| {model} | {engine} | {counts} | {most} | {ties} |"


def costs(rows: Sequence[Speed]) -> Iterator[str]:
    """A line for every model: tokens a processor second, and what a token costs beside one of the small model."""
    columns = list(dict.fromkeys((row.engine, row.streams) for row in rows))
    heads = (f"{engine}{f', {streams} at a time' if streams > 1 else ''}" for engine, streams in columns)
    yield f"| tokens a processor second (cost of a token) | {' | '.join(heads)} |"
    yield "|---" * (1 + len(columns)) + "|"
    rates = {(row.model, row.engine, row.streams): row.tokens_per_cpu_second for row in rows}
    models = list(dict.fromkeys(row.model for row in rows))
    unit = next((model for model in models if "small" in model), models[0] if models else "")
    for model in models:
        cells = []
        for column in columns:
            rate, base = rates.get((model, *column)), rates.get((unit, *column))
            cost = f" ({base / rate:.2f})" if rate and base else ""
            cells.append(f"{rate:,.0f}{cost}" if rate else "")
        yield f"| {model} | {' | '.join(cells)} |"


def read(path: Path) -> Found:
    """What was kept."""
    if not path.exists():
        return Found()
    content: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    agreements = (
        Agreement(**row | {"drift": tuple(row["drift"]), "differences": tuple(map(_difference, row["differences"]))})
        for row in content["agreements"]
    )
    speeds = (Speed(**row | {"blocks": tuple(row["blocks"])}) for row in content["speeds"])
    return Found(tuple(agreements), tuple(speeds))


def _difference(row: dict[str, Any]) -> Difference:
    return Difference(**row | {name: tuple(row[name]) for name in ("tokens", "margins")})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=__doc__)
    add = parser.add_argument
    add("folders", nargs="*", type=Path, metavar="FOLDER", help="models (default: every folder of reasoner/weights)")
    add("--short", action="store_true", help="every fifth question")
    add("--no-vllm", dest="vllm", action="store_false", help="leave it out, which takes the longest to start")
    add("--flags", nargs="*", default=[], help="more options of vLLM")
    add("--core", type=int, default=0, help="the one that engines run on (default %(default)s)")
    add("--out", type=Path, default=HERE.parent / "reasoner" / "agreement.json")
    options = parser.parse_args()
    shipped = sorted(path.parent for path in WEIGHTS.glob("*/config.json"))
    folders = options.folders or shipped
    found = read(options.out).of({folder.name for folder in shipped} - {folder.name for folder in folders})
    for folder in folders:
        found += measured(folder.resolve(), options)
        options.out.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    print(f"\n{tables(found)}\n")


if __name__ == "__main__":
    main()
