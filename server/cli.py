"""`quorate serve`: the gateway in the foreground."""

import argparse
import ipaddress
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from server import logs
from server.app import create_app
from server.serving import Server, StartError, bind
from server.settings import DEMO, Settings, SettingsError, load, make

TRY = """
Quorate serves {models} on {address}. Try:

  curl {address}/v1/chat/completions -H 'content-type: application/json' -d '{{
    "model": "{model}",
    "messages": [{{"role": "user", "content": "{question}"}}]
  }}'
"""
QUESTION = "Tom picked 3 baskets of 6 apples. Four were rotten. How many good apples did he have?"
CANNOT_START, WRONG_SETTINGS = 1, 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    models = parser.add_mutually_exclusive_group()
    models.add_argument(
        "--config",
        type=Path,
        metavar="TOML",
        help="settings file; backends and models come from it (docs/operations.md)",
    )
    models.add_argument("--backend", metavar="URL", help="an OpenAI-compatible server, e.g. http://vllm:8000/v1")
    models.add_argument("--gguf", type=Path, metavar="FILE", help="serve this GGUF file on the embedded engine")
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="model that --backend serves, or name for the one of --gguf (repeatable)",
    )
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=port, metavar="0-65535", help="port to listen on (default 8000; 0: a free one)")
    parser.add_argument("--log-level", choices=logs.LEVELS, default="info", help="what is logged (default %(default)s)")


def port(text: str) -> int:
    """A TCP port from the command line."""
    if not 0 <= int(text) <= 65535:
        raise ValueError
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Run the gateway in the foreground until SIGTERM or Ctrl-C; returns the exit status.

    0 after a stop that was asked for, 1 if the gateway cannot start, 2 if the settings are wrong.
    """
    try:
        settings = settings_of(arguments)
        sockets = bind(settings.host, settings.port)
        logs.configure(arguments.log_level)
        bound = sockets[0].getsockname()[1]
        app = create_app(settings)
        Server(app, settings.grace_seconds, lambda: announce(settings, bound)).run(sockets)
    except (SettingsError, StartError) as error:
        print(f"quorate: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG_SETTINGS if isinstance(error, SettingsError) else CANNOT_START
    return 0


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Settings from the command line: a file, one backend, one GGUF, or the demonstration. Raises `SettingsError`."""
    listen = {"host": arguments.host, "port": arguments.port}
    if arguments.backend is not None:
        if not arguments.model:
            raise SettingsError("--backend needs at least one --model.")
        return make({**listen, **one_backend({"url": arguments.backend}, arguments.model)})
    if arguments.gguf is not None:
        backend = {"kind": "embedded", "path": arguments.gguf, "slots": 16}
        return make({**listen, **one_backend(backend, arguments.model or [arguments.gguf.stem])})
    if arguments.model:
        raise SettingsError("--model needs --backend or --gguf; the models of --config are named in its file.")
    return load(arguments.config or DEMO, **listen)


def one_backend(backend: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Settings that serve these names from one backend."""
    return {
        "backends": [{"name": "default", **backend}],
        "models": [{"name": name, "backend": "default"} for name in names],
    }


def announce(settings: Settings, port: int) -> None:
    """Say what is served, with a curl to try."""
    names = [model.name for model in settings.models]
    address = f"http://{reachable(settings.host)}:{port}"
    print(TRY.format(models=", ".join(names), address=address, model=names[0], question=QUESTION), flush=True)


def reachable(host: str) -> str:
    """The host as it stands in a URL for this machine; an address that means all of them is none to call."""
    try:
        address = ipaddress.ip_address(host or "0.0.0.0")
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else str(address)
