"""The process around the application: its sockets, its signals, and the order in which it starts and stops.

Start: bind (a port in use is known before anything is loaded), load the engines, accept, announce. Stop: accept no
more, let running answers end, close the backends (what still runs answers with what it has, or with an error), leave.
"""

import asyncio
import errno
import gc
import logging
import math
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

import uvicorn
from fastapi import FastAPI

from core.errors import QuorateError
from server.runtime import owned

log = logging.getLogger("quorate.serving")
FAREWELL_SECONDS = 1.0
"""How long the errors of requests that were broken off may take to reach their clients."""
GC_THRESHOLDS = (50_000, 20, 20)
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""`localhost` names an IPv6 address on machines that have none."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StartError(Exception):
    """The gateway cannot be started; the message is one sentence for the terminal."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of the host, not yet listening, all on one port (0: a free one).

    Raises `StartError`.
    """
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((each[0], each[4]) for each in found):
            chosen = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(_bound(family, (address[0], chosen, *address[2:])))
            except OSError as error:
                if error.errno not in ABSENT:
                    raise
                absent = error
        if absent is not None and not sockets:
            raise absent
    except OSError as error:
        for each in sockets:
            each.close()
        raise StartError(f"Cannot listen on {host}:{port}: {_reason(error)}.") from error
    return sockets


def _bound(family: int, address: tuple[str | int, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what lingers from the last run does not count
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        patience = getattr(socket, "TCP_USER_TIMEOUT", None)
        if patience is not None:  # Linux: a client that stopped reading loses its connection, not our memory
            bound.setsockopt(socket.IPPROTO_TCP, patience, UNREAD_MILLISECONDS)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; choose another with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return (error.strerror or str(error)).lower()


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be opened: {error.strerror}."
    return str(error)


KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep idle connections (httpx 5 s, aiohttp 15, nginx 60), so that it is they who close first."""

UNREAD_MILLISECONDS = 60_000
"""How long data may lie in a connection whose client does not read; accepted connections inherit it."""


class Server(uvicorn.Server):
    """uvicorn between our start and our stop.

    Args:
        app: The gateway. Its lifespan is entered here, so that its failure is an exception and not a printed traceback.
        grace: Seconds that running answers may take to end once a stop was asked for.
        announce: Called once connections are accepted.
    """

    def __init__(self, app: FastAPI, grace: float, announce: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=math.ceil(grace + FAREWELL_SECONDS),
            )
        )
        self._app = app
        self._grace = grace
        self._announce = announce
        self._loading: asyncio.Timeout | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Load, serve, and stop at a signal; one that comes while engines are loading ends that at once.

        Raises `StartError` if the engines or the sockets cannot be had.
        """
        with self.capture_signals():
            async with AsyncExitStack() as stack:
                if await self._load(stack):
                    calm_collector()
                    await self._serve(sockets)

    async def _load(self, stack: AsyncExitStack) -> bool:
        """Enter the application's lifespan; False if a signal came first."""
        self._loading = asyncio.Timeout(None)
        try:
            async with self._loading:
                await stack.enter_async_context(self._app.router.lifespan_context(self._app))
        except (QuorateError, ValueError, OSError) as error:
            if self._loading.expired():
                return False
            raise StartError(_sentence(error)) from error
        finally:
            self._loading = None
        return True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and say so."""
        try:
            await super().startup(sockets)
        except OSError as error:
            raise StartError(f"Cannot listen: {_reason(error)}.") from error
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more and wait for running answers; past the grace period they are told to come to an end."""
        async with owned(self._end_programs()):
            await super().shutdown(sockets)

    async def _end_programs(self) -> None:
        await asyncio.sleep(self._grace)
        log.warning("ending %d requests that still run", len(self.server_state.tasks))
        await self._app.state.gateway.close_backends()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's own, does not raise the signal again at the end: a stop that was asked for is no failure."""
        loop = asyncio.get_running_loop()
        for each in SIGNALS:
            loop.add_signal_handler(each, self._leave, each)
        try:
            yield
        finally:
            for each in SIGNALS:
                loop.remove_signal_handler(each)

    def _leave(self, signum: int) -> None:
        self.handle_exit(signum, None)
        if self._loading is not None:
            self._loading.reschedule(asyncio.get_running_loop().time())


def calm_collector() -> None:
    """Let the garbage collector look at what requests leave behind, seldom, and never again at what was imported.

    With Python's own thresholds it took 18 % of the CPU of a fan-out (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
