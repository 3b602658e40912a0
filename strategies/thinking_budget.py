"""How long a chain of thought may be, and how long it must be.

Budget forcing (s1, arXiv 2501.19393): at the cap the thought is closed and the answer led up to; a model that wants to
answer before the minimum has "Wait" appended to its thought, and thinks on.
"""

from dataclasses import replace

from core.context import Context
from core.errors import BackendRejected, InvalidRequest, NoAnswer
from core.types import Answer, Outcome, Prompt, RequestKind, Sample
from strategies.answers import expected_kind, extract
from strategies.forced import CLOSE, SUFFIX, Chain, continued, forcible, single
from strategies.parameters import Text, Times, Tokens, TokensOrNone

OVERFLOW = "context_length_exceeded"
"""OpenAI's code for a request that does not fit the model's context; vLLM says it in words."""


class _Chained:
    """One sample made of several requests, each continuing the text of those before."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._first: Sample | None = None
        self._last: Sample | None = None
        self._reasoned = 0
        self._full = False  # nothing more fits the model's context
        body = ctx.prompt.body  # a stop of the client's could not be told from one at the end of the thought
        self._halts = not (body.get("stop") or body.get("stop_token_ids"))
        self.halted = False
        self.chain = Chain()
        self.made = 0

    @property
    def cut(self) -> bool:
        """Whether the last request ran into its limit."""
        return self._last is not None and self._last.outcome is Outcome.TRUNCATED

    @property
    def thought(self) -> int:
        """Tokens of the thought so far; where the engine does not count them apart, all."""
        return self._reasoned or self.made

    @property
    def prolongable(self) -> bool:
        """Whether its thought ended by itself, not at a stop of the client's, so that it can be made to go on."""
        return (self.chain.thinking and not self.cut) if self._halts else self.chain.answering

    @property
    def left(self) -> int | None:
        """Tokens that the client's own limit still allows, None where it set none."""
        body = self._ctx.prompt.body
        whole = body.get("max_completion_tokens") or body.get("max_tokens")
        return max(0, whole - self.made) if isinstance(whole, int) else None

    async def go_on(self, limit: int | None, *, halt: bool = False) -> bool:
        """Have so many more tokens made, with `halt` only to the end of the thought. False: no tokens were left."""
        allowed = min((each for each in (limit, self.left) if each is not None), default=None)
        spent = self._ctx.budget.max_tokens
        if allowed == 0 or (spent is not None and self._ctx.ledger.completion_tokens >= spent):
            return False
        halt = halt and self._halts
        part = await self._request(self._prompt(allowed, halt=halt))
        if part is not None:
            self._take(part)
            self.halted = halt
        return part is not None

    def sample(self) -> Sample:
        """All of it as one sample, with the tokens of all its requests."""
        first, last = self._first, self._last
        if first is None or last is None:
            raise NoAnswer("The sample could not be made within the budget.")
        if first is last and not self._full:
            return first
        short = self._full and not self.chain.answering
        outcome, reason = (Outcome.TRUNCATED, "length") if short else (last.outcome, last.finish_reason)
        message, whole = self.chain.message, outcome is Outcome.FINISHED
        made = replace(
            first,
            outcome=outcome,
            answer=extract(message, expected_kind(self._ctx.prompt.body)) if whole else None,
            message=message,
            finish_reason=reason,
            usage=replace(first.usage, completion=self.made, reasoning=self._reasoned),
        )
        self._ctx.ledger.cut(made, was=first.outcome)
        return made

    def _prompt(self, limit: int | None, *, halt: bool) -> Prompt:
        stops = [CLOSE] if halt else self._ctx.prompt.body.get("stop")
        changes = {"max_tokens": limit, "max_completion_tokens": None, "stop": stops}
        text = self.chain.text
        return continued(self._ctx.prompt, text, **changes) if text else self._ctx.prompt.with_body(**changes)

    async def _request(self, prompt: Prompt) -> Sample | None:
        """The first is the sample, the others (PROBE) are parts of it. None: the budget is spent, or the context."""
        kind = RequestKind.SAMPLE if self._first is None else RequestKind.PROBE
        try:
            return await self._ctx.sample(prompt, kind=kind)
        except BackendRejected as error:
            self._full = error.code == OVERFLOW or "context length" in error.message
            if self._first is None or not self._full:
                raise
            return None
        except NoAnswer:
            spent = self._ctx.budget.max_tokens
            if self._first is None or spent is None or self._ctx.ledger.completion_tokens < spent:
                raise
            return None

    def _take(self, part: Sample) -> None:
        self._first, self._last, self._full = self._first or part, part, False
        self.chain = self.chain.extended(part.message)
        self.made += part.usage.completion
        self._reasoned += part.usage.reasoning


async def thinking_budget(
    ctx: Context,
    *,
    cap: TokensOrNone = 1024,
    minimum: TokensOrNone = 0,
    extensions: Times = 2,
    native: bool = False,
    answer_tokens: Tokens = 512,
    suffix: Text = SUFFIX,
    wait: Text = "Wait",
) -> Answer:
    """One chain whose thought has at most `cap` tokens and, if it can be had, at least `minimum`.

    At the cap the thought is closed and the answer led up to. Acts on text only (no tools, no JSON).

    Args:
        ctx: The program.
        cap: Most tokens of the thought; 0 for no cap.
        minimum: Fewest tokens of the thought; one that would end before is told to wait, and goes on. Where the client
            has stops of its own, what was answered after a thought too short is dropped.
        extensions: How often at most.
        native: Leave the cap to the engine (vLLM's `thinking_token_budget`, for which it must be configured).
        answer_tokens: Most tokens of an answer that was forced.
        suffix: What leads up to a forced answer, after the thought is closed.
        wait: What is appended to a thought that must go on.
    """
    if native:
        if minimum:
            raise InvalidRequest("The engine's own budget has no minimum.", param="compute_budget.strategy.minimum")
        return single(ctx, await ctx.sample(ctx.prompt.with_body(thinking_token_budget=cap or None)))
    if not forcible(ctx.prompt):
        return single(ctx, await ctx.sample())
    chained = _Chained(ctx)
    await _think(chained, cap or None, minimum, extensions, wait)
    await _answer(chained, suffix, max(1, answer_tokens))
    return single(ctx, chained.sample())


async def _think(chained: _Chained, cap: int | None, minimum: int, extensions: int, wait: str) -> None:
    """The thought to its end or the cap, made to go on while it is too short."""
    await chained.go_on(cap, halt=minimum > 0)
    for _ in range(extensions):
        rest = None if cap is None else cap - chained.thought
        if not chained.prolongable or chained.thought >= minimum or (rest is not None and rest < 1):
            return
        before = chained.chain
        chained.chain = before.reopened().thinking_on(wait)
        if not await chained.go_on(rest, halt=True):
            chained.chain = before
            return


async def _answer(chained: _Chained, suffix: str, tokens: int) -> None:
    """What the chain still lacks: an answer in its own words where its thought has ended, a forced one at the cap.

    A thought that has neither ended nor been cut was ended by a stop of the client's: that is the answer as it stands.
    """
    chain = chained.chain
    if chained.cut and chained.left != 0:
        if chain.answering:
            await chained.go_on(None)
            return
        chained.chain = chain.led_to(suffix)
        chained.chain = chained.chain if await chained.go_on(tokens) else chain
    elif chain.thinking and chained.halted:
        chained.chain = chain.led_to("")
        chained.chain = chained.chain if await chained.go_on(None) else chain
