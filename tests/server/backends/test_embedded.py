"""The embedded engine with the real models: its wire, its aborts, its process."""

import asyncio
import itertools
import json
import os
import re
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import BackendBroken, BackendError, BackendRejected, BackendUnavailable
from server.backends.base import Call, Chunk
from server.backends.embedded import EmbeddedBackend
from server.backends.llama_process import Limits

pytest.importorskip("xllamacpp", reason="the extra `embedded` is not installed")

ROOT = Path(__file__).parents[3]
SMALL = ROOT / "reasoner/weights/reasoner-small/model-q8_0.gguf"
LARGE = ROOT / "reasoner/weights/reasoner-large/model-q8_0.gguf"
EASY = "Mia has 44 marbles. Mia gets 3 bags with 5 marbles each. How many marbles does Mia have now?"
ASK = [{"role": "user", "content": EASY}]
THOUGHT = "<think>\n1. gains 3*5: 3*5=15, 44+15="
TOOLS = [{"type": "function", "function": {"name": "add"}}]
QUICK = Limits(start=15.0, stop=2.0, restart_wait=10.0, backoff=0.05)


def ask(**options: Any) -> Call:
    """An easy question with a fixed seed."""
    return Call({"model": "any", "messages": ASK, "max_tokens": 400, "seed": 3, **options})


def json_format(schema: Any) -> dict[str, Any]:
    """OpenAI's `response_format` for a schema."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def endless(seed: int) -> Call:
    """A request that runs until its slot is full: with the `roomy` engine, seconds."""
    return ask(ignore_eos=True, max_tokens=None, seed=seed)


async def chunks_of(backend: EmbeddedBackend, call: Call) -> list[Chunk]:
    """The whole stream."""
    async with backend.stream(call) as chunks:
        return [chunk async for chunk in chunks]


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something outside this process, which sends no event."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.005)


async def running(backend: EmbeddedBackend, wanted: int) -> float:
    """Seconds from now until the engine's own gauge says that `wanted` requests run."""
    start = time.perf_counter()
    async with asyncio.timeout(10):
        while (await backend.metrics()).running != wanted:  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.002)
    return time.perf_counter() - start


def left_in(folder: Path) -> list[Path]:
    """What lies in the folder now."""
    return list(folder.iterdir())


def gone(pid: int) -> bool:
    """Whether a process has ended; in a container nobody may have reaped it yet."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (ProcessLookupError, FileNotFoundError):
        return True


def stopped(pid: int) -> bool:
    """Whether every thread of a process has stopped; a signal reaches them one after the other."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(thread.read_text().rpartition(") ")[2].startswith("T") for thread in threads)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for temporary files, so that a test sees what is left behind.

    Not `tmp_path`, whose name is too long for a socket; but that one must exist before the place is changed.
    """
    assert tmp_path.exists()
    with tempfile.TemporaryDirectory(prefix="q") as path:
        monkeypatch.setattr(tempfile, "tempdir", path)
        yield Path(path)


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[EmbeddedBackend]:
    """The small model, serving."""
    backend = EmbeddedBackend(name="reasoner-small", model_path=SMALL, limits=QUICK)
    await backend.start()
    yield backend
    await backend.aclose()


@pytest.fixture
async def roomy(folder: Path) -> AsyncIterator[EmbeddedBackend]:
    """The small model with more room than it was trained for, so that a request can run for seconds."""
    backend = EmbeddedBackend(name="reasoner-small", model_path=SMALL, slots=8, context=16384, limits=QUICK)
    await backend.start()
    yield backend
    await backend.aclose()


# The wire


async def test_a_stream_has_the_shape_of_vllm(engine: EmbeddedBackend) -> None:
    """Role first, then reasoning, then content, then the finish reason, then usage without choices."""
    chunks = await chunks_of(engine, ask())
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    kinds = [kind for kind, _ in itertools.groupby(next(iter(delta), "none") for delta in deltas[:-1])]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert [kind for kind in kinds if kind != "none"] == ["role", "reasoning_content", "content"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-3:-1]] == [None, "stop"]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["prompt_tokens"] > 0
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {"reasoner-small"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert not any("timings" in chunk for chunk in chunks)


async def test_thoughts_and_answer_are_told_apart(engine: EmbeddedBackend) -> None:
    """No tag is left in either part, and the answer begins with its first word."""
    message = (await engine.complete(ask(temperature=0)))["choices"][0]["message"]
    assert message["content"].startswith("The answer is \\boxed{")
    assert message["reasoning_content"].startswith("0. ") and "3*5=15" in message["reasoning_content"]
    assert "think>" not in message["content"] + message["reasoning_content"]


async def test_a_plain_answer_is_the_stream_put_together(engine: EmbeddedBackend) -> None:
    """Plain and streamed answers agree in text, finish reason and usage."""
    chunks = await chunks_of(engine, ask())
    plain = await engine.complete(ask())
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    message = plain["choices"][0]["message"]
    for part in ("content", "reasoning_content"):
        assert message[part] == "".join(delta.get(part) or "" for delta in deltas)
    assert plain["object"] == "chat.completion" and plain["choices"][0]["finish_reason"] == "stop"
    assert plain["usage"]["completion_tokens"] == chunks[-1]["usage"]["completion_tokens"]


async def test_usage_sums_every_choice(engine: EmbeddedBackend) -> None:
    """With n > 1 the completion tokens are those of all choices: their log-probability entries and their ends."""
    body = await engine.complete(ask(n=3, logprobs=True))
    entries = [len(choice["logprobs"]["content"]) for choice in body["choices"]]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert body["usage"]["completion_tokens"] == sum(entries) + 3
    assert body["usage"]["total_tokens"] == body["usage"]["completion_tokens"] + body["usage"]["prompt_tokens"]
    assert 0 < body["usage"]["completion_tokens_details"]["reasoning_tokens"] < sum(entries)


async def test_usage_counts_the_whole_prompt(engine: EmbeddedBackend) -> None:
    """A digit is a token of these models: eight digits more in the question are eight prompt tokens more."""
    longer = [{"role": "user", "content": EASY.replace("44", "4444444444")}]
    bodies = [await engine.complete(ask(messages=each, max_tokens=1)) for each in (ASK, longer)]
    short, long = (body["usage"]["prompt_tokens"] for body in bodies)
    assert long - short == 8 < short


async def test_usage_can_come_with_every_chunk(engine: EmbeddedBackend) -> None:
    """With continuous_usage_stats the tokens of a sample are known when it is aborted."""
    chunks = await chunks_of(engine, ask(max_tokens=7, stream_options={"continuous_usage_stats": True}))
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks if "usage" in chunk]
    assert counts == [1, 2, 3, 4, 5, 6, 7, 7]


@pytest.mark.parametrize("asked", [0, 3])
async def test_log_probabilities_have_as_many_alternatives_as_asked(engine: EmbeddedBackend, asked: int) -> None:
    """top_logprobs is what was asked, not llama.cpp's twenty."""
    body = await engine.complete(ask(logprobs=True, top_logprobs=asked, max_tokens=5))
    entries = body["choices"][0]["logprobs"]["content"]
    assert len(entries) == 5
    assert {len(entry["top_logprobs"]) for entry in entries} == {asked}
    assert all(entry["logprob"] <= 0 for entry in entries)


async def test_the_same_seed_gives_the_same_answer_when_alone(engine: EmbeddedBackend) -> None:
    """Two requests with one seed agree; ten seeds do not all agree."""
    first, second = [(await engine.complete(ask(seed=11)))["choices"][0]["message"] for _ in range(2)]
    others = {json.dumps((await engine.complete(ask(seed=s)))["choices"][0]["message"]) for s in range(10)}
    assert first == second
    assert len(others) > 1


async def test_limits_of_an_answer_are_kept(engine: EmbeddedBackend) -> None:
    """A stop string ends with "stop" before it; max_completion_tokens ends with "length"."""
    stopped = (await engine.complete(ask(temperature=0, stop=["So "])))["choices"][0]
    cut = await engine.complete(ask(max_tokens=None, max_completion_tokens=5))
    assert stopped["finish_reason"] == "stop" and stopped["message"]["content"] is None
    assert "3*5=15" in (thought := stopped["message"]["reasoning_content"]) and "So " not in thought
    assert cut["choices"][0]["finish_reason"] == "length" and cut["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    "constraint",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"enum": ["yes", "no"]}}}},
        {"structured_outputs": {"choice": ['"yes"', '"no"']}},
        {"structured_outputs": {"json": '{"enum": ["yes", "no"]}'}},
        {"guided_json": {"enum": ["yes", "no"]}},
        {"guided_choice": ['"yes"', '"no"']},
    ],
)
async def test_a_constrained_answer_is_content(engine: EmbeddedBackend, constraint: dict[str, Any]) -> None:
    """A grammar from the first token leaves no thought: all of it is content, and it obeys."""
    message = (await engine.complete(ask(**constraint)))["choices"][0]["message"]
    assert json.loads(message["content"]) in ("yes", "no")
    assert "reasoning_content" not in message


async def test_logit_bias_forbids_a_token(engine: EmbeddedBackend) -> None:
    """A token biased to -100 does not come; without the bias it comes first."""
    entries = (await engine.complete(ask(logprobs=True, max_tokens=1)))["choices"][0]["logprobs"]["content"]
    token = str(entries[0]["id"])
    biased = await engine.complete(ask(logprobs=True, max_tokens=1, logit_bias={token: -100}))
    assert str(biased["choices"][0]["logprobs"]["content"][0]["id"]) != token


def continued(text: str, **options: Any) -> Call:
    """The same question with the beginning of an answer."""
    messages = [*ASK, {"role": "assistant", "content": text}]
    return ask(messages=messages, continue_final_message=True, add_generation_prompt=False, **options)


async def test_an_open_thought_is_continued_as_reasoning(engine: EmbeddedBackend) -> None:
    """The reply has the new text only: the rest of the thought, then the answer."""
    chunks = await chunks_of(engine, continued(THOUGHT, temperature=0))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("reasoning_content", "") for delta in deltas).startswith("59.")
    assert "boxed" in "".join(delta.get("content", "") for delta in deltas)
    assert len({(chunk["id"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1


async def test_a_closed_thought_is_continued_as_content(engine: EmbeddedBackend) -> None:
    """After `</think>` the new text is the answer's, which is how an answer is forced."""
    text = THOUGHT + "59.\nSo 59.\n</think>\nThe answer is \\boxed{"
    message = (await engine.complete(continued(text, temperature=0)))["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "59}."}


async def test_a_continued_prompt_is_the_fresh_prompt_and_the_text(engine: EmbeddedBackend) -> None:
    """Continuing what the generation prompt itself opens costs exactly the tokens of a fresh prompt."""
    fresh = await engine.complete(ask(max_tokens=1))
    continuing = await engine.complete(continued("<think>\n", max_tokens=1))
    assert continuing["usage"]["prompt_tokens"] == fresh["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"n": 17}, "n", None),
        ({"messages": [{"role": "user", "content": "Mia " * 3000}]}, "messages", "context_length_exceeded"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", None),
        ({"continue_final_message": True}, "add_generation_prompt", None),
        ({"structured_outputs": {"grammar": "root ::= ("}}, "structured_outputs", None),
        ({"structured_outputs": {"json": {"$ref": "#/none"}}}, "structured_outputs", None),
        ({"structured_outputs": {"choice": ["a"]}, "tools": TOOLS}, "structured_outputs", None),
        ({"response_format": json_format({"type": "bogus"})}, "response_format", None),
        ({"response_format": json_format({"minLength": 5, "maxLength": 2, "type": "string"})}, "response_format", None),
        ({"structured_outputs": {"grammar": "root ::= [a-z]{5,2}"}}, "structured_outputs", None),
        ({"tools": TOOLS, "tool_choice": "required"}, "tool_choice", None),
        ({"messages": [{"role": "user"}]}, "messages", None),
        ({"tools": [{"type": "function"}]}, "tools", None),
        ({"structured_outputs": {"regex": "a+"}}, "structured_outputs", None),
    ],
)
async def test_what_the_engine_cannot_do_is_refused(
    engine: EmbeddedBackend, options: dict[str, Any], param: str | None, code: str | None
) -> None:
    """A 400 that names the field, plain and streamed, and the engine goes on serving."""
    with pytest.raises(BackendRejected) as plain:
        await engine.complete(ask(**options))
    with pytest.raises(BackendRejected):
        async with engine.stream(ask(**options)):
            pass
    assert (plain.value.status, plain.value.param, plain.value.code) == (400, param, code)
    assert await engine.healthy()


async def test_the_large_model_answers_too() -> None:
    """The same code serves the second demonstration model, with a context of the caller's choice."""
    backend = EmbeddedBackend(name="reasoner-large", model_path=LARGE, slots=2, context=512, limits=QUICK)
    await backend.start()
    try:
        body = await backend.complete(ask(temperature=0))
        with pytest.raises(BackendRejected, match="512"):
            await backend.complete(ask(messages=[{"role": "user", "content": "Mia " * 600}]))
    finally:
        await backend.aclose()
    assert "\\boxed{59}" in body["choices"][0]["message"]["content"]


KNOWN_TEMPLATE = b"""{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% if m['reasoning_content'] %}\
{{ '<think>\\n' + m['reasoning_content'] + '\\n</think>\\n\\n' }}{% endif %}\
{{ m['content'] + '<|im_end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}"""


def with_template(template: bytes) -> bytes:
    """The small model with another chat template; a comment fills it up so that the weights stay aligned."""
    config = json.loads((SMALL.parent / "tokenizer_config.json").read_text())
    old = config["chat_template"].encode()
    new = template + b"{#" + b" " * ((len(old) - len(template) - 4) % 32) + b"#}"
    before, after = SMALL.read_bytes().split(struct.pack("<Q", len(old)) + old)
    return before + struct.pack("<Q", len(new)) + new + after


async def test_a_template_that_the_engine_knows_is_split_once(tmp_path: Path) -> None:
    """llama.cpp splits such answers itself: same result, and it may think before JSON but not before a choice."""
    (tmp_path / "model.gguf").write_bytes(with_template(KNOWN_TEMPLATE))
    backend = EmbeddedBackend(name="x", model_path=tmp_path / "model.gguf", limits=QUICK)
    await backend.start()
    try:
        calls = ask(), ask(structured_outputs={"choice": ["yes"]}), ask(structured_outputs={"json": {"enum": ["no"]}})
        plain, choice, thought = [(await backend.complete(call))["choices"][0]["message"] for call in calls]
    finally:
        await backend.aclose()
    assert plain["reasoning_content"].startswith("0. ") and plain["content"].startswith("The answer is")
    assert choice == {"role": "assistant", "content": "yes"}
    assert thought["reasoning_content"].startswith("0. ") and thought["content"] == '"no"'


# Load and aborts


async def test_more_requests_than_slots_are_all_answered() -> None:
    """Requests beyond the slots wait inside the engine; the connection they reuse may have been closed meanwhile."""
    backend = EmbeddedBackend(name="narrow", model_path=SMALL, slots=2, limits=QUICK)
    await backend.start()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(backend.complete(ask(seed=seed, max_tokens=40))) for seed in range(12)]
    finally:
        await backend.aclose()
    assert all(task.result()["usage"]["completion_tokens"] == 40 for task in tasks)


async def read_on(backend: EmbeddedBackend, call: Call, begun: asyncio.Semaphore) -> None:
    """Read a stream to its end, which an abort is to prevent; tells when it has begun."""
    async with backend.stream(call) as chunks:
        await anext(chunks)
        begun.release()
        async for _ in chunks:
            pass


async def abort_all(backend: EmbeddedBackend, width: int) -> float:
    """Start `width` endless streams, abort them at once; seconds until the engine runs nothing."""
    begun = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(read_on(backend, endless(seed), begun)) for seed in range(width)]
        for _ in tasks:
            await begun.acquire()
        assert (await backend.metrics()).running == width
        for task in tasks:
            task.cancel()
    return await running(backend, 0)


@pytest.mark.parametrize("width", [1, 8])
async def test_aborted_streams_free_their_slots(roomy: EmbeddedBackend, width: int) -> None:
    """Within 100 ms the engine works on none of them (the best of three, on a machine that has other work)."""
    assert min([await abort_all(roomy, width) for _ in range(3)]) < 0.1


async def test_leaving_a_stream_early_frees_its_slot(roomy: EmbeddedBackend) -> None:
    """Leaving the context without reading on is an abort."""
    async with roomy.stream(endless(1)) as chunks:
        await anext(chunks)
    assert await running(roomy, 0) < 1.0


async def test_a_cancelled_plain_request_frees_its_slot(roomy: EmbeddedBackend) -> None:
    """llama.cpp would go on with a plain request; ours is streamed underneath."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(roomy.complete(endless(1)))
        await running(roomy, 1)
        task.cancel()
    assert await running(roomy, 0) < 1.0


# The process


async def test_the_socket_is_private_and_goes_with_the_engine(folder: Path) -> None:
    """One folder of mode 0700 with a short path, which is gone after closing, as is the process."""
    backend = EmbeddedBackend(name="x", model_path=SMALL, limits=QUICK)
    await backend.start()
    ((private, mode),) = [(path, stat.S_IMODE(path.stat().st_mode)) for path in left_in(folder)]
    pid = backend.pid
    healthy = await backend.healthy()
    await backend.aclose()
    await backend.aclose()
    assert mode == 0o700 and len(str(private / "engine.sock")) < 100
    assert healthy and not await backend.healthy()
    assert left_in(folder) == [] and pid is not None and gone(pid)
    with pytest.raises(BackendUnavailable, match="not been started"):
        await backend.complete(ask())


async def test_a_crash_breaks_the_running_requests_and_is_recovered_from(roomy: EmbeddedBackend) -> None:
    """The stream in flight fails with a backend error; the next request is served by a new process."""
    pid = roomy.pid
    assert pid is not None
    with pytest.raises(BackendError) as failure:
        async with roomy.stream(endless(1)) as chunks:
            async for _ in chunks:
                os.kill(pid, signal.SIGKILL)
    await until(lambda: roomy.pid != pid)
    body = await roomy.complete(ask(max_tokens=3))
    assert isinstance(failure.value, BackendBroken)
    assert body["usage"]["completion_tokens"] == 3 and await roomy.healthy()


async def test_a_frozen_engine_is_killed_and_replaced(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An engine that lives but answers nothing is killed at the third health check, and another one serves."""
    backend = EmbeddedBackend(name="x", model_path=SMALL, connect_seconds=0.5, limits=QUICK)
    await backend.start()
    try:
        pid = backend.pid
        assert pid is not None and await backend.healthy()
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: stopped(pid))
        assert [await backend.healthy() for _ in range(3)] == [False] * 3
        assert gone(pid)
        body = await backend.complete(ask(max_tokens=3))
        assert backend.pid not in (None, pid) and body["usage"]["completion_tokens"] == 3
    finally:
        await backend.aclose()
    assert "missed 3 health checks" in caplog.text and left_in(folder) == []


SCRIPT = """
import asyncio, os, sys, time
from server.backends.embedded import EmbeddedBackend

async def main():
    backend = EmbeddedBackend(name="x", model_path=sys.argv[1])
    await backend.start()
    holder = os.fork()  # keeps the engine's standard input open, as a pool of worker processes would
    if holder == 0:
        time.sleep(60)
        os._exit(0)
    print(backend.pid, holder, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def gateway(folder: Path) -> tuple[subprocess.Popen[str], int, int]:
    """Another process with an engine: itself, its engine's process id, and that of its worker."""
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, str(SMALL)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    assert parent.stdout is not None
    pid, holder = map(int, parent.stdout.readline().split())
    return parent, pid, holder


async def test_a_killed_gateway_leaves_no_engine(folder: Path) -> None:
    """SIGKILL of the parent ends the child and its folder, even while another process holds the child's input open."""
    parent, pid, holder = await asyncio.to_thread(gateway, folder)
    try:
        parent.kill()
        await until(lambda: gone(pid) and not left_in(folder))
    finally:
        os.kill(holder, signal.SIGKILL)
        await asyncio.to_thread(parent.communicate)


async def refusal(path: Path, folder: Path) -> str:
    """The message with which the engine refuses to start; nothing is left behind."""
    backend = EmbeddedBackend(name="x", model_path=path, limits=QUICK)
    with pytest.raises(BackendUnavailable) as failure:
        await backend.start()
    assert left_in(folder) == [] and backend.pid is None
    return failure.value.message


async def test_unusable_model_files_are_named(folder: Path, tmp_path: Path) -> None:
    """A missing file, another kind of file and a cut file each get a sentence with their path."""
    (tmp_path / "notes.txt").write_text("not a model, but long enough to have a header")
    (tmp_path / "cut.gguf").write_bytes(SMALL.read_bytes()[:400_000])
    assert re.search("missing.gguf cannot be read: No such file", await refusal(tmp_path / "missing.gguf", folder))
    assert re.search("notes.txt is not a GGUF model file", await refusal(tmp_path / "notes.txt", folder))
    cut = await refusal(tmp_path / "cut.gguf", folder)
    assert "could not load" in cut and "cut.gguf" in cut and "corrupted or incomplete" in cut


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("raise ModuleNotFoundError('No module', name='xllamacpp')", "pip install 'quorate[embedded]'"),
        ("raise ImportError('libgomp.so.1: cannot open shared object file')", "apt-get install libgomp1"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "AVX2"),
        ("import sys; sys.exit('broken' * 9)", "broken"),
    ],
)
async def test_a_missing_engine_says_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, expected: str
) -> None:
    """No package, no libgomp, a processor without AVX2: each is a sentence with the remedy."""
    (tmp_path / "xllamacpp.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert expected in await refusal(SMALL, folder)


async def test_a_cancelled_start_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling while the model loads ends the child and removes its folder."""
    (tmp_path / "xllamacpp.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    backend = EmbeddedBackend(name="x", model_path=SMALL, limits=Limits(stop=0.1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await backend.start()
    assert left_in(folder) == []
