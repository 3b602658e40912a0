"""Measuring on a machine that others use too: notice what they take, wait for them, and measure again."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.driving import Prompt, Server
from sim.engine.measuring import Served

LIMIT = 0.15
"""Processors that others may keep busy while a run counts as undisturbed."""
TRIES = 4
"""How often a run is made until it is undisturbed."""
PATIENCE = 10.0
"""Seconds to wait for others before one run."""
GLANCE = 1.0
"""Seconds of looking whether they are at work."""
BLINK = 0.2
"""Seconds below which the kernel's ticks do not tell who was at work."""
SYSTEM = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Moment:
    """Seconds of processor time until now: of everyone, and of the processes that belong to the measurement."""

    at: float
    everyone: float
    own: float

    def others_since(self, before: "Moment") -> float:
        """Processors that others kept busy, on average."""
        taken = (self.everyone - before.everyone) - (self.own - before.own)
        return max(0.0, taken / (self.at - before.at))


def moment(pids: Sequence[int]) -> Moment:
    """Of this process and those of `pids`. Waiting, for input too, is not work; what the host steals is."""
    tick = float(os.sysconf("SC_CLK_TCK"))
    user, nice, system, _, _, irq, softirq, steal = map(int, SYSTEM.read_text(encoding="ascii").split()[1:9])
    own = sum(_ticks(pid) for pid in (os.getpid(), *pids))
    return Moment(time.monotonic(), (user + nice + system + irq + softirq + steal) / tick, own / tick)


def _ticks(pid: int) -> int:
    """User and system time of a process, all threads; the name may hold blanks and ends with the last parenthesis."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@dataclass(frozen=True, slots=True)
class Watched(Server):
    """A server whose runs wait for others, and are made again if these disturb them; the least disturbed counts.

    `pids`: processes of the server. `until`: monotonic time from which on nothing is waited for or made again.
    `disturbed`: of every run that counts, processors that others kept busy.
    """

    pids: Sequence[int] = ()
    until: float = 0.0
    disturbed: list[float] = field(default_factory=list)

    async def run(self, prompts: Sequence[Prompt]) -> list[Served]:
        """Make the calls, when others leave the machine alone if they do."""
        best: list[Served] = []
        least = float("inf")
        for _ in range(TRIES):
            await self._wait()
            before = moment(self.pids)
            served = await Server.run(self, prompts)
            after = moment(self.pids)
            others = after.others_since(before) if after.at - before.at > BLINK else 0.0
            if others < least:
                best, least = served, others
            if least <= LIMIT or time.monotonic() > self.until:
                break
        self.disturbed.append(least)
        return best

    async def _wait(self) -> None:
        pause, until = GLANCE / 4, min(self.until, time.monotonic() + PATIENCE)
        while time.monotonic() < until:
            before = moment(self.pids)
            await asyncio.sleep(pause)
            if moment(self.pids).others_since(before) <= LIMIT:
                return
            pause = GLANCE
