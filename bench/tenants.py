"""Two tenants, one of which floods: what the other notices of it.

    python -m bench.tenants [--engine embedded | --engine vllm | --engine virtual]

The light tenant asks at random times (Poisson) for half of its share of the engine. In turn, block by block and with
the same programs at the same times, it is alone, or beside a tenant that asks for many times its own share. The same
flood is also measured with nobody told apart: everyone without a key, in order of arrival. Latency is the client's;
"wait" is the mean time of a sample until it has a slot, "run" until it ends. `--reserved` keeps so many slots free for
the light tenant wherever tenants are told apart.
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from bench import children, tenants_simulated
from bench.children import DEMO, MODEL, backends, child, gateway, table
from bench.load import Arrival, Reply, Summary, play, poisson, summary
from reasoner.questions import questions
from tests.vllm import server as vllm

BAR = 1.25
"""P90 beside the flood over P90 alone, at most."""
LIGHT = 0.5
"""Part of its fair share that the light tenant asks for."""
TENANTS = ("light", "flood")
ENGINES = ("simulated", "embedded", "vllm", "virtual")
MODES = ("alone", "beside the flood", "beside the flood, nobody told apart")


@dataclass(frozen=True, slots=True)
class Setting:
    """An engine, and what is asked of it. `capacity` is samples a second that it can do when its slots are full;
    `reserved` of them are kept for the light tenant."""

    name: str
    slots: int
    capacity: float
    samples: int
    tokens: int
    model: str = MODEL
    reserved: int = 0

    def body(self, text: str) -> dict[str, Any]:
        """A program of a fixed number of samples, all of them at once; under load it may get fewer."""
        strategy = {"name": "self_consistency", "rule": "fixed", "width": self.samples, "spare": self.samples}
        budget = {"max_samples": self.samples, "strategy": strategy, "max_seconds": 30, "include": ["trace"]}
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": self.tokens,
            "compute_budget": budget,
        }

    @property
    def share(self) -> float:
        """Programs a second that half of the engine can serve."""
        return self.capacity / self.samples / 2


def settings(setting: Setting, engine: str, *, apart: bool) -> str:
    """The gateway's; with tenants, or without."""
    kept = dict.fromkeys(TENANTS, 0) | {"light": setting.reserved}
    named = [{"name": name, "keys": [name], "reserved_slots": kept[name]} for name in TENANTS]
    tenants = [table("[tenants]", each) for each in named] if apart else []
    scheduling = table("scheduling", {} if apart else {"order": "first_come", "shed": False})
    return "\n".join([scheduling, *tenants, engine])


def block(setting: Setting, seconds: float, seed: int, *, flood: float) -> list[Arrival]:
    """Programs of one block: the light tenant's, which are the same in every mode, and those of the flood."""
    asked = list(questions("held-out", 25, bins=(1, 2, 3, 4)).values())
    arrivals = []
    for tenant, times in (("light", LIGHT), ("flood", flood)):
        dice = Random(f"{tenant} {seed}")
        for at in poisson(times * setting.share, seconds, dice) if times else ():
            arrivals.append(Arrival(at, setting.body(dice.choice(asked).question), tenant, tenant))
    return sorted(arrivals, key=lambda arrival: arrival.at)


async def measure(setting: Setting, engine: str, options: argparse.Namespace) -> dict[str, list[Reply]]:
    """Every mode in turn, as many times as there are blocks; the first seconds of a block are warm-up."""
    replies: dict[str, list[Reply]] = {mode: [] for mode in MODES}
    for seed in range(options.blocks):
        for mode in MODES:
            arrivals = block(setting, options.seconds, seed, flood=options.flood if mode != MODES[0] else 0.0)
            async with gateway(settings(setting, engine, apart=mode != MODES[2])) as running:
                came = await play(running.root, arrivals)
            replies[mode] += [reply for reply in came if reply.at > options.seconds / 4]
            print(f"block {seed + 1}, {mode}: {len(came)} programs", flush=True)
    return replies


def sent_by(tenant: str) -> Callable[[Reply], bool]:
    """Whether a reply is one of this tenant's."""
    return lambda reply: reply.name == tenant


def rows(replies: Mapping[str, Sequence[Reply]]) -> Iterator[tuple[str, str, Summary]]:
    """Mode, tenant, figures."""
    for mode, came in replies.items():
        for tenant in TENANTS:
            found = summary(came, sent_by(tenant))
            if found.programs:
                yield mode, tenant, found


def report(setting: Setting, replies: Mapping[str, Sequence[Reply]]) -> str:
    """A table in Markdown, and the ratio that counts."""
    lines = [
        f"{setting.name}:",
        "",
        "| | tenant | programs | answered | P50, s | P90, s | P99, s | samples | wait, s | run, s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    found = {(mode, tenant): each for mode, tenant, each in rows(replies)}
    for (mode, tenant), each in found.items():
        times = f"{each.p50:.2f} | {each.p90:.2f} | {each.p99:.2f}"
        mean = f"{each.samples:.1f} | {each.waited:.2f} | {each.ran:.2f}"
        lines.append(f"| {mode} | {tenant} | {each.programs} | {each.answered} | {times} | {mean} |")
    alone, beside = found[MODES[0], "light"], found[MODES[1], "light"]
    ratio = beside.p90 / alone.p90
    verdict = "within" if ratio <= BAR else "over"
    kept = f", with {setting.reserved} of {setting.slots} slots reserved" if setting.reserved else ""
    said = f"P90 of the light tenant{kept}: {ratio:.2f} times that of being alone, {verdict} {BAR}"
    return "\n".join([*lines, "", said])


def embedded(options: argparse.Namespace, _: str) -> tuple[Setting, str]:
    """The demonstration's engine, in a process of the gateway's."""
    slots = options.slots or 16
    setting = Setting(
        "reasoner-small on the embedded engine", slots, options.capacity or 10.0, 4, 600, DEMO.parent.name
    )
    return setting, children.embedded(slots=slots, context=1024)


def simulated(options: argparse.Namespace, root: str) -> tuple[Setting, str]:
    """`quorate simulate-backend`, which listens there."""
    slots = options.slots or 64
    setting = Setting("simulated H100 with an 8B model", slots, options.capacity or 56.0, 8, 1000)
    return setting, backends([root], slots=slots, stream_interval=32, continuous_usage=True)


def real(options: argparse.Namespace, root: str) -> tuple[Setting, str]:
    """Real vLLM, which listens there."""
    slots = options.slots or 16
    setting = Setting("reasoner-small on vLLM", slots, options.capacity or 8.0, 4, 600, vllm.MODEL.name)
    flags = {"priority": True, "stream_interval": 8, "continuous_usage": True}
    return setting, backends([root], model=setting.model, slots=slots, **flags)


async def run(options: argparse.Namespace, root: str) -> None:
    """On the engine that was chosen."""
    async with AsyncExitStack() as stack:
        if options.engine == "simulated":
            flags = [f"--max-num-seqs={options.slots or 64}", f"--speed={options.speed}"]
            answers = "accuracy=0.6,tokens=300,sigma=0.5"
            process = await stack.enter_async_context(child("simulate-backend", *flags, f"--answers={answers}"))
            root = process.root
        setting, engine = {"simulated": simulated, "embedded": embedded, "vllm": real}[options.engine](options, root)
        setting = replace(setting, reserved=options.reserved)
        replies = await measure(setting, engine, options)
    print(report(setting, replies))
    found = [{"mode": mode, "tenant": tenant, **asdict(each)} for mode, tenant, each in rows(replies)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"setting": asdict(setting), "rows": found}, indent=1), encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.tenants", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="(default %(default)s)")
    parser.add_argument("--slots", type=int, help="of the engine (default: 64 simulated, 16 others)")
    parser.add_argument("--speed", type=float, default=2.0, help="of the simulated engine (default %(default)s)")
    parser.add_argument("--capacity", type=float, help="samples a second that the engine can do (default: 56, 10, 8)")
    parser.add_argument("--reserved", type=int, default=0, help="slots kept for the light tenant (default %(default)s)")
    parser.add_argument("--flood", type=float, default=20.0, help="times its share that it asks (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of one block (default %(default)s)")
    parser.add_argument("--blocks", type=int, default=2, help="of each mode (default %(default)s)")
    parser.add_argument("--out", type=Path, help="(default: bench/results/tenants-ENGINE.json)")
    options = parser.parse_args()
    options.out = options.out or Path(f"bench/results/tenants-{options.engine}.json")
    if options.engine == "virtual":
        tenants_simulated.run(options.out, options.reserved)
        return
    with ExitStack() as stack:
        root = ""
        if options.engine == "vllm":
            root = stack.enter_context(vllm.serving(vllm.MODEL, served_model_name=vllm.MODEL.name)).url
        asyncio.run(run(options, root))


if __name__ == "__main__":
    main()
