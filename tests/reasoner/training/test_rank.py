"""The judge behind llama.cpp's rerank endpoint: turned, but the same model."""

import importlib
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from reasoner import judge
from reasoner.engines import LlamaCpp
from reasoner.training import tokens
from reasoner.training.__main__ import main
from reasoner.training.checkpoint import Checkpoint, Progress
from reasoner.training.network import Llama
from reasoner.training.rank import OUTPUT, ranking, reflection

QUESTION, REPLIES = "What is 3+4?", ("3+4=7.\nSo 7.", "3+4=8.", "7")


@pytest.fixture
def checkpoint(shape: Any) -> Checkpoint:
    """A judge as it was drawn, with norms that weigh, and a tokeniser that has both verdicts."""
    words = "What is this right? So answer boxed seven quietly wizards bake brown bread"
    tokenizer = tokens.train(["Yes", "No", "Yes", "No", words] * 2000, 300)
    dice = torch.Generator().manual_seed(1)
    model = Llama(shape, seed=4)
    ids = torch.tensor([tokenizer.encode(judge.prompt(QUESTION, REPLIES[0])).ids])
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.copy_(0.5 + torch.rand(weight.shape, generator=dice))
        # Towards what it says, so that verdicts are likely; neither of them is in a prompt.
        said = model.hidden(ids)[0, -1]
        for verdict in (judge.RIGHT, judge.WRONG):
            noise = 0.1 * torch.randn(said.shape, generator=dice)
            model.embedding.weight[tokenizer.token_to_id(verdict)] = said / said.norm() + noise
    weights = {name: weight.detach() for name, weight in model.state_dict().items()}
    return Checkpoint("toy", 0, shape, tokenizer.to_str(), weights, Progress(), template=judge.CHAT_TEMPLATE)


def test_reflection_is_orthogonal() -> None:
    """It takes the vector to the first axis, and keeps what is there already."""
    vector = torch.tensor([3.0, -4.0, 12.0], dtype=torch.float64)
    turn = reflection(vector)
    torch.testing.assert_close(turn @ turn.T, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(turn @ vector, torch.tensor([13.0, 0.0, 0.0], dtype=torch.float64))
    assert torch.equal(reflection(torch.tensor([2.0, 0.0])), torch.eye(2))


def test_first_channel_is_the_difference_of_logits(checkpoint: Checkpoint) -> None:
    """At every token; and the output head of its own gives all logits as they were."""
    turned = ranking(checkpoint, "Yes", "No")
    before, after = checkpoint.model(), Llama(checkpoint.shape)
    after.load_state_dict({name: weight for name, weight in turned.weights.items() if name != OUTPUT})
    ids = torch.randint(5, 300, (2, 40), generator=torch.Generator().manual_seed(0))
    told = json.loads(checkpoint.tokenizer)["model"]["vocab"]
    with torch.no_grad():
        logits, hidden = before(ids), after.hidden(ids)
    torch.testing.assert_close(hidden @ turned.weights[OUTPUT].T, logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(hidden[..., 0], logits[..., told["Yes"]] - logits[..., told["No"]], rtol=0, atol=1e-4)


def test_verdicts_must_be_tokens(checkpoint: Checkpoint) -> None:
    """The message names them."""
    with pytest.raises(ValueError, match="'Maybe' and 'No' are to be single tokens"):
        ranking(checkpoint, "Maybe", "No")


def reranked(path: Path) -> list[float]:
    """What llama.cpp's rerank endpoint gives each reply."""
    llama = pytest.importorskip("xllamacpp")
    params = llama.CommonParams()
    params.model.path = str(path)
    with tempfile.TemporaryDirectory() as folder:
        params.hostnames = [f"{folder}/engine.sock"]
        params.embedding, params.pooling_type = True, llama.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
        params.n_parallel, params.n_ctx, params.n_batch, params.n_ubatch = 1, 64, 64, 64
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.offline, params.ui, params.verbosity = True, False, 0
        server = llama.Server(params)
        answer = server.handle_rerank({"query": QUESTION, "documents": list(REPLIES)})
        del server
    found = (json.loads(answer) if isinstance(answer, str | bytes) else answer)["results"]
    return [each["relevance_score"] for each in sorted(found, key=lambda each: each["index"])]


@pytest.mark.timeout(60)
def test_rerank_endpoint_gives_the_odds_of_the_chat(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """The relevance is the logarithm of the score's odds, and the file that ranks answers chats as well."""
    pytest.importorskip("gguf")
    export = importlib.import_module("reasoner.training.export_gguf")
    export.export(checkpoint, tmp_path / "judge.gguf", "f16", "toy")
    assert main(["rank", str(tmp_path / "judge.gguf"), str(tmp_path / "rank.gguf")]) == 0
    relevances = reranked(tmp_path / "rank.gguf")
    for name in ("judge", "rank"):
        with LlamaCpp(tmp_path / f"{name}.gguf", parallel=1, context=64, max_tokens=1) as engine:
            scores = [judge.score(engine, QUESTION, reply) for reply in REPLIES]
        assert [math.log(score / (1 - score)) for score in scores] == pytest.approx(relevances, abs=0.02)
    assert len({round(relevance, 3) for relevance in relevances}) == len(REPLIES)
