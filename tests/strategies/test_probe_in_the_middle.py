"""One chain, asked as it goes: when it is ended, with which words, and what is charged."""

import pytest

from core.budget import Budget
from core.errors import BackendBroken, BackendRejected
from core.types import Outcome, Prompt, RequestKind, StopReason, Usage
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.types import Arrival, Drawn
from strategies.probe_in_the_middle import Consensus, hedged, probe_in_the_middle

ASKED = Prompt({"messages": [{"role": "user", "content": "2+2?"}]})
CHAIN = Drawn(
    1000,
    "5",
    usage=Usage(3, 100, 90),
    message={"role": "assistant", "reasoning": "t" * 90, "content": "So it is 5"},
)


def run(probes, *, chain=CHAIN, probe_nanos=10, budget=None, prompt=ASKED, **options):
    """The end of a program whose probes say these things in turn (the last one again and again), and its requests."""
    requests, left = [], list(probes)

    def draw(request):
        requests.append(request)
        if request.kind is RequestKind.SAMPLE:
            return chain
        words = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(words, Exception):
            raise words
        return Drawn(probe_nanos, usage=Usage(90, 4), message={"role": "assistant", "content": words})

    arrival = Arrival("p", probe_in_the_middle, prompt, budget or Budget(), {"every": 10, "probes": 3, **options})
    [ended] = Kernel(Scheduler({"sim": 64}), draw).run([arrival])
    return ended, requests


def test_three_equal_answers_end_the_chain():
    """The third probe comes back at 310 ns: the chain has made 31 tokens, three probes 12; theirs is the answer."""
    ended, _ = run(["4}."])
    sample = ended.answer.sample
    assert (ended.ended, ended.answer.stop_reason, sample.answer) == (310, StopReason.CERTAIN, "4")
    assert sample.message == {"role": "assistant", "reasoning": "t" * 31, "content": r"The answer is \boxed{4}"}
    assert ended.ledger.completion_tokens == 31 + 12
    assert (sample.usage.completion, sample.outcome, sample.finish_reason) == (35, Outcome.FINISHED, "stop")
    assert (ended.planned, ended.ledger.sampled, ended.ledger.started) == (1, 1, 4)


@pytest.mark.parametrize(
    "probes",
    [
        ["4}", "4}", "5}", "4}", "4}", "5}", "4}", "4}", "5}", "4}"],
        ["4}", "4}", "no end"],
        ["4}", "4}", "4}, wait"] * 4,
        [BackendBroken("cut")],
        ["}"],
    ],
)
def test_anything_less_lets_it_think_to_its_end(probes):
    """Disagreement, emptiness, doubt and failures: the chain's own answer stands, in its own words."""
    ended, _ = run(probes)
    assert (ended.ended, ended.answer.stop_reason, ended.answer.sample.answer) == (1000, StopReason.SINGLE, "5")
    assert ended.answer.sample.message is CHAIN.message


def test_the_question_has_the_chain_so_far_and_closes_its_thought():
    """At every tenth token one question, none once the chain itself answers."""
    _, requests = run(["4}", "5}", "4}", "5}", "4}", "5}", "4}", "5}", "4}", "5}"])
    texts = [request.prompt.body["messages"][-1]["content"] for request in requests[1:]]
    assert texts[1] == "<think>\n" + "t" * 20 + "\n</think>\nThe answer is \\boxed{"
    assert len(texts) == 9


def test_slow_probes_are_heard_in_the_order_of_the_questions():
    """Probes outlast several intervals: the chain does not wait, and the window is of questions in order."""
    ended, requests = run(["4}"], probe_nanos=250)
    assert ended.ended == 550
    assert len(requests) == 1 + 5


def test_an_engine_that_cannot_continue_a_text_is_reported():
    """The refusal reaches the client instead of a strategy that silently does nothing."""
    ended, _ = run([BackendRejected(400, {"message": "continue_final_message?"})])
    assert isinstance(ended.error, BackendRejected)


def test_at_the_deadline_the_last_trial_answer_stands():
    """The chain is not done, but it has been asked."""
    ended, _ = run(["4}", "5}"], budget=Budget(max_seconds=250e-9))
    assert (ended.answer.stop_reason, ended.answer.sample.answer) == (StopReason.DEADLINE, "5")


def test_a_token_budget_counts_the_probes():
    """Spent by chain and probes together; what the chain has made by then stands, truncated."""
    ended, _ = run(["4}", "5}", "6}"] * 3, budget=Budget(max_tokens=40))
    assert ended.answer.stop_reason is StopReason.MAX_TOKENS
    assert ended.answer.sample.outcome is Outcome.TRUNCATED
    assert ended.ledger.completion_tokens in range(40, 45)


@pytest.mark.parametrize("changes", [{"tools": [{"type": "function"}]}, {"response_format": {"type": "json_object"}}])
def test_structured_answers_are_left_alone(changes):
    """Nothing is asked where an answer cannot be forced."""
    ended, requests = run(["4}"], prompt=ASKED.with_body(**changes))
    assert (len(requests), ended.answer.sample.answer) == (1, "5")


@pytest.mark.parametrize(
    ("words", "answer", "doubts"),
    [
        ("4}.", "4", False),
        ("4}. Wait, let me", "4", True),
        ("none} of them know the denominator", "none", False),
        ("No}.", "No", False),
        ("no}. But", "no", True),
        ("okay 4}", "okay 4", True),
        ("threshold}, a nonzero hold", "threshold", True),
    ],
)
def test_hedge_words_are_whole_words(words, answer, doubts):
    """Not parts of others, and an answer of one word is an answer, even "no"."""
    assert hedged(words, answer) is doubts


@pytest.mark.parametrize(
    ("window", "answers", "settled"),
    [
        (2, ["a", "a"], [False, True]),
        (3, ["a", "a", None, "a", "a", "a"], [False] * 5 + [True]),
        (3, ["a", "b", "b", "b"], [False, False, False, True]),
        (2, [None, None], [False, False]),
        (2, ["", ""], [False, False]),
        (0, ["a", "a"], [False, True]),
    ],
)
def test_consensus(window, answers, settled):
    """A full window of equal, non-empty answers; at least two."""
    consensus = Consensus(window)
    assert [consensus.add(answer, doubted=False) for answer in answers] == settled
