"""The supervisor with children that misbehave on purpose."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from core.errors import BackendUnavailable
from server.backends.llama_process import Limits, Supervisor

READY = """print('{"event": "ready"}', flush=True)\n"""
SERVE = READY + "sys.stdin.read()"
Starter = Callable[..., Supervisor]


@pytest.fixture
async def child() -> AsyncIterator[Starter]:
    """Makes supervisors of `python -c` children with short waits, and closes them."""
    made: list[Supervisor] = []

    def make(code: str, **limits: float) -> Supervisor:
        argv = [sys.executable, "-S", "-c", "import sys, os, time\n" + code]
        supervisor = Supervisor(argv, name="x", limits=Limits(**{"stop": 0.2, "backoff": 0.01, **limits}))
        made.append(supervisor)
        return supervisor

    yield make
    for supervisor in made:
        await supervisor.aclose()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the child, whose callbacks change what is asked."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event for the middle of a crash loop
            await asyncio.sleep(0.002)


async def test_a_child_that_leaves_is_started_again(child: Starter) -> None:
    """A request that comes during the restart waits for it."""
    supervisor = child(SERVE, restart_wait=10.0)
    await supervisor.start()
    first = supervisor.pid
    assert supervisor._life is not None
    supervisor._life.process.kill()
    await until(lambda: not supervisor.up)
    await supervisor.available()
    assert supervisor.pid not in (None, first)


async def test_a_request_waits_only_so_long_for_a_restart(child: Starter, tmp_path: Path) -> None:
    """While the child takes its time, requests are refused with the reason of its end."""
    slow = f"seen = os.path.exists({str(tmp_path / 'seen')!r}); open({str(tmp_path / 'seen')!r}, 'w').close()\n"
    supervisor = child(slow + "time.sleep(60 * seen)\n" + READY + "os._exit(7)", restart_wait=0.01)
    await supervisor.start()
    await until(lambda: not supervisor.up)
    with pytest.raises(BackendUnavailable, match=r"x is down. It ended with exit status 7"):
        await supervisor.available()


async def test_restarts_are_bounded_per_minute(child: Starter, tmp_path: Path) -> None:
    """A child that dies at once is started a bounded number of times, each written down by itself."""
    book = tmp_path / "book"
    supervisor = child(f"open({str(book)!r}, 'a').write('x')\n" + READY + "os._exit(1)", restarts_per_minute=3)
    await supervisor.start()
    now = asyncio.get_running_loop().time
    await until(lambda: supervisor._timer is not None and supervisor._timer.when() - now() > 40)
    assert book.read_text() == "xxxx"


async def test_the_log_tells_of_deaths_and_restarts(
    child: Starter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each death once with its cause, each restart, and the giving up; nothing about a child that is closed."""
    book = tmp_path / "book"
    code = (
        f"open({str(book)!r}, 'a').write('x')\n" + READY + "sys.stderr.write('oh no'); sys.stderr.flush(); os._exit(7)"
    )
    supervisor = child(code, restarts_per_minute=2)
    with caplog.at_level(logging.INFO, "quorate.embedded"):
        await supervisor.start()
        await until(lambda: any(record.levelname == "ERROR" for record in caplog.records))
        await supervisor.aclose()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING", "INFO", "WARNING", "ERROR"]
    words = [record.getMessage() for record in caplog.records]
    assert words[0] == "Backend x: its engine is gone. It ended with exit status 7. Its last words: oh no"
    assert "started again" in words[1] and "after 2 restarts in a minute" in words[-1]


async def test_a_healthy_life_is_not_logged(child: Starter, caplog: pytest.LogCaptureFixture) -> None:
    """Starting and closing are no news, nor is a start that fails with an exception."""
    with caplog.at_level(logging.INFO, "quorate.embedded"):
        supervisor = child(SERVE)
        await supervisor.start()
        await supervisor.aclose()
        with pytest.raises(BackendUnavailable):
            await child("sys.exit(3)").start()
    assert not caplog.records


async def test_a_child_that_misses_its_checks_is_killed(child: Starter, caplog: pytest.LogCaptureFixture) -> None:
    """Only misses in a row count, and only those of the child that lives now."""
    supervisor = child(SERVE, missed_checks=3)
    await supervisor.start()
    first = supervisor.pid
    for healthy in (False, False, True, False, False):
        supervisor.checked(first, healthy=healthy)
    supervisor.checked(0, healthy=False)
    assert supervisor.pid == first
    supervisor.checked(first, healthy=False)
    await until(lambda: supervisor.up and supervisor.pid != first)
    supervisor.checked(first, healthy=False)
    assert "missed 3 health checks in a row" in caplog.text
    assert supervisor.up


async def test_the_pause_between_restarts_doubles(child: Starter) -> None:
    """The first restart is immediate; then come the back-off, twice, four times it, and at most half a minute."""
    supervisor = child(SERVE, backoff=2.0, restarts_per_minute=50)
    pauses = [supervisor._pause() for _ in range(7)]
    assert pauses == [0.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


async def test_a_child_that_never_gets_ready_is_killed(child: Starter) -> None:
    """Start fails after its limit, says so, and leaves no process."""
    supervisor = child("time.sleep(60)", start=0.2)
    with pytest.raises(BackendUnavailable, match=r"could not start. It was not ready within 0.2 s"):
        await supervisor.start()
    assert supervisor.pid is None


async def test_the_childs_own_reason_is_given(child: Starter) -> None:
    """What the child reports comes first, then the end of what it wrote."""
    supervisor = child("""print('{"event": "failed", "reason": "No such luck."}'); sys.exit('bad news')""")
    with pytest.raises(BackendUnavailable, match=r"No such luck. Its last words: bad news"):
        await supervisor.start()


async def test_a_flood_on_standard_error_is_capped(child: Starter) -> None:
    """A child that writes megabytes is neither blocked nor quoted whole."""
    supervisor = child("sys.stderr.write('a line of noise\\n' * 200_000 + 'the end'); sys.exit(3)")
    with pytest.raises(BackendUnavailable, match="exit status 3") as failure:
        await supervisor.start()
    assert failure.value.message.endswith("the end")
    assert len(failure.value.message) < 1000


async def test_noise_on_standard_output_is_ignored(child: Starter) -> None:
    """Lines that are no reports, however long, do not keep the child from being ready."""
    supervisor = child("print('x' * 100_000)\nprint('[]')\nprint('{\"event\": 7}')\n" + SERVE)
    await supervisor.start()
    assert supervisor.up


async def test_a_child_that_only_closes_its_output_is_killed(child: Starter) -> None:
    """The end of its output counts as its death, and is made true."""
    supervisor = child("os.close(1); time.sleep(60)", start=30.0)
    with pytest.raises(BackendUnavailable, match="SIGKILL"):
        await supervisor.start()


async def test_a_stubborn_child_is_killed_on_closing(child: Starter) -> None:
    """A child that ignores the end of its input goes after `stop` seconds."""
    supervisor = child(READY + "time.sleep(60)")
    await supervisor.start()
    assert supervisor._life is not None
    life = supervisor._life
    async with asyncio.timeout(5):
        await supervisor.aclose()
    assert life.process.returncode == -9
    with pytest.raises(BackendUnavailable, match="It has been closed"):
        await supervisor.available()


async def test_closing_during_a_restart_starts_no_other(child: Starter, tmp_path: Path) -> None:
    """The timer of the next start is forgotten with the supervisor."""
    book = tmp_path / "book"
    supervisor = child(f"open({str(book)!r}, 'a').write('x')\n" + READY + "os._exit(1)", backoff=0.2)
    await supervisor.start()
    await until(lambda: book.read_text() == "xx" and not supervisor.up)
    await supervisor.aclose()
    await asyncio.sleep(0.4)
    assert book.read_text() == "xx"


async def test_a_program_that_cannot_be_run_is_a_failed_start() -> None:
    """A missing interpreter is an error with its reason, not a traceback."""
    supervisor = Supervisor(["/nonexistent/python"], name="x", limits=Limits())
    with pytest.raises(BackendUnavailable, match="cannot be run"):
        await supervisor.start()
