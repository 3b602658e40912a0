"""`python -m bench.greedy_transformers`: greedy answers from transformers, in the environment of training.

Reads one JSON object from standard input (folder, questions, blocks, max_tokens, core) and prints a list of blocks: the
answers to every `blocks`-th question, and the processor seconds that `generate` took for them. 32-bit floats, one
thread, one core, one question at a time, nothing padded.
"""

import importlib
import json
import os
import sys
import time
from typing import Any


def main() -> None:
    """Read, answer, print."""
    asked = json.load(sys.stdin)
    os.sched_setaffinity(0, {asked["core"]})
    # By name: the environment of the checks has neither.
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(asked["folder"])
    model = transformers.AutoModelForCausalLM.from_pretrained(asked["folder"], dtype=torch.float32)
    questions, number, most = asked["questions"], asked["blocks"], asked["max_tokens"]
    with torch.inference_mode():
        said(model, tokenizer, questions[0], 8)  # what is made on first use is no part of the time
        blocks = [[said(model, tokenizer, each, most) for each in questions[k::number]] for k in range(number)]
    print(json.dumps([{"cpu": sum(cpu for cpu, _ in block), "said": [one for _, one in block]} for block in blocks]))


def said(model: Any, tokenizer: Any, question: str, most: int) -> tuple[float, dict[str, Any]]:
    """Processor seconds, and the answer: its prompt, its text, and the choice of every token."""
    began = time.process_time()
    asked = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ended = model.generate(
        **prompt,
        do_sample=False,
        temperature=None,
        max_new_tokens=most,
        output_logits=True,
        return_dict_in_generate=True,
    )
    before = prompt["input_ids"].shape[1]
    ids = ended.sequences[0, before:].tolist()
    shown = ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
    text = tokenizer.decode(shown, skip_special_tokens=False)
    cpu = time.process_time() - began
    choices = [choice(token, logits[0]) for token, logits in zip(ids, ended.logits, strict=True)]
    return cpu, {"prompt": prompt["input_ids"][0].tolist(), "text": text, "choices": choices}


def choice(token: int, logits: Any) -> tuple[int, float, int, float]:
    """A token, its log-probability, the likeliest other one, and that one's."""
    values, places = logits.float().log_softmax(-1).topk(2)
    other = 1 if int(places[0]) == token else 0
    return token, float(values[1 - other]), int(places[other]), float(values[other])


if __name__ == "__main__":
    main()
