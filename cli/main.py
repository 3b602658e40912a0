"""The `quorate` command: finds the subcommand and imports that one alone."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from server.versions import version

COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("server.cli", "serve the gateway; without --config, --backend or --gguf: the demonstration"),
    "replay": ("cli.replay", "replay recorded samples: what stopping rules cost and save, in virtual time"),
    "sim": ("cli.sim", "compare scheduling policies on a simulated cluster, in virtual time"),
    "soak": ("cli.soak", "play a million programs with faults on simulated clusters, and check every invariant"),
    "simulate-backend": ("cli.simulate_backend", "serve an engine model in vLLM's words: load tests without a GPU"),
    "calibrate": ("cli.calibrate", "calibrate certainty on recorded samples: from the vote to a checked probability"),
    "calibrate-engine": ("cli.calibrate_engine", "fit the engine model to a live server: what its steps cost"),
}
"""Name to module and help: the one line to add. The module has `configure(parser)` and `run(arguments) -> int`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status: 0 done, 1 failed, 2 wrongly called."""
    given = sys.argv[1:] if argv is None else argv
    arguments = parser(given).parse_args(given)
    return int(arguments.run(arguments))


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The command line, with the options of the subcommand that `argv` names."""
    root = argparse.ArgumentParser(prog="quorate", description="OpenAI-compatible test-time-compute gateway.")
    root.add_argument("--version", action="version", version=f"quorate {version()}")
    commands = root.add_subparsers(required=True, metavar="command")
    called = next((word for word in argv if not word.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")
        if name == called:
            implementation = import_module(module)
            implementation.configure(command)
            command.set_defaults(run=implementation.run)
    return root
