"""`quorate simulate-backend`: a vLLM server without a GPU. Answers are recorded or drawn, times are modelled."""

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from cli.simulated.answers import Answers, Drawn, Family, Recorded
from cli.simulated.app import Routes
from cli.simulated.asking import Rules
from cli.simulated.service import Service
from sim.engine.hardware import HARDWARE, named
from sim.engine.types import EngineParameters
from sim.traces import TraceError

FAILED = 1
IDLE_SECONDS = 5.0
"""After which vLLM closes an idle connection."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand. Those that vLLM has too have vLLM's names."""
    add = parser.add_argument
    add("--model-name", default="simulated", metavar="NAME", help="what the model is called (default %(default)s)")
    add("--hardware", default="h100-8b", metavar="NAME", help=f"{', '.join(HARDWARE)}, or a JSON file of parameters")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=8000, help="0 for any free one (default %(default)s)")
    add("--speed", type=positive, default=1.0, help="10 is ten times as fast as the hardware (default %(default)s)")
    answers = parser.add_mutually_exclusive_group()
    answers.add_argument("--trace", type=Path, metavar="FILE", help="recorded samples, .jsonl or .jsonl.gz")
    answers.add_argument("--answers", default="", metavar="SPEC", help="drawn ones: accuracy=0.6,tokens=300,...")
    add("--seed", type=int, default=0, help="chooses the samples (default %(default)s)")
    add("--max-num-seqs", type=int, metavar="NUMBER", help="sequences that run at once (default: as on the hardware)")
    add("--max-num-batched-tokens", type=int, metavar="NUMBER", help="tokens of one step (default: as on the hardware)")
    add("--max-model-len", type=int, metavar="TOKENS", help="of one sequence (default: as on the hardware)")
    add("--num-gpu-blocks-override", type=int, metavar="NUMBER", help="blocks of the KV cache")
    add("--scheduling-policy", choices=("fcfs", "priority"), default="fcfs", help="default: %(default)s")
    add("--no-enable-prefix-caching", action="store_true", help="every prompt is computed")
    add("--enable-prompt-tokens-details", action="store_true", help="usage says how much of a prompt was cached")
    add("--stream-interval", type=int, default=1, metavar="TOKENS", help="of one streamed part (default %(default)s)")


def positive(text: str) -> float:
    """A number above zero."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    try:
        parameters, answers = engine(arguments), model(arguments)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(arguments, parameters, answers))
    except (ValueError, TraceError, OSError) as error:
        print(f"quorate simulate-backend: {error}", file=sys.stderr)
        return FAILED
    return 0


def engine(arguments: argparse.Namespace) -> EngineParameters:
    """The parameters of the engine. Raises ValueError and OSError."""
    path = Path(arguments.hardware)
    if arguments.hardware not in HARDWARE and path.suffix == ".json":
        parameters = EngineParameters.read(json.loads(path.read_text()))
    else:
        parameters = named(arguments.hardware)
    given: dict[str, Any] = {
        "max_num_seqs": arguments.max_num_seqs,
        "max_num_batched_tokens": arguments.max_num_batched_tokens,
        "max_model_len": arguments.max_model_len,
        "kv_blocks": arguments.num_gpu_blocks_override,
    }
    return replace(
        parameters,
        priority_scheduling=arguments.scheduling_policy == "priority",
        prefix_caching=parameters.prefix_caching and not arguments.no_enable_prefix_caching,
        **{name: value for name, value in given.items() if value is not None},
    )


def model(arguments: argparse.Namespace) -> Answers:
    """Where the answers come from. Raises ValueError, `TraceError` and OSError."""
    if arguments.trace is not None:
        return Recorded.read(arguments.trace, arguments.seed)
    return Drawn(Family.parse(arguments.answers, arguments.seed))


async def _serve(arguments: argparse.Namespace, parameters: EngineParameters, answers: Answers) -> None:
    loop = asyncio.get_running_loop()
    service = Service(
        parameters, answers, loop, speed=arguments.speed, tell_cached=arguments.enable_prompt_tokens_details
    )
    rules = Rules(arguments.model_name, parameters.max_model_len, arguments.stream_interval)
    runner = web.AppRunner(
        Routes(service, rules).app(),
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, arguments.host, arguments.port, backlog=2048).start()
        host, port = runner.addresses[0][:2]
        print(f"Simulated {parameters.name or 'server'} at http://{host}:{port}/v1, model {rules.model}", flush=True)
        over = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, over.set)
        await over.wait()
    finally:
        service.close()
        await runner.cleanup()
