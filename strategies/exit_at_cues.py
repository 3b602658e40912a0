"""Leave a chain of thought where it is about to think again, if the answer it has by then is sure enough.

DEER (arXiv 2504.15895): at a cue word ("Wait") a trial answer is asked for, and taken if its tokens are likely enough.
LYNX sets the threshold by conformal calibration: `core.conformal.exit_threshold`.
"""

import re
from math import exp

from core.context import Context, Samples
from core.errors import NoAnswer
from core.stopping.parameters import Threshold
from core.types import Answer, Outcome, RequestKind, Sample, StopReason
from strategies.forced import SUFFIX, Chain, chain_of, check_asked, conclude, forcible, single, trial
from strategies.logprobs import tells_logprobs
from strategies.parameters import Text, Tokens

CUES = "wait,hmm,alternatively"


def cue_pattern(cues: str) -> re.Pattern[str]:
    """Any of the comma-separated words or phrases, as whole words, in any case."""
    phrases = [re.escape(cue.strip()) for cue in cues.split(",") if cue.strip()]
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b(?=.)" if phrases else r"(?!)", re.IGNORECASE | re.DOTALL)


def score(trial_answer: Sample) -> float:
    """Geometric mean of the probabilities of the trial answer's tokens, 0 where the engine did not tell them."""
    sure = trial_answer.confidence
    return 0.0 if sure is None or sure.answer is None else exp(sure.answer)


class _Lookout:
    """Finds the cues of the running sample, and asks at each of them."""

    def __init__(self, ctx: Context, samples: Samples, cues: str, suffix: str, tokens: int) -> None:
        self._ctx, self._samples, self._suffix, self._tokens = ctx, samples, suffix, tokens
        self._cues = cue_pattern(cues)
        self._seen = 0
        self.asked: dict[int, tuple[Sample, Chain]] = {}

    def look(self, running: Sample) -> None:
        """Ask at the newest cue that has come since the last look, unless the chain itself answers."""
        chain = chain_of(running)
        text = chain.said if chain.field is None else chain.thought
        fresh = [cue for cue in self._cues.finditer(text, self._seen) if text[: cue.start()].strip()]
        if not fresh or chain.answering:
            return
        self._seen = fresh[-1].end()
        upto = chain.upto(fresh[-1].start())
        question = trial(self._ctx.prompt, upto, self._suffix, self._tokens, logprobs=True, top_logprobs=1)
        index = self._samples.ask(question, kind=RequestKind.PROBE)
        if index is not None:
            self.asked[index] = (running, upto)

    def told(self, answer: Sample, threshold: float) -> Sample | None:
        """The sample, left at the cue with this answer, if it is sure enough."""
        check_asked(answer)
        running, upto = self.asked.pop(answer.index)
        if score(answer) < threshold or conclude(self._ctx.prompt, running, upto, answer, self._suffix) is None:
            return None
        begun = self._samples.abort(running.index) or running
        return conclude(self._ctx.prompt, begun, upto, answer, self._suffix)


async def exit_at_cues(
    ctx: Context,
    *,
    threshold: Threshold = 0.95,
    cues: Text = CUES,
    every: Tokens = 16,
    probe_tokens: Tokens = 20,
    suffix: Text = SUFFIX,
) -> Answer:
    """One chain of thought, left at a cue word once a trial answer there is probable enough.

    The chain goes on while a trial answer is made beside it. Asks only about text (no tools, no JSON); without
    log-probabilities from the engine the chain is never left.

    Args:
        ctx: The program.
        threshold: Geometric mean of the trial answer's token probabilities from which it is taken.
        cues: Words or phrases, comma-separated, before which a trial answer is asked for.
        every: Tokens of the chain between two looks for cues.
        probe_tokens: Tokens that a trial answer may have.
        suffix: What leads up to the answer, after the thought is closed.
    """
    if not (forcible(ctx.prompt) and tells_logprobs(ctx.prompt)):
        return single(ctx, await ctx.sample())
    async with ctx.fan_out(1, every=max(1, every)) as samples:
        lookout = _Lookout(ctx, samples, cues, suffix, probe_tokens)
        async for sample in samples:
            if sample.outcome is Outcome.RUNNING:
                lookout.look(sample)
            elif sample.index not in lookout.asked:
                return single(ctx, sample)
            else:
                left = lookout.told(sample, threshold)
                if left is not None:
                    return Answer(left, StopReason.CERTAIN)
    raise NoAnswer("The sample could not be made within the budget.")
