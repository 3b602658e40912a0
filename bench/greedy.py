"""Greedy answers of an engine that runs a demonstration model, token by token, and the processor time that they took.

llama.cpp and vLLM are asked over HTTP, as processes of their own on one core. transformers has no server and answers in
a program of its own environment (`bench.greedy_transformers`), one question at a time.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from bench.overhead import cpu_seconds
from bench.quiet import Moment, moment
from tests.vllm.server import ROOT, serving

TRAINING = ROOT / ".venv-reasoner" / "bin" / "python"
"""The interpreter of reasoner/training/install.sh, which has transformers and gguf."""
MAX_TOKENS = 900
TIMEOUT = 120.0
LIMIT = 1800.0
"""Seconds for everything that transformers is asked."""
FRESH = ("--no-enable-prefix-caching",)
"""Of vLLM: a question that is asked again would otherwise find its prompt in the cache."""
QUIET: Mapping[str, str] = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A generated token, the likeliest other one in its place, and the log-probabilities of both (nats)."""

    token: int
    logprob: float
    other: int
    other_logprob: float


@dataclass(frozen=True, slots=True)
class Said:
    """An answer as text, and, where they were asked for, its prompt's tokens and its own, end of turn included."""

    text: str
    count: int
    prompt: tuple[int, ...] = ()
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """Answers to some questions, and the processor seconds that the engine took for all of them.

    `others`: processors that other work kept busy meanwhile.
    """

    said: tuple[Said, ...]
    cpu: float
    others: float

    @property
    def tokens(self) -> int:
        """Generated."""
        return sum(each.count for each in self.said)


@dataclass(frozen=True, slots=True)
class Engine:
    """A server of one model: a client of it, and the processes whose time counts. `own`: options that only it knows."""

    client: httpx.Client
    model: str
    pids: Sequence[int]
    own: Mapping[str, Any]

    def run(self, questions: Sequence[str], streams: int, *, explained: bool = False) -> Block:
        """The answers, so many questions at a time. `explained`: with the choice of every token."""
        began, spent = moment(self.pids), self._spent()
        with ThreadPoolExecutor(streams) as threads:
            said = tuple(threads.map(lambda question: self._ask(question, explained), questions))
        return Block(said, self._spent() - spent, moment(self.pids).others_since(began))

    def _spent(self) -> float:
        return sum(map(cpu_seconds, self.pids))

    def _ask(self, question: str, explained: bool) -> Said:
        messages = [{"role": "user", "content": question}]
        body = {"model": self.model, "messages": messages, "temperature": 0.0, "max_tokens": MAX_TOKENS, **self.own}
        asked = {"logprobs": True, "top_logprobs": 2, "return_token_ids": True, "return_tokens_as_token_ids": True}
        response = self.client.post("/v1/chat/completions", json=body | asked if explained else body)
        if response.status_code != httpx.codes.OK:
            raise RuntimeError(f"{self.model}: {response.status_code} {response.text}")
        whole = response.json()
        [choice] = whole["choices"]
        text, count = choice["message"]["content"], whole["usage"]["completion_tokens"]
        if not explained:
            return Said(text, count)
        prompt = whole.get("prompt_token_ids") or self._prompt(messages)
        return Said(text, count, tuple(prompt), tuple(map(chosen, choice["logprobs"]["content"])))

    def _prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens that llama.cpp makes of a conversation; it does not send them with the answer."""
        rendered = self.client.post("/apply-template", json={"messages": messages}).json()["prompt"]
        body = {"content": rendered, "add_special": True, "parse_special": True}
        tokens: list[int] = self.client.post("/tokenize", json=body).json()["tokens"]
        return tokens


def chosen(entry: Mapping[str, Any]) -> Choice:
    """An entry of a chat's log-probabilities with two candidates, of llama.cpp or of vLLM."""
    token = _number(entry)
    others = [each for each in entry["top_logprobs"] if _number(each) != token]
    return Choice(token, entry["logprob"], _number(others[0]), others[0]["logprob"])


def _number(entry: Mapping[str, Any]) -> int:
    """llama.cpp gives a token's number by itself, vLLM in place of its text."""
    return int(entry["id"] if "id" in entry else entry["token"].removeprefix("token_id:"))


@contextmanager
def llama(path: Path, streams: int, core: int, *, flash: bool = True) -> Iterator[Engine]:
    """llama.cpp with a GGUF file, on one core, with room for so many requests at once; `flash`: see LlamaCpp."""
    command = [sys.executable, "-m", "bench.greedy_llama", str(path), str(streams), "on" if flash else "off"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            socket = process.stdout.readline().strip()
            if not socket:
                raise RuntimeError(f"llama.cpp did not start with {path}")
            pin(process.pid, core)
            transport = httpx.HTTPTransport(uds=socket)
            with httpx.Client(transport=transport, base_url="http://llama.cpp", timeout=TIMEOUT) as client:
                # The thought belongs to the text; and a question asked again is to be read again.
                own = {"reasoning_format": "none", "cache_prompt": False}
                yield Engine(client, path.stem, (process.pid,), own)
        finally:
            process.stdin.close()


@contextmanager
def vllm(folder: Path, flags: Sequence[str], core: int) -> Iterator[Engine]:
    """vLLM with a folder of transformers, both of its processes on one core."""
    with serving(folder, served_model_name=folder.name, flags=[*FRESH, *flags]) as server:
        pids = (server.pid, server.engine_pid)
        for pid in pids:
            pin(pid, core)
        with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
            yield Engine(client, folder.name, pids, {"chat_template_kwargs": {"enable_thinking": False}})


def pin(pid: int, core: int) -> None:
    """Keep a process, with all the threads that it has, on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def transformers(
    folder: Path, questions: Sequence[str], blocks: int, core: int, python: Path = TRAINING
) -> list[Block]:
    """What transformers answers in 32-bit floats: every `blocks`-th question in a block. `python`: one that has it."""
    asked = {"folder": str(folder), "questions": questions, "blocks": blocks, "max_tokens": MAX_TOKENS, "core": core}
    began = _with_children()
    text = _told(python, "-m", "bench.greedy_transformers", stdin=json.dumps(asked))
    others = _with_children().others_since(began)
    return [_block(block, others) for block in json.loads(text.splitlines()[-1])]


def _with_children() -> Moment:
    """Now; the time of children that have ended is this process's own."""
    used, now = resource.getrusage(resource.RUSAGE_CHILDREN), moment(())
    return replace(now, own=now.own + used.ru_utime + used.ru_stime)


def _block(block: Mapping[str, Any], others: float) -> Block:
    """A block as `bench.greedy_transformers` writes it."""
    said = (
        Said(each["text"], len(each["choices"]), tuple(each["prompt"]), tuple(Choice(*c) for c in each["choices"]))
        for each in block["said"]
    )
    return Block(tuple(said), block["cpu"], others)


@contextmanager
def converted(folder: Path, form: str) -> Iterator[Path]:
    """A GGUF file of the folder's own weights: `form` f16 or q8_0; gone when the context is left."""
    with tempfile.TemporaryDirectory(prefix="quorate-") as place:
        path = Path(place) / f"{folder.name}-{form}.gguf"
        _told(TRAINING, "-m", "reasoner.training", "gguf", str(folder), str(path), "--form", form)
        yield path


def _told(python: Path, *arguments: str, stdin: str = "") -> str:
    """What a program says in another environment; RuntimeError with its last words if it fails."""
    if not python.exists():
        raise RuntimeError(f"no {python}: run reasoner/training/install.sh")
    done = subprocess.run(
        [str(python), "-W", "ignore", *arguments],
        cwd=ROOT,
        env=os.environ | QUIET,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[:2])} failed: {done.stderr[-2000:]}")
    return done.stdout
