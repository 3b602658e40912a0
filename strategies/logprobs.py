"""Asking an engine for log-probabilities, where it can give them."""

from core.types import Prompt

TOP_LOGPROBS = 20
"""Candidates per token that a confidence is made of: k of DeepConf, and the most that OpenAI's API gives."""


def tells_logprobs(prompt: Prompt) -> bool:
    """Whether log-probabilities may be asked for: engines refuse them beside tools, even tools that are not used."""
    return not (prompt.body.get("tools") or prompt.body.get("functions"))


def with_logprobs(prompt: Prompt) -> Prompt:
    """The prompt with what confidences are made of; as it is where the engine would refuse the request for it."""
    return prompt.with_body(logprobs=True, top_logprobs=TOP_LOGPROBS) if tells_logprobs(prompt) else prompt
