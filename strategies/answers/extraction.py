"""From a finished chat message to the answer that votes."""

from collections.abc import Mapping
from typing import Any

from strategies.answers.choices import letter
from strategies.answers.kinds import Kind
from strategies.answers.messages import split_reasoning
from strategies.answers.structured import call_answer, json_answer
from strategies.answers.values import announced_value, boxed_value, final_value

_TAIL = 65_536
"""Characters at the end of a text that are searched for an answer: that is where answers are."""


def extract(message: Mapping[str, Any], kind: Kind) -> str | None:
    """The canonical answer of a finished assistant message, None if it has none that could be compared.

    Tool calls come first, whatever was expected; a refusal never votes; the reasoning part is never read. Open
    answers are looked for in a box, then in an announcement ("the answer is"), then as the final number.
    """
    if message.get("refusal"):
        return None
    calls = call_answer(message)
    if calls or calls is None:
        return _encodable(calls)
    text = split_reasoning(message)[1]
    return _encodable(_read(text, kind)) if text else None


def _read(text: str, kind: Kind) -> str | None:
    if kind is Kind.JSON:
        return json_answer(text)
    tail = text[-_TAIL:]
    if kind is Kind.CHOICE:
        # What looks like options may have been none: then a box holds something else than a letter.
        return letter(tail) or boxed_value(tail)
    if text.startswith(('{"', "{ ", "{\n", "```json")):
        found = json_answer(text)
        if found is not None:
            return found
    return boxed_value(tail) or announced_value(tail) or final_value(tail)


def _encodable(answer: str | None) -> str | None:
    """Without lone surrogates, which a model can spell in JSON escapes and nothing can write to a wire."""
    if not answer:
        return None
    return answer.encode("utf-8", "replace").decode("utf-8")
