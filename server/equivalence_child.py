"""The child process that compares formulas: `python -m server.equivalence_child SECONDS`.

Reads one JSON pair of answers a line, writes "1" or "0" for each; "ready" comes first, once sympy is imported and
warm. It ends with its standard input. The gateway kills it when a comparison takes longer than SECONDS; should there be
no gateway any more, a signal that the kernel delivers even inside one long multiplication ends it a little later.
"""

import contextlib
import json
import resource
import signal
import sys

from strategies.equivalence import equivalent

_MEMORY = 1 << 30
"""Bytes of address space: 9^9^9 is refused by the allocator before it hurts the machine."""

_PATIENCE = 1.5
"""Of the gateway's limit: then the gateway has either killed this process, or is gone itself."""


def main() -> None:
    """Serve comparisons until standard input ends."""
    seconds = float(sys.argv[1])
    with contextlib.suppress(ValueError, OSError):  # Not every platform lets a process limit itself.
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    _say(str(equivalent(r"\sqrt{x+1}", r"\sqrt{1+x}") and "ready"))
    for line in sys.stdin.buffer:
        a, b = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE * seconds)
        verdict = equivalent(a, b)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say("1" if verdict else "0")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
