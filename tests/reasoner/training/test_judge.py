"""The judge's whole way: recordings, training, export with a template of its own, llama.cpp, figures."""

import importlib
import json
import math
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("torch")

from reasoner.__main__ import main
from reasoner.examples import text
from reasoner.judge import CHAT_TEMPLATE, message, prompt
from reasoner.record import Line, save
from reasoner.training import tokens
from reasoner.training.loop import Trainer
from reasoner.training.recipe import Recipe, Stage
from reasoner.verdicts import Verdicts


def reply(right: bool, number: int) -> dict[str, Any]:
    """A sample whose lines say whether it is right."""
    said = "".join(f"{line}. {'good' if right else 'bad'} {number + line}.\n" for line in range(3))
    return {
        "answer": "7" if right else "8",
        "correct": right,
        "tokens": 9,
        "text": f"{said}</think>\nSo {number}.",
        "sound": 4 * right,
    }


def line(split: str, number: int) -> Line:
    """A question with a right and three wrong replies."""
    greedy, *samples = (reply(place == 1, number % 9) for place in range(5))
    asked = {"id": f"{split}/1/{number}", "task": "ledger", "bin": 1, "gold": "7", "question": f"Q{number % 9}?"}
    return {**asked, "greedy": greedy, "samples": samples}


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """A folder of recordings to learn from, and a held-out recording beside it."""
    (tmp_path / "judged").mkdir()
    save(tmp_path / "judged" / "toy.jsonl.gz", [line("train", number) for number in range(120)])
    save(tmp_path / "held-out.jsonl.gz", [line("held-out", number) for number in range(6)])
    return tmp_path


@pytest.mark.timeout(90)
def test_a_judge_is_trained_and_served(samples: Path, shape: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of a few seconds tells the toy's right samples from wrong ones in llama.cpp, and its choice is right."""
    pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")
    export = importlib.import_module("reasoner.training.export_gguf")
    mixture, dice = Verdicts(samples / "judged"), Random(0)
    # Verdicts are tokens of their own where the text has enough of them.
    told = [*(text(mixture(dice)) for _ in range(300)), *["Yes", "No"] * 3000]
    tokenizer = tokens.train(told, 300)
    stage = Stage("verdicts", mixture, most_tokens=250_000, warm_up=0, decay=0.5)
    recipe = Recipe("toy-judge", shape, (stage,), step_tokens=1024, template=CHAT_TEMPLATE)
    trainer = Trainer(recipe, tokenizer, samples)
    trainer.run()
    export.export(trainer.checkpoint(), samples / "judge.gguf", "f16", "judge")
    argv = ["judge", "--model", str(samples / "judge.gguf"), "--samples", str(samples / "held-out.jsonl.gz"), "--json"]
    assert main([*argv, "--out", str(samples / "scored.jsonl.gz"), "--parallel", "2"]) == 0
    whole = json.loads(capsys.readouterr().out)[-1]
    assert (whole["AUROC judge"], whole["AUROC within"], whole["judge@4"]) == (1.0, 1.0, 1.0)
    assert whole["pass@1"] == 0.25
    assert main(["evaluate", str(samples / "scored.jsonl.gz")]) == 0
    assert "AUROC judge" in capsys.readouterr().out.split("\n\n")[-1]


@pytest.mark.filterwarnings("ignore")
def test_the_template_is_the_prompt(tmp_path: Path, shape: Any, tokenizer: Any) -> None:
    """transformers makes the prompt of training of one user message, and of a pair as vLLM's score endpoint has it."""
    transformers = pytest.importorskip("transformers")
    export = importlib.import_module("reasoner.training.export_hf")
    recipe = Recipe("toy", shape, (Stage("only", Verdicts(tmp_path), 10),), template=CHAT_TEMPLATE)
    export.export(Trainer(recipe, tokenizer, tmp_path).checkpoint(), tmp_path / "toy")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "toy")
    asked = [{"role": "user", "content": message("Q?", "1+1=2.\nSo 2.")}]
    expected = prompt("Q?", "1+1=2.\nSo 2.")
    assert loaded.apply_chat_template(asked, tokenize=False, add_generation_prompt=True) == expected
    pair = [{"role": "query", "content": "Q?"}, {"role": "document", "content": "1+1=2.\nSo 2."}]
    assert loaded.apply_chat_template(pair, tokenize=False) == expected


def test_samples_without_texts_have_no_scores(samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trace that was not judged has no third table, and its figures are unknown."""
    assert main(["evaluate", str(samples / "held-out.jsonl.gz"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[-1]["AUROC judge"] is None
    assert main(["evaluate", str(samples / "held-out.jsonl.gz")]) == 0
    assert "judge" not in capsys.readouterr().out
    assert not math.isnan(rows[-1]["pass@1"])
