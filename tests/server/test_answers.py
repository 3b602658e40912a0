"""The answer reader: one spelling for equal answers, and a child process that can hang but not be left behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys

import pytest

from server.answers import AnswerReader
from strategies.answers import Kind
from tests import proc

pytestmark = pytest.mark.skipif(not (proc.PROC / "self" / "task").exists(), reason="children are listed in /proc")

HASTY = 1.5
"""Seconds for one comparison where some run out of time: enough for the others on a busy machine."""

HANGS = "9^{9^{9^{9}}}"
"""Nobody computes this."""

ORPHANING = r"""
import asyncio
from server.answers import AnswerReader
from strategies.answers import Kind

async def main():
    reader = AnswerReader(timeout=2.0)
    await reader.read({"content": r"\boxed{\sqrt{4}}"}, Kind.OPEN, ["2"])
    print("comparing", flush=True)
    await reader.read({"content": r"\boxed{9^{9^{9^{9}}}}"}, Kind.OPEN, ["x+1"])

asyncio.run(main())
"""


def boxed(value):
    """A message that answers this."""
    return {"role": "assistant", "content": f"So \\boxed{{{value}}}."}


def children(pid):
    """Comparing processes under a process, zombies left out."""
    return proc.children(pid, "equivalence_child")


def alive(pid):
    """Whether a process still runs (a zombie does not)."""
    with contextlib.suppress(OSError):
        return proc.stat(pid)[0] != "Z"
    return False


async def gone(pid, seconds=10.0):
    """Whether a process ends within a time."""
    for _ in range(int(seconds * 50)):
        if not alive(pid):
            return True
        await asyncio.sleep(0.02)
    return False


async def comparing(known, seconds=10.0):
    """The child that is not among those known already, once it runs."""
    for _ in range(int(seconds * 100)):
        fresh = children(os.getpid()) - known
        if fresh:
            return fresh.pop()
        await asyncio.sleep(0.01)
    raise AssertionError("no child was started")


@pytest.fixture
async def reader():
    """A patient reader: the machine may be busy."""
    reader = AnswerReader(timeout=10.0)
    yield reader
    await reader.aclose()


@pytest.fixture
async def hasty():
    """A reader whose comparisons run out of time soon."""
    reader = AnswerReader(timeout=HASTY)
    yield reader
    await reader.aclose()


PLAIN = [
    (boxed("1,000.0"), Kind.OPEN, ("999", "1000"), "1000"),
    (boxed("\\frac12"), Kind.OPEN, ("0.25",), "0.5"),
    (boxed("x+1"), Kind.OPEN, ("x+1",), "x+1"),
    (boxed("x+1"), Kind.OPEN, (), "x+1"),
    (boxed("\\text{Evelyn}"), Kind.OPEN, ("x+1", "navin"), "evelyn"),
    ({"content": "B"}, Kind.CHOICE, ("A", "x+1"), "B"),
    ({"content": '{"a": 1.0}'}, Kind.JSON, ('{"a":2}', "x+1"), '{"a":1}'),
    ({"content": "Good morning!"}, Kind.OPEN, ("x+1",), None),
    ({"content": "<think>\\boxed{5}"}, Kind.OPEN, ("5",), None),
]


@pytest.mark.parametrize(("message", "kind", "known", "answer"), PLAIN)
async def test_plain_answers_are_read_without_algebra(reader, message, kind, known, answer):
    """Numbers, words, letters, JSON and what is spelled like a known answer need no child process."""
    before = children(os.getpid())
    assert await reader.read(message, kind, known) == answer
    assert children(os.getpid()) == before


async def test_equal_formulas_share_the_known_spelling(reader):
    """A formula, or a number that equals a known formula, votes under the spelling that came first."""
    assert await reader.read(boxed("\\sqrt{8}"), Kind.OPEN, ["5", "2\\sqrt{2}"]) == "2\\sqrt{2}"
    assert await reader.read(boxed("5"), Kind.OPEN, ["7", "\\sqrt{25}"]) == "\\sqrt{25}"
    assert await reader.read(boxed("1+x"), Kind.OPEN, ["x-1", "no solution", "x+1"]) == "x+1"
    assert await reader.read(boxed("x+2"), Kind.OPEN, ["x-1", "x+1"]) == "x+2"


async def test_many_readers_wait_for_one_child(reader):
    """Comparisons at the same time take turns, and each gets its own verdict."""
    before = children(os.getpid())
    async with asyncio.TaskGroup() as group:
        squares = [
            group.create_task(reader.read(boxed(f"\\sqrt{{{n * n}}}"), Kind.OPEN, [str(n)])) for n in range(2, 9)
        ]
        others = [group.create_task(reader.read(boxed(f"\\sqrt{{{n}}}"), Kind.OPEN, [str(n)])) for n in range(2, 9)]
        await comparing(before)
    assert [task.result() for task in squares] == [str(n) for n in range(2, 9)]
    assert [task.result() for task in others] == [f"\\sqrt{{{n}}}" for n in range(2, 9)]
    assert len(children(os.getpid()) - before) == 1


async def test_verdicts_are_remembered(reader):
    """A pair that was compared once is not compared again, in either order, even without a child."""
    assert await reader.read(boxed("1+x"), Kind.OPEN, ["x+1"]) == "x+1"
    await reader.aclose()
    assert await reader.read(boxed("x+1"), Kind.OPEN, ["1+x"]) == "1+x"
    assert await reader.read(boxed("x+2"), Kind.OPEN, ["2+x"]) == "x+2"


async def test_a_hanging_comparison_is_an_answer_of_its_own(hasty):
    """It ends in time, its child is killed, the event loop never stops, and the next comparison works."""
    await hasty.read(boxed("\\sqrt{4}"), Kind.OPEN, ["2"])
    before = children(os.getpid())
    loop = asyncio.get_running_loop()
    began = loop.time()
    turns = 0
    async with asyncio.TaskGroup() as group:
        task = group.create_task(hasty.read(boxed(HANGS), Kind.OPEN, ["x+1", "x+2", "x+3"]))
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
    assert task.result() == "9^{9^{9^9}}"
    assert HASTY - 0.1 < loop.time() - began < 6.0
    assert turns > 20
    assert all([await gone(pid) for pid in before])
    assert await hasty.read(boxed("\\sqrt{9}"), Kind.OPEN, ["3"]) == "3"


async def test_an_answer_that_hangs_twice_is_compared_by_its_spelling(hasty):
    """A formula that ran out of time twice costs no third second, and no child; numbers are never blamed."""
    for known in ("5", "7"):
        await hasty.read(boxed(HANGS), Kind.OPEN, [known])
    before = children(os.getpid())
    async with asyncio.timeout(0):  # one turn of the loop would be too long
        assert await hasty.read(boxed(HANGS), Kind.OPEN, ["x+7", "x+8", "x+9"]) == "9^{9^{9^9}}"
    assert children(os.getpid()) <= before
    assert await hasty.read(boxed("\\sqrt{25}"), Kind.OPEN, ["5"]) == "5"


async def test_a_cancelled_comparison_keeps_its_child(reader):
    """The child finishes what nobody waits for; the next reader gets its own verdict from the same process."""
    before = children(os.getpid())
    await reader.read(boxed("\\sqrt{4}"), Kind.OPEN, ["2"])
    (child,) = children(os.getpid()) - before
    os.kill(child, signal.SIGSTOP)
    for n in range(3, 6):  # The first is asked; the others wait for its verdict.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(boxed(f"\\sqrt{{{n * n}}}"), Kind.OPEN, [str(n)])
    os.kill(child, signal.SIGCONT)
    assert await reader.read(boxed("\\sqrt{9}"), Kind.OPEN, ["4"]) == "\\sqrt{9}"
    assert await reader.read(boxed("\\sqrt{9}"), Kind.OPEN, ["3"]) == "3"
    assert alive(child)


async def test_an_abandoned_comparison_has_no_more_than_its_time(hasty):
    """A comparison that hangs and was cancelled delays the next one by what is left of its time, then is killed."""
    await hasty.read(boxed("\\sqrt{4}"), Kind.OPEN, ["2"])
    before = children(os.getpid())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await hasty.read(boxed(HANGS), Kind.OPEN, ["x+1"])
    assert await hasty.read(boxed("\\sqrt{9}"), Kind.OPEN, ["3"]) == "3"
    assert all([await gone(pid) for pid in before])


async def test_an_abandoned_child_that_dies_is_replaced(reader):
    """A child that ends while it owes a verdict costs the next reader a start, not its verdict."""
    await reader.read(boxed("\\sqrt{4}"), Kind.OPEN, ["2"])
    before = children(os.getpid())
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.read(boxed("\\sqrt{16}"), Kind.OPEN, ["4"])
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert await reader.read(boxed("\\sqrt{9}"), Kind.OPEN, ["3"]) == "3"


async def test_a_child_keeps_starting_for_the_next_reader(reader):
    """Programs that give up while the child starts do not make the next one wait from the beginning."""
    before = children(os.getpid())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(reader.read(boxed("1+x"), Kind.OPEN, ["x+1"]))
        started = await comparing(before)
        await asyncio.sleep(0.1)  # The process exists; now its pipes do, too.
        task.cancel()
    assert await reader.read(boxed("1+x"), Kind.OPEN, ["x+1"]) == "x+1"
    assert alive(started)


async def test_a_child_that_dies_is_replaced(reader):
    """A child that was killed while it had nothing to do costs the next comparison a start, not its verdict."""
    await reader.read(boxed("\\sqrt{4}"), Kind.OPEN, ["2"])
    before = children(os.getpid())
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert await reader.read(boxed("1+x"), Kind.OPEN, ["x+1"]) == "x+1"


async def test_closing_leaves_no_child_even_in_a_comparison():
    """`aclose` kills the child, whatever it does, and the waiting reader gets its answer."""
    reader = AnswerReader(timeout=10.0)
    before = children(os.getpid())
    await reader.read(boxed("\\sqrt{4}"), Kind.OPEN, ["2"])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(reader.read(boxed(HANGS), Kind.OPEN, ["x+1"]))
        await asyncio.sleep(0.1)
        await reader.aclose()
        assert children(os.getpid()) <= before
    assert task.result() == "9^{9^{9^9}}"
    assert await reader.read(boxed("1+x"), Kind.OPEN, ["x+1"]) == "1+x"
    await reader.aclose()
    assert children(os.getpid()) <= before


async def test_closing_while_the_child_starts_leaves_none(caplog):
    """A child that is being started when the reader closes does not outlive it, and nobody complains."""
    reader = AnswerReader()
    before = children(os.getpid())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(reader.read(boxed("1+x"), Kind.OPEN, ["x+1"]))
        await asyncio.sleep(0)
        await reader.aclose()
        assert children(os.getpid()) <= before
    assert task.result() == "1+x"
    assert not caplog.records


async def test_a_gateway_killed_without_warning_leaves_no_child():
    """The child of a killed parent ends by itself, in the middle of a multiplication that would last for ever."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", ORPHANING, stdout=subprocess.PIPE)
    try:
        assert await parent.stdout.readline() == b"comparing\n"
        (child,) = children(parent.pid)
    finally:
        parent.kill()
        await parent.wait()
    assert await gone(child)


async def test_bounds_leave_the_child_alone():
    """Formulas that are too long, and comparisons that nobody may wait for, are decided by spelling."""
    before = children(os.getpid())
    for options in ({"longest": 4}, {"queue": 0}):
        reader = AnswerReader(**options)
        assert await reader.read(boxed("1+x+y"), Kind.OPEN, ["x+y+1"]) == "1+x+y"
        await reader.aclose()
    assert children(os.getpid()) == before


async def test_a_child_that_cannot_start_is_said_once(monkeypatch, caplog):
    """Without an interpreter to start, answers are compared by spelling, with one warning in a while."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    reader = AnswerReader()
    for n in range(3):
        assert await reader.read(boxed(f"{n}+x"), Kind.OPEN, [f"x+{n}"]) == f"{n}+x"
    await reader.aclose()
    assert len(caplog.records) == 1
