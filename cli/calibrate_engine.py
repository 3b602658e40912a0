"""`quorate calibrate-engine`: measure a live server, and fit the engine model to it."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import median

from cli.driving import Prompt, Server, ServerError, Words, connected, labels
from cli.replay import FAILED, INTERRUPTED, count, said
from cli.simulate_backend import positive
from sim.engine.calibrating import Calibration, calibrate
from sim.engine.cost import Linear, StepCost
from sim.engine.fitting import NANOS
from sim.engine.measuring import BRIEF, Asked, Run, Sizes, scatter, sizes, typical
from sim.engine.types import EngineParameters

SECONDS, REPEATS, SEATS, BATCHED = 90.0, 3, 256, 2048
LOOK = 64
"""Tokens of the answers of the first look."""
LOOKS = 3
RESTLESS = 0.2
"""Scatter of repeated runs above which the figures deserve no trust."""
SHARES = 64
"""Assumed before anything is known: a sequence more in the batch costs such a part of a step."""
OPTIONS: Mapping[str, float] = {"temperature": 1.0}
"""What sampling costs depends on it; programs of many samples need a temperature."""
Say = Callable[[str], object]


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand. Those that vLLM has too have vLLM's names, and its values are to be given."""
    add = parser.add_argument
    add("url", metavar="URL", help="base URL of an OpenAI-compatible server that is otherwise idle")
    add("--json", type=Path, required=True, metavar="FILE", help="where to write the parameters of the engine")
    add("--model", metavar="NAME", help="default: the first that it serves")
    add("--max-num-seqs", type=count, default=SEATS, metavar="NUMBER", help="its setting (default %(default)s)")
    add("--max-num-batched-tokens", type=count, default=BATCHED, metavar="NUMBER", help="its setting (%(default)s)")
    add("--max-model-len", type=count, metavar="TOKENS", help="its setting (default: what it says)")
    add("--num-gpu-blocks", type=count, metavar="NUMBER", help="blocks of its KV cache (default: what /metrics says)")
    add("--block-size", type=count, metavar="TOKENS", help="of its KV cache (default: what /metrics says)")
    add("--api-key", default="", metavar="KEY", help="where the server asks for one")
    add("--seconds", type=positive, default=SECONDS, help="to measure, about (default %(default)s)")
    add("--repeats", type=count, default=REPEATS, metavar="NUMBER", help="of every run (default %(default)s)")
    add("--timings", type=Path, metavar="FILE", help="write what was measured, request by request, as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Measure, fit, write; returns the exit status."""
    try:
        for path in filter(None, (arguments.json, arguments.timings)):
            if not path.parent.is_dir():
                raise FileNotFoundError(f"there is no folder {path.parent}")
        measured = asyncio.run(_measured(arguments))
        if arguments.timings:
            arguments.timings.write_text(json.dumps([each.record() for each in measured.runs]) + "\n", encoding="utf-8")
        found = measured.fitted()
        print(*report(found, scatter(measured.runs)), sep="\n")
        arguments.json.write_text(json.dumps(found.parameters.record(), indent=1) + "\n", encoding="utf-8")
        print(f"\nparameters: {arguments.json}")
    except (ServerError, ValueError, OSError) as error:
        print(f"quorate calibrate-engine: {said(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


@dataclass(frozen=True, slots=True)
class Given:
    """Settings of a server that it does not tell, and others that it may not: those are None where it is to be asked.

    Seats and tokens of a step (`--max-num-seqs`, `--max-num-batched-tokens`); the longest sequence; blocks of the KV
    cache, and tokens of each.
    """

    seats: int
    batched: int = BATCHED
    longest: int | None = None
    blocks: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the server said of itself, and all runs that it was measured with."""

    known: EngineParameters
    runs: list[Run]

    def fitted(self) -> Calibration:
        """The parameters, from the typical run of each experiment. Raises ValueError."""
        return calibrate(self.known, typical(self.runs))


async def _measured(arguments: argparse.Namespace) -> Measured:
    given = Given(
        seats=arguments.max_num_seqs,
        batched=arguments.max_num_batched_tokens,
        longest=arguments.max_model_len,
        blocks=arguments.num_gpu_blocks,
        size=arguments.block_size,
    )
    async with connected(arguments.url, arguments.model or "", OPTIONS, arguments.api_key) as any_model:
        known = await known_of(any_model, given)
        server = replace(any_model, model=known.name)
        return await measure(server, known, arguments.seconds, arguments.repeats, Random(), _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def known_of(server: Server, given: Given) -> EngineParameters:
    """What is known of a server before it is measured. Its model is the first, if none is named.

    Raises `ServerError`.
    """
    served = await server.models()
    if not served:
        raise ServerError(f"{server.base_url} serves no model.")
    name = server.model or next(iter(served))
    if name not in served:
        raise ServerError(f"The server has no model {name!r}; it has {', '.join(served)}.")
    longest = given.longest or served[name].get("max_model_len")
    if not isinstance(longest, int):
        raise ServerError("The server does not say how long a sequence may be: give --max-model-len.")
    blocks, size, caching = _cache(await server.metrics(), given.blocks, given.size, given.seats * longest)
    return EngineParameters(
        StepCost((Linear(1.0),)),
        kv_blocks=blocks,
        block_size=size,
        max_num_seqs=given.seats,
        max_num_batched_tokens=max(given.batched, given.seats),
        max_model_len=longest,
        prefix_caching=caching,
        name=name,
    )


def _cache(metrics: str, blocks: int | None, size: int | None, most: int) -> tuple[int, int, bool]:
    """Blocks of the KV cache, tokens of each, and whether prompts share them.

    Who does not say has a cache that holds `most` tokens, all sequences at their longest.
    """
    said_so = labels(metrics, "vllm:cache_config_info")
    tokens = size or int(said_so.get("block_size", 16))
    number = said_so.get("num_gpu_blocks", "")
    found = blocks or (int(number) if number.isdecimal() else -(-most // tokens))
    return found, tokens, said_so.get("enable_prefix_caching", "True") == "True"


async def measure(
    server: Server, known: EngineParameters, seconds: float, repeats: int, dice: Random, say: Say
) -> Measured:
    """Take a first look, and then the runs, every one of them so often. Raises `ServerError` and ValueError."""
    words = Words(dice)
    plan = await planned(server, known, seconds / repeats, words, say)
    runs: list[Run] = []
    for number in range(repeats):
        runs += await one_round(server, plan, words)
        say(f"round {number + 1} of {repeats} is over")
    return Measured(known, runs)


async def planned(server: Server, known: EngineParameters, seconds: float, words: Words, say: Say) -> Sizes:
    """Experiments that take about so many seconds, after a first look, in which the words are learnt.

    Raises `ServerError`, if the server has fewer seats than it is known to have too, and ValueError.
    """
    look = await _look(server, known, words)
    plan = sizes(look, seconds)
    say(
        f"{known.name}: {plan.seats} seats, {look.cost.bounds[0].fixed / 1e6:.3g} ms a token alone; "
        f"prompts of {plan.short} to {plan.long} tokens, answers of {plan.answer}"
    )
    await _check_seats(server, words, plan)
    return plan


async def one_round(server: Server, plan: Sizes, words: Words) -> list[Run]:
    """Every experiment once, the brief ones more often. Raises `ServerError`."""
    runs = []
    for experiment in plan.experiments():
        for _ in range(BRIEF if experiment.brief else 1):
            prompts = [words.prompt(asked) for asked in experiment.calls]
            runs.append(Run(experiment.name, tuple(await server.run(prompts))))
    return runs


async def _look(server: Server, known: EngineParameters, words: Words) -> EngineParameters:
    """About what a step costs, and how many tokens the words make. The first answers of a server are slow: unused."""
    few, many = 10, max(20, min(known.max_model_len // 8, 200))
    answer = min(LOOK, known.max_model_len // 4)
    counted = []
    for numbers in (few, many):
        [call] = await server.run([Prompt(words.text(numbers), 1)])
        counted.append((numbers, call.prompt))
    words.learn(*counted)
    steps, prompts = [], []
    for _ in range(LOOKS):
        short, long = Asked(few, answer), Asked(known.max_model_len // 2, 1)
        [alone] = await server.run([words.prompt(short)])
        [read] = await server.run([words.prompt(long)])
        steps.append((alone.ended - alone.first) / (answer - 1))
        prompts.append(max(0.0, read.latency - (alone.first - alone.submitted)) / read.prompt)
    step = max(1.0, median(steps) * NANOS)
    return _like(known, Linear(step, step / SHARES, 0.0, median(prompts) * NANOS))


def _like(known: EngineParameters, step: Linear) -> EngineParameters:
    record = known.record() | {"cost": StepCost((step,)).record()}
    return EngineParameters.read(record)


async def _check_seats(server: Server, words: Words, plan: Sizes) -> None:
    """Raises `ServerError` if the server has fewer seats than it was said to have, and says how many there are."""
    most = await server.busiest([words.prompt(Asked(plan.short, plan.answer)) for _ in range(plan.seats + 1)])
    if 0 < most < plan.seats:
        raise ServerError(f"The server runs {most} sequences at once, not {plan.seats}: give --max-num-seqs {most}.")


def report(found: Calibration, restless: float) -> Sequence[str]:
    """What was fitted, how well it tells each run, and whether to believe it."""
    (cost,) = found.parameters.cost.bounds
    lines = [
        f"{'run':<18}{'calls':>6}{'measured, s':>13}{'model, s':>10}{'error':>8}",
        *(
            f"{miss.name:<18}{miss.calls:>6}{miss.measured:>13.3f}{miss.modelled:>10.3f}{miss.relative:>+8.1%}"
            for miss in found.misses
        ),
        "",
        f"step: {cost.fixed / 1e3:.4g} us, {cost.per_decode / 1e3:.4g} us a sequence, "
        f"{cost.per_kv:.4g} ns a cached token, {cost.per_prefill / 1e3:.4g} us a token of a prompt",
        f"front: {found.parameters.intake / 1e6:.3g} ms a call, one after another, "
        f"and {found.parameters.admission / 1e6:.3g} ms",
        f"error of a latency: {found.error:.1%} (root mean square); scatter of repeated runs: {restless:.1%}",
    ]
    if restless > RESTLESS:
        lines.append("The server, or this machine, was busy with something else: measure again when it is not.")
    return lines
