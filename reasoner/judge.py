"""The judge: how a model is asked whether a reply is right, and how its score is read.

One user message holds the question, the reply's thought and answer without the thought's tags, and `ASK`, with an empty
line between them. A thought may be unfinished. The model says `RIGHT` or `WRONG`, each a single token, and the score is
the probability of the one against the other: one generated token, whatever the length of the reply.

Any server that tells candidates answers this as a chat. vLLM makes a classifier of the two tokens (`vllm_flags`), and
its score and classify endpoints give the same numbers. llama.cpp's Llama network takes no classification head (of a
file with `cls.output.weight` it says "wrong number of tensors"), so for its rerank endpoint the judge is written anew
(`python -m reasoner.training rank`), and the relevance of a reply is the logarithm of its odds.
"""

import json
import re
from math import exp
from pathlib import Path
from typing import Any

from reasoner.engines import Engine, EngineError, Reply
from reasoner.examples import ASKED, ENDED, SAID

RIGHT, WRONG = "Yes", "No"
ASK = "Is this right?"
CHAT_TEMPLATE = (
    r"{% for m in messages %}"
    r"{% if m['role'] == 'query' %}{{ '<|im_start|>user\n' + m['content'] + '\n\n' }}"
    r"{% elif m['role'] == 'document' %}{{ m['content'] + '\n\nIs this right?<|im_end|>\n<|im_start|>assistant\n' }}"
    r"{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    r"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML in Jinja without a thought; of vLLM's score endpoint, question and reply are the query and the document."""
CANDIDATES = 20
"""Of the first token, to find both verdicts among: the most that servers give."""
_LINE = re.compile(r"[^\n]*\n+|[^\n]+$")
_TAG = re.compile(r"\s*</?think>\s*")


def message(question: str, reply: str) -> str:
    """What to ask the judge, as one user message."""
    return f"{question.strip()}\n\n{plain(reply)}\n\n{ASK}"


def prompt(question: str, reply: str) -> str:
    """What the chat template makes of it: for classify endpoints, which take a raw text."""
    return f"{ASKED}{message(question, reply)}{ENDED}{SAID}"


def plain(reply: str) -> str:
    """Thought and answer, a line between them, without the thought's tags."""
    return _TAG.sub("\n", reply).strip()


def lines(shown: str) -> list[str]:
    """What the judge is shown, line by line, each with the line ends after it."""
    return _LINE.findall(shown)


def body(question: str, reply: str) -> dict[str, Any]:
    """The chat completion that asks for a score, but for the model's name."""
    return {
        "messages": [{"role": "user", "content": message(question, reply)}],
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": True,
        "top_logprobs": CANDIDATES,
    }


def vllm_flags(template: Path) -> tuple[str, ...]:
    """Options with which vLLM serves the score, as a pooling model. `template`: file that holds `CHAT_TEMPLATE`.

    `/score` takes question and reply (`plain`) as `text_1` and `text_2`, `/classify` takes a `prompt`.
    """
    told = {
        "architectures": ["LlamaForSequenceClassification"],
        "method": "from_2_way_softmax",
        "classifier_from_token": [WRONG, RIGHT],
    }
    overrides = f"--hf-overrides={json.dumps(told)}"
    return "--runner=pooling", "--convert=classify", overrides, f"--chat-template={template}"


def score(engine: Engine, question: str, reply: str) -> float:
    """The judge's score of a reply, from 0 to 1. EngineError as of the engine, or where it does not say."""
    return read(engine.reply(message(question, reply), temperature=0.0, seed=0, top=CANDIDATES))


def read(verdict: Reply) -> float:
    """The score that the candidates of a verdict's first token tell: one of them alone is 0 or 1.

    EngineError if they are neither told nor among them.
    """
    first = verdict.pieces[:1]
    said = {name.strip(): exp(logprob) for piece in first for name, logprob in zip(piece.names, piece.top, strict=True)}
    right, wrong = said.get(RIGHT, 0.0), said.get(WRONG, 0.0)
    if right + wrong == 0:
        raise EngineError(
            f"the judge's first token is neither {RIGHT} nor {WRONG}, nor are its candidates: {verdict.text!r}"
        )
    return right / (right + wrong)
