"""Leaving a chain at a cue word: where it asks, when it leaves, and with what."""

from math import log

import pytest

from core.budget import Budget
from core.errors import BackendBroken, BackendRejected
from core.types import Confidence, Outcome, Prompt, RequestKind, Sample, StopReason, Usage
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.types import Arrival, Drawn
from strategies.exit_at_cues import cue_pattern, exit_at_cues, score

ASKED = Prompt({"messages": [{"role": "user", "content": "2+2?"}]})
THOUGHT = "So it is four. Wait, once more. It is four. Hmm, yes it is."


def chain(thought=THOUGHT):
    """A sample that makes one character of thought a nanosecond, a token in two."""
    message = {"role": "assistant", "reasoning": thought, "content": ""}
    return Drawn(len(thought), "5", usage=Usage(3, len(thought) // 2), message=message)


def run(*probability, thought=THOUGHT, words="4}.", budget=None, **options):
    """A program whose trial answers have these token probabilities in turn, and the texts they continue."""
    texts, left = [], list(probability)

    def draw(request):
        if request.kind is RequestKind.SAMPLE:
            return chain(thought)
        texts.append(request.prompt.body["messages"][-1]["content"])
        assert (request.prompt.body["logprobs"], request.prompt.body["top_logprobs"]) == (True, 1)
        sure = left.pop(0)
        if isinstance(sure, Exception):
            raise sure
        told = Confidence(1.0, 1.0, 1.0, 1.0, -5.0, 3, log(sure)) if sure else None
        return Drawn(2, usage=Usage(9, 3), message={"content": words}, course=lambda _: told)

    arrival = Arrival("p", exit_at_cues, ASKED, budget or Budget(), {"every": 2, **options})
    [ended] = Kernel(Scheduler({"sim": 8}), draw).run([arrival])
    return ended, texts


def test_it_leaves_at_the_cue_with_the_trial_answer():
    """What was thought after the cue while the trial ran is charged, but not shown."""
    ended, texts = run(0.96)
    sample = ended.answer.sample
    assert texts == ["<think>\nSo it is four.\n</think>\nThe answer is \\boxed{"]
    assert (ended.answer.stop_reason, sample.answer, sample.outcome) == (StopReason.CERTAIN, "4", Outcome.FINISHED)
    assert sample.message == {"role": "assistant", "reasoning": "So it is four.", "content": r"The answer is \boxed{4}"}
    assert ended.ended < len(THOUGHT) // 2
    assert ended.ledger.completion_tokens == ended.ended // 2 + 3
    assert ended.ledger.samples[Outcome.ABORTED] == 1


def test_an_unsure_trial_lets_it_think_on_to_the_next_cue():
    """Each cue is asked at once; the second one is sure."""
    ended, texts = run(0.94, 0.99)
    assert len(texts) == 2
    assert texts[1].startswith("<think>\nSo it is four. Wait, once more. It is four.\n</think>")
    assert ended.answer.stop_reason is StopReason.CERTAIN


@pytest.mark.parametrize("trials", [(0.1, 0.2), (None, None), (BackendBroken("cut"), BackendBroken("cut"))])
def test_without_a_sure_trial_it_ends_by_itself(trials):
    """Unsure answers, engines without log-probabilities and failures: the chain's own answer."""
    ended, texts = run(*trials)
    assert (len(texts), ended.answer.stop_reason, ended.answer.sample.answer) == (2, StopReason.SINGLE, "5")
    assert ended.ended == len(THOUGHT)


def test_an_answer_that_does_not_end_is_no_answer():
    """However probable its tokens are."""
    ended, _ = run(1.0, 1.0, words="4 and so on and on")
    assert ended.answer.stop_reason is StopReason.SINGLE


def test_a_refusal_is_reported():
    """An engine that cannot continue a text says so."""
    ended, _ = run(BackendRejected(400, {"message": "no"}))
    assert isinstance(ended.error, BackendRejected)


def test_a_cue_with_nothing_before_it_is_none():
    """A thought that begins with "Wait" has nothing to answer yet."""
    _, texts = run(thought="Wait, let us see what it is, step by step.")
    assert texts == []


@pytest.mark.parametrize(
    ("cues", "text", "found"),
    [
        ("wait,hmm", "Wait, and hmm.", ["Wait", "hmm"]),
        ("wait", "awaiting the waiter", []),
        ("wait", "so I wait", []),
        ("let me, but wait", "But  wait. Let me see", ["Let me"]),
        ("c++", "c++ x", []),
        (" , ", "anything", []),
    ],
)
def test_cues_are_whole_words(cues, text, found):
    """In any case, phrases too, and only once it is clear that the word has ended."""
    assert [match[0] for match in cue_pattern(cues).finditer(text)] == found


def test_the_score_is_a_geometric_mean():
    """exp of the mean log-probability of the answer's tokens; nothing is known, nothing is left."""
    sure = Confidence(1.0, 1.0, 1.0, 1.0, -9.0, 5, (log(0.9) + log(0.4)) / 2)
    assert score(Sample(0, Outcome.FINISHED, confidence=sure)) == pytest.approx(0.6)
    assert score(Sample(0, Outcome.FINISHED)) == 0.0
