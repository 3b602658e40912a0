"""The judge on real vLLM: as a chat model, and behind the score and classify endpoints, scoring as in llama.cpp."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

import httpx
import pytest

from reasoner import judge
from reasoner.engines import LlamaCpp, OpenAIServer
from reasoner.sets import selected
from reasoner.trace import solved
from tests.vllm.server import ROOT, VENV, VllmServer, serving

GGUF = ROOT / "reasoner" / "weights" / "reasoner-judge" / "model-q8_0.gguf"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not GGUF.is_file(), reason="no judge is shipped yet: train one with `make reasoner`"),
]


@pytest.fixture(scope="module")
def folder(vllm_available: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The judge as vLLM reads it, made of the file that llama.cpp reads."""
    made = tmp_path_factory.mktemp("judge")
    command = [str(VENV / "bin" / "python"), "-W", "ignore", "-m", "reasoner.training", "hf", str(GGUF), str(made)]
    subprocess.run(command, check=True, timeout=120, cwd=ROOT)
    (made / "template.jinja").write_text(judge.CHAT_TEMPLATE, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def scores() -> Mapping[tuple[str, str], float]:
    """Questions with replies, some right and some with a wrong number in them, and what llama.cpp scores them."""
    dice, asked = Random(0), []
    for question in selected("held-out", {"2": 2, "3": 2, "s2": 2, "s3": 2}).values():
        reply = judge.plain(solved(question))
        at = dice.choice([place for place, letter in enumerate(reply) if letter.isdigit()])
        asked += [(question.question, shown) for shown in (reply, f"{reply[:at]}7{reply[at + 1 :]}", reply[: at + 1])]
    with LlamaCpp(GGUF, parallel=1, max_tokens=1) as engine:
        return {(question, reply): judge.score(engine, question, reply) for question, reply in asked}


@pytest.fixture
def chatting(folder: Path) -> Iterator[VllmServer]:
    """vLLM with the judge as a chat model; gone before the other server starts."""
    with serving(folder, served_model_name="reasoner-judge") as server:
        yield server


@pytest.fixture(scope="module")
def pooling(folder: Path) -> Iterator[VllmServer]:
    """vLLM with the judge's two tokens as a classifier, and its template for pairs of question and reply."""
    flags = judge.vllm_flags(folder / "template.jinja")
    with serving(folder, served_model_name="reasoner-judge", flags=flags) as server:
        yield server


def test_chat_judge_scores_as_llama_cpp_does(chatting: VllmServer, scores: Mapping[tuple[str, str], float]) -> None:
    """One token with its candidates, from a folder that was made of the GGUF file."""
    with OpenAIServer(chatting.base_url, "reasoner-judge", max_tokens=1) as engine:
        found = {(question, reply): judge.score(engine, question, reply) for question, reply in scores}
    assert found == pytest.approx(scores, abs=0.02)


def test_score_endpoint_takes_question_and_reply(pooling: VllmServer, scores: Mapping[tuple[str, str], float]) -> None:
    """The template makes one prompt of the pair; the score is the chat judge's."""
    for (question, reply), expected in scores.items():
        asked = {"model": "reasoner-judge", "text_1": question, "text_2": reply}
        answer = httpx.post(f"{pooling.url}/score", json=asked, timeout=30).raise_for_status().json()
        assert answer["data"][0]["score"] == pytest.approx(expected, abs=0.02)


def test_classify_endpoint_takes_the_whole_prompt(pooling: VllmServer, scores: Mapping[tuple[str, str], float]) -> None:
    """Many prompts at once, each with one probability."""
    asked = {"model": "reasoner-judge", "input": [judge.prompt(question, reply) for question, reply in scores]}
    answer = httpx.post(f"{pooling.url}/classify", json=asked, timeout=30).raise_for_status().json()
    assert [each["probs"][0] for each in answer["data"]] == pytest.approx(list(scores.values()), abs=0.02)
