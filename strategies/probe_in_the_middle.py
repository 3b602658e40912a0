"""Certaindex for one chain: ask for the answer now and then while the chain goes on, stop when it no longer changes.

Dynasor-CoT (arXiv 2412.20993), with the predicate of the paper: the released servers stop on any unhedged probe, and
find hedge words inside others. Agreement inside one chain is weak evidence (docs/performance.md, "Inside a sample").
"""

import re
from collections import deque
from collections.abc import Iterator

from core.context import Context, Samples
from core.errors import NoAnswer
from core.types import Answer, Outcome, RequestKind, Sample, StopReason
from strategies.forced import (
    SUFFIX,
    Chain,
    answer_in,
    chain_of,
    check_asked,
    conclude,
    forcible,
    single,
    trial,
    words_of,
)
from strategies.parameters import InARow, Text, Tokens

HEDGES = frozenset({"wait", "hold", "but", "okay", "no", "hmm"})
_WORD = re.compile(r"[^\W\d_]+")


def hedged(words: str, answer: str) -> bool:
    """Whether a probe doubts itself: a hedge word around its answer, or inside one of several words. Whole words."""
    inside = _WORD.findall(answer.lower())
    around = _WORD.findall(words.lower()[len(answer) :])
    return any(word in HEDGES for word in (around if len(answer.split()) == 1 else (*inside, *around)))


class Consensus:
    """The last `probes` probes (at least two) of a chain."""

    def __init__(self, probes: int) -> None:
        self._last: deque[tuple[str | None, bool]] = deque(maxlen=max(2, probes))

    def add(self, answer: str | None, *, doubted: bool) -> bool:
        """One more probe; whether the window is full, all of it equal, non-empty and unhedged."""
        self._last.append((answer, doubted))
        full = len(self._last) == self._last.maxlen
        return full and bool(answer) and all(each == (answer, False) for each in self._last)


class _Prober:
    """Asks about the sample that runs, and hears the answers in the order of the questions."""

    def __init__(self, ctx: Context, samples: Samples, suffix: str, tokens: int) -> None:
        self._ctx, self._samples, self._suffix, self._tokens = ctx, samples, suffix, tokens
        self._about: dict[int, tuple[Sample, Chain]] = {}  # open questions, the oldest first
        self._heard: dict[int, Sample] = {}

    def asked(self, index: int) -> bool:
        """Whether this is one of its questions."""
        return index in self._about

    def ask(self, running: Sample) -> None:
        """What is the answer now? Not once the chain itself answers."""
        chain = chain_of(running)
        if not chain.text or chain.answering:
            return
        question = trial(self._ctx.prompt, chain, self._suffix, self._tokens)
        index = self._samples.ask(question, kind=RequestKind.PROBE)
        if index is not None:
            self._about[index] = (running, chain)

    def hear(self, probe: Sample) -> Iterator[tuple[Sample | None, bool, Sample]]:
        """What is known now: the sample as a probe would end it (None: no answer), whether it doubts, the probe."""
        check_asked(probe)
        self._heard[probe.index] = probe
        while self._about and (oldest := next(iter(self._about))) in self._heard:
            told = self._heard.pop(oldest)
            concluded = conclude(self._ctx.prompt, *self._about.pop(oldest), told, self._suffix)
            words = words_of(told)
            yield concluded, hedged(words, answer_in(words, self._suffix)), told

    def stop(self, concluded: Sample, probe: Sample) -> Sample:
        """Give the chain up: what it has thought by now, then the answer."""
        ended = self._samples.abort(concluded.index)
        if ended is None or chain_of(ended).answering:
            return concluded
        return conclude(self._ctx.prompt, ended, chain_of(ended), probe, self._suffix) or concluded


async def probe_in_the_middle(
    ctx: Context, *, probes: InARow = 8, every: Tokens = 64, probe_tokens: Tokens = 20, suffix: Text = SUFFIX
) -> Answer:
    """One chain of thought, asked for its answer as it goes; ends when the last answers are all the same.

    The chain goes on while a question is answered beside it. Questions are asked only about text (no tools, no JSON).

    Args:
        ctx: The program.
        probes: Equal, non-empty, unhedged answers in a row that end the chain (at least 2).
        every: Tokens of the chain between two questions.
        probe_tokens: Tokens that an answer may have.
        suffix: What leads up to the answer, after the thought is closed.
    """
    if not forcible(ctx.prompt):
        return single(ctx, await ctx.sample())
    consensus = Consensus(probes)
    async with ctx.fan_out(1, every=max(1, every)) as samples:
        prober = _Prober(ctx, samples, suffix, probe_tokens)
        async for sample in samples:
            if sample.outcome is Outcome.RUNNING:
                prober.ask(sample)
            elif not prober.asked(sample.index):
                return single(ctx, sample)
            else:
                for concluded, doubted, probe in prober.hear(sample):
                    settled = consensus.add(concluded.answer if concluded else None, doubted=doubted)
                    if concluded is not None:
                        ctx.report(Answer(concluded, StopReason.DEADLINE))
                        if settled:
                            return Answer(prober.stop(concluded, probe), StopReason.CERTAIN)
    raise NoAnswer("The sample could not be made within the budget.")
