"""Training examples: text whose parts weigh differently in the loss, and what surrounds a question and an answer."""

from dataclasses import dataclass

ASKED, SAID, ENDED = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>\n"
OPENED, CLOSED = "<think>\n", "</think>\n"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text. `weight`: of each of its tokens in the loss; 0 for what a model need not learn to say."""

    text: str
    weight: float = 1.0


Example = tuple[Segment, ...]
"""From the first token of the prompt to the last of the answer."""


def prompt(question: str) -> str:
    """What the chat template makes of a single question: the reply begins inside the thought."""
    return f"{ASKED}{question}{ENDED}{SAID}{OPENED}"


def answer(value: object) -> str:
    r"""The reply's last line, with the answer in `\boxed{}`, and the end of the turn."""
    return f"The answer is \\boxed{{{value}}}.{ENDED}"


def text(example: Example) -> str:
    """The whole of it."""
    return "".join(segment.text for segment in example)
