"""Whether a busy engine still says anything. A frozen vLLM keeps answering its health check: only its streams tell.

Bytes are counted per endpoint, not per stream: one slow prompt is no silence while another sample is being written.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.types import NANOS
from server.backends.base import Pulse

LONGEST_LOOK = 2 * NANOS
"""Nanoseconds counted for one look: after a longer one it was we who did not listen."""


@dataclass(slots=True)
class _Ear:
    """What was heard of one endpoint; `quiet` nanoseconds ago, as far as it was busy since."""

    beats: int
    looked: int
    quiet: int = 0
    silent: bool = False


class Silence:
    """The verdicts, one look after the other.

    A verdict ends with the next byte. It also lapses when nothing has waited there for as long as it took: what is sent
    next is the trial.

    Args:
        limits: Seconds without a byte that make an endpoint silent, by name; 0: never.
    """

    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits = {name: round(seconds * NANOS) for name, seconds in limits.items() if seconds}
        self._ears: dict[str, _Ear] = {}

    def look(self, backend: str, pulse: Pulse, now: int) -> bool:
        """Whether it is silent at time `now` (nanoseconds)."""
        limit = self._limits.get(backend)
        if limit is None:
            return False
        ear = self._ears.setdefault(backend, _Ear(pulse.beats, now))
        passed = min(LONGEST_LOOK, now - ear.looked)
        ear.looked = now
        if pulse.beats != ear.beats:
            ear.beats, ear.quiet, ear.silent = pulse.beats, 0, False
        elif pulse.waiting:
            ear.quiet = min(limit, ear.quiet + passed)
            ear.silent |= ear.quiet >= limit
        else:
            ear.quiet = max(0, ear.quiet - passed) if ear.silent else 0
            ear.silent &= ear.quiet > 0
        return ear.silent

    def silent(self, backend: str) -> bool:
        """What the last look showed."""
        ear = self._ears.get(backend)
        return ear is not None and ear.silent
