"""The `quorate` command."""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import ValidationError

from server.app import create_app
from server.settings import DEMO, Settings, load

TRY = """
Quorate serves {models} on http://{host}:{port}. Try:

  curl http://{host}:{port}/v1/chat/completions -H 'content-type: application/json' -d '{{
    "model": "{model}",
    "messages": [{{"role": "user", "content": "{question}"}}]
  }}'
"""
QUESTION = (
    "Nina has 30 beads. Nina uses up 12 beads. Nina gets 2 packs with 7 beads each. How many beads does Nina have now?"
)
GRACE_SECONDS = 5
GC_THRESHOLDS = (50_000, 20, 20)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status."""
    arguments = parser().parse_args(argv)
    return int(arguments.run(arguments))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="quorate", description="OpenAI-compatible test-time-compute gateway.")
    commands = root.add_subparsers(required=True, metavar="command")
    serve_parser = commands.add_parser("serve", help="serve the gateway (without --config: the demonstration)")
    serve_parser.add_argument("--config", type=Path, help="TOML settings; see docs/operations.md")
    serve_parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve_parser.add_argument("--port", type=int, help="port to listen on (default 8000)")
    serve_parser.add_argument("--backend", help="URL of an OpenAI-compatible server, e.g. http://vllm:8000/v1")
    serve_parser.add_argument("--model", action="append", help="model served by --backend (repeatable)")
    serve_parser.add_argument("--gguf", type=Path, help="serve this GGUF file on the embedded engine")
    serve_parser.set_defaults(run=serve)
    return root


def serve(arguments: argparse.Namespace) -> int:
    """Run the gateway in the foreground until SIGTERM or Ctrl-C."""
    try:
        settings = settings_of(arguments)
    except (ValidationError, ValueError, OSError) as error:
        print(f"quorate: {error}", file=sys.stderr)
        return 2
    announce(settings)
    app = create_app(settings)
    calm_collector()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
    )
    return 0


def calm_collector() -> None:
    """Let the garbage collector look at what requests leave behind, seldom, and never again at what was imported.

    With Python's own thresholds it took 18 % of the CPU of a fan-out (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Settings from the command line: a file, one backend, one GGUF, or the demonstration."""
    listen = {"host": arguments.host, "port": arguments.port}
    if arguments.backend:
        if not arguments.model:
            raise ValueError("--backend needs at least one --model")
        return Settings(**_given(listen), **one_backend({"url": arguments.backend}, arguments.model))
    if arguments.gguf:
        backend = {"kind": "embedded", "path": arguments.gguf, "slots": 16}
        return Settings(**_given(listen), **one_backend(backend, arguments.model or [arguments.gguf.stem]))
    return load(arguments.config or DEMO, **listen)


def one_backend(backend: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Settings that serve these names from one backend."""
    return {
        "backends": [{"name": "default", **backend}],
        "models": [{"name": name, "backend": "default"} for name in names],
    }


def announce(settings: Settings) -> None:
    """Say what is served, with a curl to try."""
    names = [model.name for model in settings.models]
    print(
        TRY.format(models=", ".join(names), host=settings.host, port=settings.port, model=names[0], question=QUESTION),
        flush=True,
    )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


if __name__ == "__main__":
    sys.exit(main())
