"""Watching, asking and aborting under virtual time: when, with which tokens and words, and what is charged."""

from dataclasses import replace

from core.budget import Budget
from core.types import Answer, Confidence, Outcome, Prompt, RequestKind, StopReason
from sim.types import Arrival


def look(every, seen):
    """A strategy that writes down what it sees of one sample, and when it saw it."""

    async def strategy(ctx):
        async with ctx.fan_out(1, every=every) as samples:
            async for sample in samples:
                seen.append((sample.outcome.value, sample.usage.completion, sample.message.get("content")))
        return Answer(sample, StopReason.SINGLE)

    return strategy


def test_tokens_and_words_come_evenly(world, whole):
    """A sample of ten tokens over 100 ns is shown at 30, 60 and 90 ns with so many of its characters."""
    seen, times = [], []
    drawn = replace(whole(100, "a", tokens=10), message={"role": "assistant", "content": "abcdefghij"})
    world({0: drawn}, on_event=lambda kernel: times.append(kernel.now)).run(Arrival("p", look(3, seen)))
    assert seen == [
        ("running", 3, "abc"),
        ("running", 6, "abcdef"),
        ("running", 9, "abcdefghi"),
        ("finished", 10, "abcdefghij"),
    ]
    assert times == [0, 30, 60, 90, 100]


def test_the_reasoning_comes_first(world, whole):
    """Half of the tokens are half of the characters of thought and answer together."""
    seen = []

    async def strategy(ctx):
        async with ctx.fan_out(1, every=5) as samples:
            async for sample in samples:
                seen.append(dict(sample.message))
        return Answer(sample, StopReason.SINGLE)

    drawn = replace(whole(100, "a", tokens=10), message={"reasoning": "thought", "content": "end"})
    world({0: drawn}).run(Arrival("p", strategy))
    assert seen == [{"reasoning": "thoug", "content": ""}, {"reasoning": "thought", "content": "end"}]


def test_confidence_so_far(world, whole):
    """The course of a drawn sample is read at the tokens made."""
    seen = []

    async def strategy(ctx):
        async with ctx.fan_out(1, every=4) as samples:
            async for sample in samples:
                seen.append(sample.confidence.tokens)
        return Answer(sample, StopReason.SINGLE)

    def course(tokens):
        return Confidence(1.0, 1.0, 1.0, 1.0, -1.0, tokens)

    world({0: replace(whole(100, "a", tokens=10), course=course)}).run(Arrival("p", strategy))
    assert seen == [4, 8, 10]


def test_a_question_beside_a_running_sample_does_not_hold_it_up(world, whole):
    """Asked at 50 ns, answered at 70, the sample ends at 100 as it would have; both are charged."""
    order = []

    async def strategy(ctx):
        async with ctx.fan_out(1, every=5) as samples:
            async for sample in samples:
                order.append((sample.index, sample.outcome.value))
                if sample.outcome is Outcome.RUNNING:
                    samples.ask(Prompt({}), kind=RequestKind.PROBE)
        return Answer(sample, StopReason.SINGLE)

    [ended] = world({0: whole(100, "a", tokens=10), 1: whole(20, tokens=2)}).run(Arrival("p", strategy))
    assert order == [(0, "running"), (1, "finished"), (0, "finished")]
    assert (ended.ended, ended.ledger.completion_tokens, ended.planned) == (100, 12, 1)


def test_an_aborted_sample_is_charged_for_what_it_made(world, whole):
    """Given up at its first sight; the next one takes its place."""

    async def strategy(ctx):
        async with ctx.fan_out(2, width=1, every=4) as samples:
            async for sample in samples:
                if sample.outcome is Outcome.RUNNING and sample.index == 0:
                    samples.abort(0)
        return Answer(sample, StopReason.SINGLE)

    script = {0: whole(100, "a", tokens=10), 1: whole(10, "b", tokens=3)}
    [ended] = world(script).run(Arrival("p", strategy, budget=Budget(2)))
    assert (ended.answer.sample.answer, ended.ended) == ("b", 50)
    assert ended.ledger.completion_tokens == 7
    assert ended.ledger.outcomes[Outcome.ABORTED] == 1
