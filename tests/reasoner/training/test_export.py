"""The exports: transformers and llama.cpp find the same model that was trained."""

import importlib
import json
import random
from pathlib import Path

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from reasoner.examples import prompt
from reasoner.training.checkpoint import Checkpoint, Progress
from reasoner.training.loop import Trainer
from reasoner.training.network import Llama
from reasoner.training.recipe import Recipe, Stage

WEIGHTS = Path(__file__).parents[3] / "reasoner" / "weights"


@pytest.fixture
def checkpoint(shape, tokenizer) -> Checkpoint:
    """A model as it was drawn, its weights rounded to 16 bits so that exports lose nothing."""
    weights = {name: weight.half().float() for name, weight in Llama(shape, seed=4).state_dict().items()}
    return Checkpoint("toy", 0, shape, tokenizer.to_str(), weights, Progress())


@pytest.fixture
def folder(tmp_path, checkpoint: Checkpoint) -> Path:
    """The export for transformers."""
    pytest.importorskip("safetensors")
    importlib.import_module("reasoner.training.export_hf").export(checkpoint, tmp_path)
    return tmp_path


def test_files_have_the_form_of_the_shipped_ones(folder: Path) -> None:
    """Every file of reasoner-small is there, and each JSON has the same keys, in the same layout."""
    shipped = WEIGHTS / "reasoner-small"
    for path in shipped.glob("*.json"):
        own = (folder / path.name).read_text(encoding="utf-8")
        assert list(json.loads(own)) == list(json.loads(path.read_text(encoding="utf-8")))
        assert own.count("\n") == path.read_text(encoding="utf-8").count("\n") or path.name == "tokenizer.json"
    assert (folder / "model.safetensors").exists()


# Of what transformers does on its way in, nothing is this project's.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(60)
def test_transformers_loads_the_same_model(folder: Path, checkpoint: Checkpoint, tokenizer) -> None:
    """Logits, token numbers and the chat template are those of training."""
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.randint(5, 300, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, checkpoint.model()(ids), rtol=0, atol=1e-5)
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    rendered = loaded.apply_chat_template(
        [{"role": "user", "content": "What is 3+4?"}], tokenize=False, add_generation_prompt=True
    )
    assert rendered == prompt("What is 3+4?")
    assert loaded(rendered).input_ids == tokenizer.encode(rendered).ids


def test_gguf_holds_the_weights(tmp_path, checkpoint: Checkpoint) -> None:
    """f16 holds every weight exactly, q8_0 to a 127th of each block's largest; both fit the shape."""
    gguf = pytest.importorskip("gguf")
    export = importlib.import_module("reasoner.training.export_gguf")
    for form, most in (("f16", 0.0), ("q8_0", 1 / 127)):
        path = tmp_path / f"model-{form}.gguf"
        export.export(checkpoint, path, form, "toy")
        tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        assert len(tensors) == len(checkpoint.weights)
        for own, weight in checkpoint.weights.items():
            name, expected = export.named(own, weight.numpy(), checkpoint.shape)
            found = gguf.quants.dequantize(tensors[name].data, tensors[name].tensor_type).reshape(expected.shape)
            assert np.abs(found - expected).max() <= most * np.abs(expected).max()


def test_rows_of_no_whole_blocks_are_refused(tmp_path, checkpoint: Checkpoint) -> None:
    """q8_0 needs rows of a multiple of 32 weights, and says which matrix has others."""
    pytest.importorskip("gguf")
    export = importlib.import_module("reasoner.training.export_gguf")
    odd = {name: weight[..., :20] for name, weight in checkpoint.weights.items()}
    with pytest.raises(ValueError, match=r"token_embd\.weight has rows of 20 weights"):
        export.export(
            Checkpoint("toy", 0, checkpoint.shape, checkpoint.tokenizer, odd, Progress()), tmp_path / "m", "q8_0", "toy"
        )


def greedy(model: Llama, ids: list[int], stop: int) -> list[int]:
    """What the model says after `ids`, most likely token by token, up to `stop`."""
    said: list[int] = []
    with torch.no_grad():
        while len(ids) + len(said) < 60 and (not said or said[-1] != stop):
            said.append(int(model(torch.tensor([ids + said]))[0, -1].argmax()))
    return said


@pytest.mark.timeout(60)
def test_llama_cpp_says_the_same(tmp_path, mixture, shape, tokenizer) -> None:
    """A model trained for a second answers in llama.cpp, word for word, what it answers here."""
    pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")
    engines = pytest.importorskip("reasoner.engines")
    export = importlib.import_module("reasoner.training.export_gguf")
    recipe = Recipe("toy", shape, (Stage("only", mixture, most_tokens=60_000, warm_up=0, decay=0.5),), step_tokens=256)
    trainer = Trainer(recipe, tokenizer, tmp_path)
    trainer.run()
    export.export(trainer.checkpoint(), tmp_path / "model.gguf", "f16", "toy")
    end = tokenizer.token_to_id("<|im_end|>")
    with engines.LlamaCpp(tmp_path / "model.gguf", parallel=1, context=64, max_tokens=30) as engine:
        for seed in range(4):
            a = random.Random(seed).randint(1, 9)
            ids = tokenizer.encode(prompt(f"What is {a}+3?")).ids
            expected = tokenizer.decode(greedy(trainer.model, ids, end)[:30], skip_special_tokens=False)
            said = engine.reply(f"What is {a}+3?", temperature=0.0, seed=0).text
            assert "boxed" in said
            assert said.replace("\n", "") == expected.replace("<|im_end|>", "").replace("\n", "")
