"""The embedded engine's own process: llama.cpp with its HTTP server on a unix socket, for one parent.

Run by file, not imported: only the standard library and `xllamacpp` are needed. Two JSON lines can appear on
standard output: `{"event": "ready"}` once the model answers, or
`{"event": "failed", "reason": sentence}` before a non-zero exit. The process leaves when its standard input
closes or its parent changes, so that a parent killed without warning leaves nothing behind.
"""

import argparse
import contextlib
import json
import os
import select
import sys
from pathlib import Path
from typing import Any

_GUARD_SECONDS = 1.0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True, help="in a directory of its own")
    parser.add_argument("--parent", type=int, required=True, help="process id: the child leaves with it")
    parser.add_argument("--alias", required=True, help="the name in the answers' `model` field")
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens per slot")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(argv)


def _parameters(engine: Any, options: argparse.Namespace) -> Any:
    """llama.cpp's settings; where one differs from its default, the reason stands beside it."""
    params = engine.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = {options.alias}
    params.hostnames = [str(options.socket)]  # a name ending in .sock is a unix socket; no TCP port is opened
    params.n_parallel = options.slots
    params.n_ctx = options.slots * options.context  # the total; a slot gets its share
    params.kv_unified = False  # a shared cache makes every token attend over every slot's cells
    params.cache_ram_mib = 0  # each slot keeps its own prefix; a second cache for all costs memory and gained nothing
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.prefill_assistant = False  # a trailing assistant turn is continued only when the request says so
    params.endpoint_metrics = True
    params.fit_params = False  # sizes are given: measuring the machine first only delays the start
    params.ui, params.offline, params.verbosity = False, True, 1
    return params


def _import_engine() -> Any:
    try:
        import xllamacpp  # noqa: PLC0415 - its absence must become a sentence, not a traceback
    except ModuleNotFoundError as error:
        if error.name != "xllamacpp":
            raise
        raise SystemExit("The embedded engine is not installed: pip install 'quorate[embedded]'.") from error
    except ImportError as error:
        hint = " On Debian and Ubuntu: apt-get install libgomp1." if "libgomp" in str(error) else ""
        raise SystemExit(f"The embedded engine cannot be loaded: {error}.{hint}") from error
    return xllamacpp


def _serve(options: argparse.Namespace) -> Any:
    """Load the model and open the socket. Returns the server, which stops when nobody holds it."""
    # Threads that wait by spinning took two thirds of the speed on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    engine = _import_engine()
    options.socket.unlink(missing_ok=True)  # a left-over file makes the bind fail
    os.umask(0o077)  # the socket file gets the umask: the user alone may connect
    try:
        return engine.Server(_parameters(engine, options))
    except RuntimeError as error:
        raise SystemExit(f"llama.cpp could not load {options.model}: {error}") from error


def _outlive_nobody(parent: int) -> None:
    """Block until standard input closes or the parent is another one.

    The second test matters where a process forked from the parent still holds the pipe's other end.
    """
    while os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], _GUARD_SECONDS)
        if readable and not os.read(0, 4096):
            return


def main(argv: list[str]) -> None:
    """Serve until the parent leaves. Does not return: an engine with work in flight cannot be torn down in order."""
    report = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints goes to standard error, so that `report` stays clean
    options = _arguments(argv)
    try:
        server = _serve(options)
    except SystemExit as error:
        os.write(report, json.dumps({"event": "failed", "reason": str(error)}).encode() + b"\n")
        sys.exit(1)  # in order: llama.cpp's log is written by a thread of its own, and holds the cause
    os.write(report, json.dumps({"event": "ready"}).encode() + b"\n")
    _outlive_nobody(options.parent)
    with contextlib.suppress(OSError):
        options.socket.unlink(missing_ok=True)
        options.socket.parent.rmdir()
    os._exit(0 if server else 1)  # naming the server here keeps it alive until now


if __name__ == "__main__":
    main(sys.argv[1:])
