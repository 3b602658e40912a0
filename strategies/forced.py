r"""Answers asked for before a thought has ended: the chain so far, closed and led up to the answer.

The text of a chain goes back to the engine as the beginning of the assistant's turn (`continue_final_message`, known to
vLLM and the embedded engine). Reasoning that a parser has taken out of the text is put back between think tags.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.confidence import unmatched_brace
from core.context import Context
from core.errors import BackendRejected
from core.types import Answer, Outcome, Prompt, Sample, StopReason
from strategies.answers import Kind, expected_kind, extract

OPEN, CLOSE = "<think>", "</think>"
SUFFIX = r"The answer is \boxed{"
"""Leads up to the answer: the next tokens are the answer itself, up to the brace that closes the box."""

_FIELDS = ("reasoning", "reasoning_content")
_NEWLINE = "\n"
_GREEDY: Mapping[str, Any] = {"temperature": 0.0, "logprobs": None, "top_logprobs": None, "min_tokens": None}


@dataclass(frozen=True, slots=True)
class Chain:
    """One sample's words so far. `field` names where the engine puts the thought; None: thought and answer are one.

    `closed`: the thought is over though nothing was said after it yet.
    """

    field: str | None = None
    thought: str = ""
    said: str = ""
    closed: bool = False

    def extended(self, message: Mapping[str, Any]) -> "Chain":
        """With what a continuation (or, of an empty chain, its beginning) said."""
        content = message.get("content")
        said = content if isinstance(content, str) else ""
        name = next((name for name in _FIELDS if message.get(name)), None)
        thought = str(message[name]) if name is not None else ""
        if self.closed or self.said:  # a parser that has not seen the thought close takes the answer for one
            return replace(self, said=self.said + (said or thought))
        return replace(self, field=self.field or name, thought=self.thought + thought, said=said)

    @property
    def thinking(self) -> bool:
        """Whether it stops inside an open thought."""
        if self.field is not None:
            return not (self.closed or self.said.strip())
        return self.said.rfind(OPEN) > self.said.rfind(CLOSE)

    @property
    def answering(self) -> bool:
        """Whether its thought is over and its answer has begun: there is no point in asking for it."""
        return not self.thinking and (self.field is not None or CLOSE in self.said)

    @property
    def text(self) -> str:
        """Everything as the model wrote it."""
        if self.field is None:
            return self.said
        begun = f"{OPEN}{'' if self.thought.startswith(_NEWLINE) else _NEWLINE}{self.thought}"
        return begun if self.thinking else f"{begun.rstrip()}\n{CLOSE}\n{self.said}"

    @property
    def message(self) -> dict[str, Any]:
        """It as an assistant message."""
        thought = {} if self.field is None else {self.field: self.thought}
        return {"role": "assistant", "content": self.said or None, **thought}

    def upto(self, place: int) -> "Chain":
        """Its first `place` characters of thought (of the text, where thought and answer are one)."""
        if self.field is None:
            return replace(self, said=self.said[:place])
        return replace(self, thought=self.thought[:place], said="")

    def reopened(self) -> "Chain":
        """With its thought not closed yet, and nothing said after it."""
        if self.field is None:
            return replace(self, said=self.said.rpartition(CLOSE)[0], closed=False)
        return replace(self, said="", closed=False)

    def thinking_on(self, word: str) -> "Chain":
        """With a word of ours, on a line of its own, at the end of its open thought."""
        last = self.said if self.field is None else self.thought
        added = word if last.endswith(_NEWLINE) else _NEWLINE + word
        return replace(self, said=self.said + added) if self.field is None else replace(self, thought=last + added)

    def led_to(self, suffix: str) -> "Chain":
        """With its thought closed and the answer begun like this."""
        if self.field is not None:
            return replace(self, thought=self.thought.rstrip(), said=suffix, closed=True)
        gap = f"{_NEWLINE}{CLOSE}{_NEWLINE}" if self.thinking else 2 * _NEWLINE
        return replace(self, said=f"{self.said.rstrip()}{gap}{suffix}", closed=True)


def chain_of(sample: Sample) -> Chain:
    """The chain that a sample has made so far."""
    return Chain().extended(sample.message)


def forcible(prompt: Prompt) -> bool:
    """Whether an answer can be forced: one open or lettered answer, of a turn that the client has not begun itself."""
    body = prompt.body
    open_ended = expected_kind(body) in (Kind.OPEN, Kind.CHOICE)
    return open_ended and (body.get("n") or 1) == 1 and not body.get("continue_final_message")


def continued(prompt: Prompt, text: str, **changes: Any) -> Prompt:
    """The prompt with the beginning of the assistant's turn."""
    messages = [*prompt.body.get("messages", ()), {"role": "assistant", "content": text}]
    return prompt.with_body(messages=messages, continue_final_message=True, add_generation_prompt=False, **changes)


def trial(prompt: Prompt, chain: Chain, suffix: str, tokens: int, **changes: Any) -> Prompt:
    """The question for the answer as it stands, decided greedily, in so many tokens."""
    limits = {"max_tokens": max(1, tokens), "max_completion_tokens": None}
    return continued(prompt, chain.led_to(suffix).text, **{**_GREEDY, **limits, **changes})


def words_of(sample: Sample) -> str:
    """What a continuation said, wherever a parser has put it."""
    chain = chain_of(sample)
    return chain.said or chain.thought


def answer_in(words: str, suffix: str) -> str:
    """The trial answer: up to the brace that closes what the suffix opened, else its line. Empty: it did not end."""
    if not suffix.rstrip().endswith("{"):
        return words.strip().partition("\n")[0].strip()
    end = unmatched_brace(words)
    return "" if end is None else words[:end].strip()


def conclude(prompt: Prompt, begun: Sample, chain: Chain, asked: Sample, suffix: str) -> Sample | None:
    """The sample `begun`, ended after `chain` with the trial answer; charged with both. None: there is no answer."""
    answer = answer_in(words_of(asked), suffix) if asked.usable else ""
    if not answer:
        return None
    closing = "}" if suffix.rstrip().endswith("{") else ""
    message = chain.led_to(f"{suffix}{answer}{closing}").message
    canonical = extract({**message, "content": f"{suffix}{answer}{closing}"}, expected_kind(prompt.body))
    return replace(
        begun,
        outcome=Outcome.FINISHED,
        answer=canonical,
        message=message,
        finish_reason="stop",
        usage=replace(begun.usage, completion=begun.usage.completion + asked.usage.completion),
    )


def check_asked(sample: Sample) -> None:
    """Raises BackendRejected where the engine refuses to continue a text: then no question will ever be answered."""
    if isinstance(sample.error, BackendRejected):
        raise sample.error


def single(ctx: Context, sample: Sample) -> Answer:
    """One sample as the answer, whatever ended it."""
    limit = ctx.budget.max_tokens
    cut = limit is not None and sample.finish_reason == "length" and ctx.ledger.completion_tokens >= limit
    return Answer(sample, StopReason.MAX_TOKENS if cut else StopReason.SINGLE)
