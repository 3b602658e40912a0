"""The same model says the same in transformers, in vLLM and in llama.cpp, token by token."""

from collections.abc import Iterator

import httpx
import pytest

from bench.agreement import Agreement, Bench, names, questions
from bench.greedy import TIMEOUT, TRAINING, Engine, converted, llama, transformers
from tests.vllm.server import MODEL, VENV, VllmServer

EVERY = 5
"""A fifth of the questions that `python -m bench.agreement` asks: some of every family."""


@pytest.fixture(scope="session")
def bench(vllm_available: None) -> Bench:
    """What transformers says; vLLM's environment has it."""
    asked = dict(list(questions().items())[::EVERY])
    [block] = transformers(MODEL, list(asked.values()), 1, 0, python=VENV / "bin" / "python")
    return Bench(MODEL, "", asked, names(MODEL / "tokenizer.json"), block.said)


@pytest.fixture
def served(vllm: VllmServer) -> Iterator[Engine]:
    """The running server."""
    with httpx.Client(base_url=vllm.url, timeout=TIMEOUT) as client:
        yield Engine(client, vllm.model, (vllm.engine_pid,), {"chat_template_kwargs": {"enable_thinking": False}})


def check(found: Agreement, drift: float) -> None:
    """Answers part at ties and nowhere else, and few do; `drift`: median difference of a token's log-probability."""
    assert found.prompts == found.questions == 20
    assert [each for each in found.differences if not each.tie] == []
    assert found.same >= 18
    assert found.drift[0] < drift


def test_vllm_says_what_transformers_says(bench: Bench, served: Engine) -> None:
    """Eight questions at a time: both compute in 32-bit floats, and differ in nothing but the order of sums."""
    check(bench.agreement("vLLM", 8, served), drift=1e-6)


@pytest.mark.skipif(not TRAINING.exists(), reason="makes a GGUF file: run reasoner/training/install.sh")
def test_llama_cpp_says_what_transformers_says(bench: Bench) -> None:
    """Eight at a time, from a file made of the same folder; llama.cpp keeps keys, values and inputs in 16 bits."""
    with converted(MODEL, "f16") as path, llama(path, 8, 0) as engine:
        check(bench.agreement("llama.cpp f16", 8, engine), drift=1e-4)
