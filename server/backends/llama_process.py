"""The embedded engine's child process: started, watched and started again.

Everything here happens in callbacks of the event loop (pipes that become readable, timers), all owned by one
`Supervisor` and cancelled by its `aclose`. There is no task that could outlive anybody, and a crash is noticed at once
and not at the next request.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.errors import BackendUnavailable

log = logging.getLogger("quorate.embedded")

_WINDOW_SECONDS = 60.0
_LONGEST_BACKOFF = 30.0
_REAP_SECONDS = 0.005
_REAP_TRIES = 200
_TAIL_BYTES = 8192
_QUOTED_LINES, _QUOTED_CHARACTERS = 6, 800
_LOG_PREFIX = re.compile(r"^[\d.]+ [A-Z] +")  # llama.cpp's time and level


@dataclass(frozen=True, slots=True)
class Limits:
    """Every wait around the child, in seconds.

    - `start`: from spawning until it serves; a child that takes longer is killed.
    - `stop`: from closing its standard input until it is killed.
    - `restart_wait`: how long a request waits for a child that is being restarted.
    - `backoff`: pause before the second restart within a minute, doubled for each further one. The first has none.
    - `restarts_per_minute`: the next one waits until the minute has room for it.
    - `missed_checks`: health checks in a row that a living child may miss before it is killed.
    """

    start: float = 120.0
    stop: float = 2.0
    restart_wait: float = 1.0
    backoff: float = 0.5
    restarts_per_minute: int = 6
    missed_checks: int = 3


class Life:
    """One child from spawning to its end. Must be created inside a running event loop.

    The child reports by JSON lines on standard output (see `llama_child`); the end of that stream is its death.
    """

    def __init__(self, argv: Sequence[str], on_change: Callable[["Life"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_change = on_change
        self._lines, self._tail = bytearray(), bytearray()
        self._reaper: asyncio.TimerHandle | None = None
        self.ready = False
        self.reason = ""
        self.ended = asyncio.Event()
        # A session of its own: Ctrl-C in the terminal is the parent's to handle.
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        assert self.process.stdout is not None and self.process.stderr is not None
        self._report, self._noise = self.process.stdout, self.process.stderr
        for stream, read in ((self._report, self._read_report), (self._noise, self._read_noise)):
            os.set_blocking(stream.fileno(), False)
            self._loop.add_reader(stream.fileno(), read, stream.fileno())

    def release(self) -> None:
        """Close the child's standard input, which asks it to leave."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def kill(self) -> None:
        """End the child now. Blocks for the moment that the kernel needs."""
        if self.ended.is_set():
            return
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5.0)
        self._finish()

    def explain(self) -> str:
        """Why it ended: its own words, else the way it ended and the last lines it wrote."""
        code = self.process.returncode
        if code == -signal.SIGILL:
            return "This processor lacks instructions that the embedded engine is built for (AVX2, FMA, F16C, BMI2)."
        noise = [_LOG_PREFIX.sub("", line) for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        quoted = " | ".join(noise[-_QUOTED_LINES:])[-_QUOTED_CHARACTERS:]
        how = self.reason or f"It ended with {_exit_in_words(code)}."
        return f"{how} Its last words: {quoted}" if quoted else how

    def _read_report(self, fd: int) -> bool:
        data = _read(fd)
        if data == b"":
            self._loop.remove_reader(fd)
            self._reap(_REAP_TRIES)
        self._lines += data or b""
        while (end := self._lines.find(b"\n")) >= 0:
            line = bytes(self._lines[:end])
            del self._lines[: end + 1]
            self._take(line)
        del self._lines[:-_TAIL_BYTES]
        return bool(data)

    def _take(self, line: bytes) -> None:
        try:
            report = json.loads(line)
        except ValueError:
            return
        if not isinstance(report, dict):
            return
        if report.get("event") == "failed":
            self.reason = str(report.get("reason"))
        elif report.get("event") == "ready":
            self.ready = True
            self._on_change(self)

    def _read_noise(self, fd: int) -> bool:
        """Keep the end of what the child writes: a rejected grammar is printed whole, however long."""
        data = _read(fd)
        if data == b"":
            self._loop.remove_reader(fd)
        self._tail += data or b""
        del self._tail[:-_TAIL_BYTES]
        return bool(data)

    def _reap(self, tries: int) -> None:
        """Its output has ended, so it is going; one that closed its output without going is killed."""
        if self.process.poll() is not None:
            self._finish()
        elif tries == 0:
            self.kill()
        else:
            self._reaper = self._loop.call_later(_REAP_SECONDS, self._reap, tries - 1)

    def _finish(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
        for pipe in (self._report, self._noise):
            self._loop.remove_reader(pipe.fileno())
        while self._read_noise(self._noise.fileno()):
            pass
        self.release()
        self._report.close()
        self._noise.close()
        self.ended.set()
        self._on_change(self)


class Supervisor:
    """Keeps one child alive. `argv` starts it; `name` is used in messages."""

    def __init__(self, argv: Sequence[str], *, name: str, limits: Limits) -> None:
        self._argv, self._name, self._limits = argv, name, limits
        self._life: Life | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._restarts: deque[float] = deque(maxlen=max(1, limits.restarts_per_minute))
        self._keep = False
        self._missed = 0
        self._settled = asyncio.Event()
        self._up = asyncio.Event()
        self.reason = "It has not been started."

    @property
    def up(self) -> bool:
        return self._up.is_set()

    @property
    def pid(self) -> int | None:
        """The living child's process id."""
        return self._life.process.pid if self._life is not None and not self._life.ended.is_set() else None

    async def start(self) -> None:
        """Start the child and wait until it serves. Raises BackendUnavailable; nothing is left running then."""
        self._settled.clear()
        self._spawn()
        try:
            await self._settled.wait()
            if not self.up:
                raise BackendUnavailable(f"Backend {self._name} could not start. {self.reason}")
            self._keep = True
        finally:
            if not self._keep:
                await self.aclose()

    async def available(self) -> None:
        """Return once the child serves. Raises BackendUnavailable after `restart_wait`, at once if it is closed."""
        if self.up:
            return
        if self._keep:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.restart_wait):
                    await self._up.wait()
                    return
        raise BackendUnavailable(f"Backend {self._name} is down. {self.reason}")

    def checked(self, pid: int | None, *, healthy: bool) -> None:
        """The outcome of a health check of the process `pid`. One that is frozen is killed, and so started again."""
        if not self.up or self._life is None or pid != self.pid:
            return
        self._missed = 0 if healthy else self._missed + 1
        if self._missed >= self._limits.missed_checks:
            self._life.reason = f"It lived, but missed {self._missed} health checks in a row, and was killed."
            self._life.kill()

    async def aclose(self) -> None:
        """Ask the child to leave, kill it after `stop` seconds, forget every timer."""
        self._keep = False
        self._cancel_timers()
        life, self._life = self._life, None
        if life is None:
            return
        life.release()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.stop):
                    await life.ended.wait()
        finally:
            life.kill()
            self._up.clear()
            self.reason = "It has been closed."

    def _respawn(self) -> None:
        self._spawn()
        if self.pid is not None:
            log.info("Backend %s: its engine was started again (process %d).", self._name, self.pid)

    def _spawn(self) -> None:
        loop = asyncio.get_running_loop()
        self._missed = 0
        try:
            self._life = Life(self._argv, self._changed)
        except OSError as error:
            self._ended(f"It cannot be run: {error}.")
        else:
            self._overdue = loop.call_later(self._limits.start, self._give_up)

    def _give_up(self) -> None:
        if self._life is not None and not self._life.ready:
            self._life.reason = f"It was not ready within {self._limits.start:g} s."
            self._life.kill()

    def _changed(self, life: Life) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
        if life.ended.is_set():
            self._ended(life.explain())
        else:
            self._up.set()
            self._settled.set()

    def _ended(self, reason: str) -> None:
        self.reason = reason
        self._up.clear()
        self._settled.set()
        if self._keep:
            log.warning("Backend %s: its engine is gone. %s", self._name, reason)
            self._timer = asyncio.get_running_loop().call_later(self._pause(), self._respawn)

    def _pause(self) -> float:
        """Seconds until the next restart, which is entered into the book of the last minute."""
        now = asyncio.get_running_loop().time()
        recent = [moment for moment in self._restarts if now - moment < _WINDOW_SECONDS]
        pause = min(_LONGEST_BACKOFF, self._limits.backoff * 2.0 ** (len(recent) - 1)) if recent else 0.0
        if len(recent) >= self._limits.restarts_per_minute:
            pause = max(pause, recent[0] + _WINDOW_SECONDS - now)
            log.error("Backend %s: given up for %.0f s after %d restarts in a minute.", self._name, pause, len(recent))
        self._restarts.append(now + pause)
        return pause

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._overdue):
            if timer is not None:
                timer.cancel()


def _read(fd: int) -> bytes | None:
    """What the pipe holds: nothing at its end, None if it is merely empty for now."""
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return None


def _exit_in_words(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit status {code}"
