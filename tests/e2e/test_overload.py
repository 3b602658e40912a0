"""More than a slow engine can do: deadlines are kept, samples are saved, and who cannot be served is told at once."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.e2e.processes import Answer, Crowd, Engine, Gateway, backend, crowd, model, running, samples
from tests.ports import free_port

SLOTS = 4
SECONDS = 2.0
"""Deadline of every program; the engine takes 0.4 s for a sample, so that it can serve ten a second."""
SLACK = 3.0
"""Seconds by which a busy machine may delay an answer that came in time; without a deadline the last would come after
a hundred."""
AT_ONCE = 1.5
"""Seconds that nine of ten refusals may take; who was refused at its deadline would have waited for longer."""
REFUSAL = ("retry-after", "retry-after-ms", "x-should-retry")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Four seats."""
    engine = Engine(free_port(), tmp_path_factory.mktemp("engine"), f"--max-num-seqs={SLOTS}")
    with running(engine):
        yield engine


@pytest.fixture
def clients() -> Iterator[Crowd]:
    """As many as come."""
    with crowd(160) as clients:
        yield clients


def gateway_to(engine: Engine, folder: Path, settings: str = "") -> Gateway:
    """A gateway in front of the engine."""
    tables = [backend("one", engine.url, slots=SLOTS, silent_seconds=10.0), model("one")]
    return Gateway(free_port(), folder, "\n".join([settings, *tables]))


def arrive(clients: Crowd, gateway: Gateway, count: int, rate: float, budget: object) -> Sequence["Future[Answer]"]:
    """So many programs, so many a second, however long they take; the gateway knows by then how long a sample takes."""
    for number in range(3):
        assert clients.ask(gateway, samples(SLOTS), f"warm {number}?").status == 200
    began, sent = time.monotonic(), []
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        sent.append(clients.send(gateway, budget, f"{number}?"))
    return sent


def most_at_once(refused: Sequence[Answer]) -> bool:
    """Whether they were refused when they came; a pause of this process may have held up a few."""
    return sorted(answer.seconds for answer in refused)[len(refused) * 9 // 10] < AT_ONCE


def test_an_overloaded_gateway_answers_in_time_with_less(engine: Engine, clients: Crowd, tmp_path: Path) -> None:
    """Half more than there is room for even at one sample each: nearly all are answered by their deadline, with fewer
    samples, and say so; some are refused at once, and told when to come back."""
    gateway = gateway_to(engine, tmp_path)
    with running(gateway):
        sent = arrive(clients, gateway, 120, 15.0, {"max_samples": 8, "max_seconds": SECONDS})
        answers = [future.result(30) for future in sent]
        served = [answer for answer in answers if answer.status == 200]
        refused = [answer for answer in answers if answer.status == 429]
        assert {answer.status for answer in answers} <= {200, 429, 504}
        assert max(answer.seconds for answer in answers) < SECONDS + SLACK
        assert len(served) > 60
        assert len(answers) - len(served) - len(refused) < 0.2 * len(answers)
        short = [answer.compute for answer in served if answer.compute["stop_reason"] in ("load", "deadline")]
        assert len(short) > len(served) / 2
        assert all(0 < report["certainty"] <= 1 and report["samples"]["finished"] < 8 for report in short)
        assert most_at_once(refused)
        assert gateway.sum("quorate_refusals_total", reason="late") == len(refused) > 0
    for answer in refused:
        assert answer.body["error"]["code"] == "overloaded"
        after, millis, again = (answer.headers[name] for name in REFUSAL)
        assert (1 <= int(after) <= 30, again) == (True, "true")
        assert 1000 * (int(after) - 1) < int(millis) <= 1000 * int(after)


def test_at_the_deadline_the_answer_so_far_is_given(engine: Engine, clients: Crowd, tmp_path: Path) -> None:
    """A program that nobody hurries: it goes on until its time is up, and answers then."""
    gateway = gateway_to(engine, tmp_path)
    with running(gateway):
        answer = clients.ask(gateway, samples(64, max_seconds=SECONDS), "seven?")
        assert answer.status == 200
        assert SECONDS <= answer.seconds < SECONDS + SLACK
        report = answer.compute
        assert (report["stop_reason"], report["certainty"] > 0.5) == ("deadline", True)
        assert 0 < report["samples"]["finished"] < 64
        assert report["samples"]["finished"] + report["samples"]["aborted"] == report["samples"]["started"]
        assert gateway.in_flight() == 0


def test_a_full_queue_is_said_at_once(engine: Engine, clients: Crowd, tmp_path: Path) -> None:
    """Who waits already is served."""
    gateway = gateway_to(engine, tmp_path, "[limits]\nmax_waiting = 8\n[scheduling]\nshed = false")
    with running(gateway):
        sent = [clients.send(gateway, samples(8), f"{number}?") for number in range(24)]
        answers = [future.result(30) for future in sent]
        refused = [answer for answer in answers if answer.status == 429]
        assert {answer.status for answer in answers} == {200, 429}
        assert most_at_once(refused)
        assert all(name in answer.headers for answer in refused for name in REFUSAL)
        assert gateway.sum("quorate_refusals_total", reason="full") == len(refused)
