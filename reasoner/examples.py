"""Training examples: text whose parts weigh differently in the loss, and what surrounds a question and an answer."""

from dataclasses import dataclass

ASKED, SAID, ENDED = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>\n"
OPENED, CLOSED = "<think>\n", "</think>\n"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text. `weight`: of each of its tokens in the loss; 0 for what a model need not learn to say.

    `verdict`: a token to learn to say where the segment begins, instead of what stands there; nothing else of the
    segment is learnt then.
    """

    text: str
    weight: float = 1.0
    verdict: str = ""


Example = tuple[Segment, ...]
"""From the first token of the prompt to the last of the answer."""


CHAT_TEMPLATE = (
    r"{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    r"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
"""ChatML in Jinja; the reply begins inside the thought. `prompt` says the same in Python."""


def prompt(question: str) -> str:
    """What the chat template makes of a single question: the reply begins inside the thought."""
    return f"{ASKED}{question}{ENDED}{SAID}{OPENED}"


BOX = "The answer is \\boxed{"
"""Before an answer. What is in the box is a segment of its own: a forced answer begins there, and a token that held the
brace and a letter together would never be met at such a place."""


def said(value: object) -> tuple[Segment, Segment, Segment]:
    """The end of the thought, the words before the box, and the rest of the last line, all of weight 1."""
    return Segment(CLOSED), Segment(BOX), Segment(answer(value).removeprefix(BOX))


def forced(value: object) -> tuple[Segment, Segment]:
    """The same end, of which only what is in the box weighs: an answer that somebody else asked for."""
    return Segment(CLOSED + BOX, 0.0), Segment(answer(value).removeprefix(BOX))


def answer(value: object) -> str:
    r"""The reply's last line, with the answer in `\boxed{}`, and the end of the turn."""
    return f"{BOX}{value}}}.{ENDED}"


def text(example: Example) -> str:
    """The whole of it."""
    return "".join(segment.text for segment in example)
