"""What is read off an engine's metrics, and how often it is asked."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BackendBroken, BackendRejected, BackendUnavailable
from core.types import NANOS
from scheduler.events import BackendMeasured
from server.backends.base import Pulse
from server.engines import SELDOM_SECONDS, Engines, measured

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
# HELP vllm:num_requests_waiting_by_reason Number of waiting requests by reason. vllm:num_requests_waiting in all
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 70.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:generation_tokens_total{engine="0",model_name="tiny"} 43200.0
"""
SECOND = """\
vllm:num_requests_running{engine="1",model_name="tiny"} 1.0
vllm:num_requests_waiting{engine="1",model_name="tiny"} 2.0
vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.75
"""
SGLANG = 'sglang:num_running_reqs{model_name="a}b"} 4.0\nsglang:num_queue_reqs 5.0\nsglang:token_usage 0.5\n'
LLAMA = "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\nllamacpp:kv_cache_usage_ratio 0.125\n"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (VLLM, (3, 7, 0.25)),
        (VLLM + SECOND, (4, 9, 0.5)),
        (VLLM.replace("kv_cache_usage_perc", "gpu_cache_usage_perc"), (3, 7, 0.25)),
        (VLLM.replace("\n", "\r\n"), (3, 7, 0.25)),
        (VLLM.replace(" 0.25", " NaN"), (3, 7, None)),
        (VLLM.replace(" 7.0", " NaN"), (3, 0, 0.25)),
        (VLLM.replace(" 7.0", " +Inf"), (3, 0, 0.25)),
        (VLLM.replace(" 7.0", " 7.0 1730000000000"), (3, 7, 0.25)),
        (SGLANG, (4, 5, 0.5)),
        (LLAMA, (2, 1, 0.125)),
        (LLAMA.replace("llamacpp:kv", "llamacpp:other"), (2, 1, None)),
        ("tgi_queue_size 6\ntgi_batch_current_size 8\n", (8, 6, None)),
        ("vllm:num_requests_running 3", (3, 0, None)),
        ('vllm:num_requests_running{a="b"} NaN\n', None),
        ('vllm:num_requests_running{a="b"\n', None),
        ("vllm:num_requests_running three\n", None),
        ("process_cpu_seconds_total 12\n", None),
        ("<html>vllm:num_requests_running 3</html>", None),
        ("", None),
    ],
)
def test_engines_are_understood(page: str, expected: tuple[int, int, float | None] | None) -> None:
    """Each by its own names, in all its parts; what is no number says nothing."""
    assert measured(page, "b") == (None if expected is None else BackendMeasured("b", *expected))


@given(st.text(alphabet='vllm:num_requests_running{}" =\n\t0123456789.eE+-NaInf#', max_size=200))
def test_any_page_is_survived(noise: str) -> None:
    """Whatever a server sends under the path."""
    seen = measured(f"vllm:num_requests_running{noise}", "b")
    assert seen is None or seen.running >= 0


class Page:
    """An endpoint whose metrics are played one after the other, the last one again and again."""

    def __init__(self, *pages: str | Exception, delay: float = 0.0) -> None:
        self.pulse = Pulse()
        self.paths: list[str] = []
        self._pages: Sequence[str | Exception] = pages
        self._delay = delay

    async def get_text(self, path: str) -> str:
        """The next page."""
        self.paths.append(path)
        await asyncio.sleep(self._delay)
        page = self._pages[min(len(self.paths), len(self._pages)) - 1]
        if isinstance(page, Exception):
            raise page
        return page


@pytest.fixture
def watch() -> Callable[..., tuple[Engines, list[BackendMeasured], list[int]]]:
    """Make a watch over pages; its events, and its clock as a list of one."""

    def make(seconds: float = 1.0, **pages: Page) -> tuple[Engines, list[BackendMeasured], list[int]]:
        told, now = list[BackendMeasured](), [0]
        paths = dict.fromkeys(pages, "/metrics") | {"mute": "/metrics"}
        return Engines(pages, paths, told.append, lambda: now[0], seconds), told, now

    return make


async def test_all_are_asked_at_once_and_in_time(
    watch: Callable[..., tuple[Engines, list[BackendMeasured], list[int]]],
) -> None:
    """One that does not answer keeps nobody waiting longer than was said, and is asked again."""
    slow, quick = Page(LLAMA, delay=30.0), Page(VLLM)
    engines, told, _ = watch(0.05, slow=slow, quick=quick)
    async with asyncio.timeout(5):
        await engines.look()
        await engines.look()
    assert [event.backend for event in told] == ["quick", "quick"]
    assert (len(slow.paths), len(quick.paths)) == (2, 2)
    assert engines.seen == {"quick": BackendMeasured("quick", 3, 7, 0.25)}


@pytest.mark.parametrize("trouble", [BackendUnavailable("down"), BackendBroken("cut"), TimeoutError()])
async def test_trouble_is_no_fault(
    watch: Callable[..., tuple[Engines, list[BackendMeasured], list[int]]], trouble: Exception
) -> None:
    """The health check says who is down; here the next round tries again."""
    page = Page(trouble, VLLM)
    engines, told, _ = watch(b=page)
    await engines.look()
    assert told == []
    await engines.look()
    assert told == [BackendMeasured("b", 3, 7, 0.25)]


@pytest.mark.parametrize("nothing", ["process_cpu_seconds_total 1\n", BackendRejected(404, {})])
async def test_who_has_nothing_to_say_is_asked_seldom(
    watch: Callable[..., tuple[Engines, list[BackendMeasured], list[int]]], nothing: str | Exception
) -> None:
    """A hosted API is not bothered every second; perhaps an engine comes up behind it."""
    page = Page(nothing, VLLM)
    engines, told, now = watch(b=page)
    for now[0] in (0, NANOS, round((SELDOM_SECONDS - 0.1) * NANOS)):
        await engines.look()
    assert (len(page.paths), told) == (1, [])
    now[0] = round(SELDOM_SECONDS * NANOS)
    await engines.look()
    await engines.look()
    assert (len(page.paths), len(told)) == (3, 2)


async def test_who_has_no_path_is_not_asked() -> None:
    """`metrics_path = ""`."""
    page = Page(VLLM)
    await Engines({"b": page}, {}, lambda event: None, lambda: 0, 1.0).look()
    assert page.paths == []
