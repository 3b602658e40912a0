"""`python -m bench.greedy_llama MODEL.gguf STREAMS FLASH`: llama.cpp on a private socket, until standard input ends.

A process of its own, so that its processor time is its own; prints the socket's path once the model is loaded. FLASH
is on or off.
"""

import sys
from pathlib import Path

from reasoner.engines import LlamaCpp


def main() -> None:
    """Serve until nobody listens any more."""
    path, streams, flash = sys.argv[1:]
    with LlamaCpp(Path(path), parallel=int(streams), flash=flash == "on") as engine:
        print(engine.socket, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
