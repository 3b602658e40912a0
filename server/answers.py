"""Reads the answer that votes out of a finished message, and recognises it among the answers already known.

Most answers are decided by their spelling, at once. Formulas need algebra, which is slow and may not end: a child
process does it (`server.equivalence_child`), one comparison at a time, and is killed when one takes too long. A
formula that cannot be compared in time is an answer of its own.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from strategies.answers import Kind, extract, is_label, is_number

_ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages: the child imports the same ones."""

_STRIKES = 2
"""Comparisons that may run out of time before an answer is compared by its spelling only."""

_COOL_DOWN = 30.0
"""Seconds without another attempt after the child could not be started."""

log = logging.getLogger("quorate.answers")

K = TypeVar("K")
V = TypeVar("V")


class AnswerReader:
    """Answers of messages, equal ones under one spelling. One per gateway; `aclose` ends its child process.

    Args:
        timeout: Seconds for one comparison of two formulas.
        start_timeout: Seconds for the child to start (it imports sympy).
        longest: Characters; longer answers are compared by their spelling only.
        queue: Comparisons that may wait for the child; more are not made.
        cache: Verdicts that are remembered.
    """

    def __init__(
        self,
        *,
        timeout: float = 2.0,
        start_timeout: float = 20.0,
        longest: int = 500,
        queue: int = 64,
        cache: int = 4096,
    ) -> None:
        self._longest = longest
        self._queue = queue
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._child = _Child(timeout, start_timeout)
        self._verdicts = _Recent[tuple[str, str], bool](cache)
        self._strikes = _Recent[str, int](cache)

    async def read(self, message: Mapping[str, Any], kind: Kind, known: Sequence[str]) -> str | None:
        """The canonical answer of a finished message, in the spelling of the known answer that it equals, if any.

        None if the message has no answer that could be compared. Returns without waiting unless the answer or a
        known one is a formula that has not been compared before.
        """
        answer = extract(message, kind)
        if answer is None or answer in known:
            return answer
        for other in known:
            if not self._needs_algebra(answer, other):
                continue
            verdict = await self._equivalent(answer, other)
            if verdict is None:
                break  # The next comparison would take as long; the client has waited enough.
            if verdict:
                return other
        return answer

    async def aclose(self) -> None:
        """End the child process. Answers read afterwards are compared by their spelling."""
        self._queue = 0
        await self._child.aclose()
        async with self._turn:  # A child that was being started is there by now.
            await self._child.aclose()

    def _needs_algebra(self, answer: str, other: str) -> bool:
        """Whether the spelling of two different answers leaves open if they are equal."""
        if is_label(answer) or is_label(other) or (is_number(answer) and is_number(other)):
            return False
        return all(len(one) <= self._longest and (self._strikes.get(one) or 0) < _STRIKES for one in (answer, other))

    async def _equivalent(self, answer: str, other: str) -> bool | None:
        """The verdict, remembered or new; None when it was not reached."""
        pair = (min(answer, other), max(answer, other))
        verdict = self._verdicts.get(pair)
        if verdict is not None or self._waiting >= self._queue:
            return verdict
        self._waiting += 1
        try:
            async with self._turn:
                verdict = await self._child.compare(pair)
        finally:
            self._waiting -= 1
        self._verdicts.put(pair, bool(verdict))
        if verdict is None:
            for one in filter(lambda one: not is_number(one), pair):  # A number is never the slow one.
                self._strikes.put(one, (self._strikes.get(one) or 0) + 1)
        return verdict


class _Child:
    """The process that compares: started when first needed, killed when it is slow, started again."""

    def __init__(self, timeout: float, start_timeout: float) -> None:
        self._timeout = timeout
        self._start_timeout = start_timeout
        self._process: Process | None = None
        self._ready = False
        self._closed = asyncio.Event()
        self._not_before = 0.0
        self._killed: list[Process] = []
        self._owed: float | None = None  # by when the verdict is due for which nobody waits any more

    async def compare(self, pair: tuple[str, str]) -> bool | None:
        """Whether two formulas are equal; None when there was no verdict in time. One call at a time."""
        for _ in range(2):  # One that died without being asked is replaced; one that dies of the question is not.
            if not await self._settled():
                self._kill()
            process = await self._started()
            if process is None:
                return None
            try:
                word = await self._ask(process, pair)
            except TimeoutError:
                self._kill()
                return None
            except (ConnectionError, ValueError):
                word = b""
            if word:
                return word == b"1\n"
            self._kill()
        return None

    async def aclose(self) -> None:
        """Kill the process and wait until it is gone. No other is started."""
        self._closed.set()
        self._kill()
        for process in tuple(self._killed):
            await process.wait()

    async def _started(self) -> Process | None:
        """The process, ready; None when it cannot be had now. A cancelled wait leaves it starting for the next one."""
        clock = asyncio.get_running_loop()
        if self._closed.is_set() or clock.time() < self._not_before:
            return None
        try:
            async with asyncio.timeout(self._start_timeout):
                await self._start()
        except (TimeoutError, OSError) as error:
            if not self._closed.is_set():
                log.warning("The process that compares formulas cannot be started: %r", error)
            self._not_before = clock.time() + _COOL_DOWN
            self._kill()
        if self._closed.is_set():
            self._kill()
        return self._process

    async def _start(self) -> None:
        process = self._process or await self._spawn()
        if not self._ready and await _output(process).readline() != b"ready\n":
            raise ConnectionError("it ended before it was ready")
        self._ready = True

    async def _spawn(self) -> Process:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        command = (sys.executable, "-m", "server.equivalence_child", str(self._timeout))
        # A session of its own: Ctrl-C in the terminal is for the gateway, which then ends its child itself.
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, env={**os.environ, "PYTHONPATH": path}, start_new_session=True
        )
        return self._process

    async def _ask(self, process: Process, pair: tuple[str, str]) -> bytes:
        """One line out, one line in; empty when the process has ended. Cancelled, the process goes on and owes a line.

        Killing it would cost the next program, which has done nothing, the time of a start.
        """
        if process.stdin is None:
            return b""
        self._owed = asyncio.get_running_loop().time() + self._timeout
        async with asyncio.timeout_at(self._owed):
            process.stdin.write(json.dumps(pair).encode() + b"\n")
            await process.stdin.drain()
            word = await _output(process).readline()
        self._owed = None
        return word

    async def _settled(self) -> bool:
        """Take the verdict of an abandoned comparison out of the way; false if it does not come in time."""
        if self._process is None or self._owed is None:
            return True
        try:
            async with asyncio.timeout_at(self._owed):
                word = await _output(self._process).readline()
        except (TimeoutError, ConnectionError, ValueError):
            return False
        self._owed = None
        return bool(word)

    def _kill(self) -> None:
        """Kill the process at once. The event loop reaps it; `aclose` waits for that."""
        process, self._process, self._ready, self._owed = self._process, None, False, None
        self._killed = [one for one in self._killed if one.returncode is None]
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            self._killed.append(process)


def _output(process: Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise ConnectionError("the process has no standard output")
    return process.stdout


class _Recent(Generic[K, V]):
    """The most recently used entries of a mapping, at most `size` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)
