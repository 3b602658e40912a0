"""The length of a thought: capped, extended, and said in one answer, whatever it took."""

import pytest

from core.budget import Budget
from core.errors import BackendBroken, BackendRejected, InvalidRequest, NoAnswer
from core.types import Outcome, Prompt, RequestKind, StopReason, Usage
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.types import Arrival, Drawn
from strategies.thinking_budget import thinking_budget

ASKED = Prompt({"messages": [{"role": "user", "content": "2+2?"}], "stop": "###"})


def part(tokens, *, thought=None, said=None, cut=False):
    """What one request makes."""
    message = {"role": "assistant", "reasoning": thought, "content": said}
    kept = {name: text for name, text in message.items() if text is not None}
    ends = (Outcome.TRUNCATED, "length") if cut else (Outcome.FINISHED, "stop")
    return Drawn(tokens, None, ends[0], Usage(5, tokens, tokens if thought else 0), kept, ends[1])


def run(*parts, prompt=ASKED, budget=None, **options):
    """The end of a program whose requests make these parts in turn, and their bodies."""
    bodies, kinds = [], []

    def draw(request):
        bodies.append(request.prompt.body)
        kinds.append(request.kind)
        made = parts[request.index]
        if isinstance(made, Exception):
            raise made
        return made

    [ended] = Kernel(Scheduler({"sim": 4}), draw).run(
        [Arrival("p", thinking_budget, prompt, budget or Budget(), options)]
    )
    assert kinds == [RequestKind.SAMPLE, *[RequestKind.PROBE] * 9][: len(kinds)]
    return ended, bodies


def last(body):
    """The text that a request continues."""
    return body["messages"][-1]["content"]


def test_a_thought_within_the_cap_is_one_sample():
    """One request with the cap as its limit; what it said is the answer, untouched."""
    whole = part(30, thought="so", said=r"\boxed{4}")
    ended, bodies = run(whole, cap=50)
    assert (bodies[0]["max_tokens"], bodies[0]["stop"]) == (50, "###")
    assert ended.answer.sample.message is whole.message
    assert ended.answer.stop_reason is StopReason.SINGLE


def test_at_the_cap_the_thought_is_closed_and_the_answer_led_up_to():
    """One message, one answer, the tokens of both requests."""
    ended, bodies = run(part(50, thought="so it\n", cut=True), part(4, said="4}."), cap=50, answer_tokens=9)
    sample = ended.answer.sample
    assert last(bodies[1]) == "<think>\nso it\n</think>\nThe answer is \\boxed{"
    assert (bodies[1]["max_tokens"], bodies[1]["continue_final_message"]) == (9, True)
    assert sample.message == {"role": "assistant", "content": r"The answer is \boxed{4}.", "reasoning": "so it"}
    assert (sample.answer, sample.outcome, sample.finish_reason) == ("4", Outcome.FINISHED, "stop")
    assert (sample.usage, ended.ledger.completion_tokens) == (Usage(5, 54, 50), 54)


def test_an_answer_that_the_cap_has_cut_is_finished():
    """The thought was over: nothing is forced."""
    ended, bodies = run(part(50, thought="so", said="It is ", cut=True), part(3, said="4."), cap=50)
    assert last(bodies[1]) == "<think>\nso\n</think>\nIt is "
    assert "max_tokens" not in bodies[1]
    assert ended.answer.sample.message["content"] == "It is 4."


def test_a_thought_that_ends_too_early_goes_on():
    """It stops at its closing tag, waits twice, and then answers in its own words."""
    free = ASKED.with_body(stop=None)
    parts = [part(10, thought="a"), part(10, thought=", b\n"), part(30, thought=" c"), part(5, said=r"\boxed{4}")]
    ended, bodies = run(*parts, prompt=free, cap=100, minimum=40, extensions=5)
    assert [body.get("max_tokens") for body in bodies] == [100, 90, 80, None]
    assert [body.get("stop") for body in bodies] == [["</think>"]] * 3 + [None]
    assert [last(body) for body in bodies[1:]] == [
        "<think>\na\nWait",
        "<think>\na\nWait, b\nWait",
        "<think>\na\nWait, b\nWait c\n</think>\n",
    ]
    assert ended.answer.sample.message["reasoning"] == "a\nWait, b\nWait c"
    assert ended.answer.sample.usage.completion == 55


def test_it_waits_only_so_often():
    """After the last extension the thought may be as short as it is."""
    parts = [part(10, thought="a"), part(1, thought="b"), part(2, said="4")]
    ended, bodies = run(*parts, prompt=ASKED.with_body(stop=None), minimum=900, extensions=1)
    assert len(bodies) == 3
    assert ended.answer.sample.answer == "4"


def test_an_extended_thought_ends_at_the_cap():
    """The minimum never breaks the maximum."""
    parts = [part(10, thought="a"), part(20, thought="b", cut=True), part(2, said="4}")]
    ended, bodies = run(*parts, prompt=ASKED.with_body(stop=None), minimum=29, cap=30, extensions=9)
    assert [body.get("max_tokens") for body in bodies] == [30, 20, 512]
    assert ended.answer.sample.message["content"] == r"The answer is \boxed{4}"


@pytest.mark.parametrize(("limit", "requests"), [(50, 1), (49, 1), (53, 2)])
def test_the_clients_own_limit_holds(limit, requests):
    """Its `max_tokens` is for everything: what is left of it bounds the answer, and nothing left means truncated."""
    made = min(limit, 50)
    ended, bodies = run(
        part(made, thought="so", cut=True), part(2, said="4}"), cap=50, prompt=ASKED.with_body(max_tokens=limit)
    )
    assert len(bodies) == requests
    if requests == 2:
        assert bodies[1]["max_tokens"] == 3
    else:
        assert ended.answer.sample.finish_reason == "length"


def test_a_token_budget_ends_it():
    """Spent by the thought: what there is stands, truncated, and no answer is asked for."""
    ended, bodies = run(part(100, thought="so"), cap=0, budget=Budget(max_tokens=60))
    assert (len(bodies), ended.answer.stop_reason) == (1, StopReason.MAX_TOKENS)
    assert ended.answer.sample.outcome is Outcome.TRUNCATED


def test_a_token_budget_that_ends_within_the_answer():
    """The beginning of the answer stands behind the thought."""
    ended, _ = run(
        part(50, thought="so", cut=True), part(40, said="4}. It is so"), cap=50, budget=Budget(max_tokens=80)
    )
    assert ended.answer.stop_reason is StopReason.MAX_TOKENS
    assert ended.answer.sample.message["content"].startswith(r"The answer is \boxed{4}.")
    assert (ended.answer.sample.outcome, ended.ledger.completion_tokens) == (Outcome.TRUNCATED, 80)


def test_a_lost_answer_is_an_error():
    """The engine broke while the answer was made: there is none."""
    ended, _ = run(part(50, thought="so", cut=True), BackendBroken("cut"), cap=50)
    assert isinstance(ended.error, NoAnswer)


def test_the_engines_own_budget():
    """One request with vLLM's field; it has no minimum."""
    ended, bodies = run(part(9, said="4"), native=True, cap=70)
    assert (bodies[0]["thinking_token_budget"], "max_tokens" in bodies[0]) == (70, False)
    ended, _ = run(native=True, minimum=5)
    assert isinstance(ended.error, InvalidRequest)


def test_thinking_aloud_is_capped_too():
    """A model without think tags is led to its answer on a new line."""
    ended, bodies = run(part(50, said="First, ", cut=True), part(2, said="4}"), cap=50)
    assert last(bodies[1]) == "First,\n\nThe answer is \\boxed{"
    assert ended.answer.sample.message["content"] == "First,\n\nThe answer is \\boxed{4}"
    assert ended.answer.sample.answer == "4"


def test_structured_answers_are_left_alone():
    """Tools and JSON come as one plain sample."""
    ended, bodies = run(part(9, said="{}"), prompt=ASKED.with_body(response_format={"type": "json_object"}))
    assert "max_tokens" not in bodies[0]
    assert ended.answer.sample.usage.completion == 9


@pytest.mark.parametrize("options", [{"cap": 400}, {"cap": 400, "minimum": 40}, {"cap": 0, "minimum": 40}])
def test_a_stop_of_the_clients_within_the_thought_ends_it(options):
    """What it said by then is the answer as it stands, as without the strategy: nothing is forced, nothing extended."""
    stopped = part(9, thought="1. So it is ")
    ended, bodies = run(stopped, **options)
    assert len(bodies) == 1
    assert ended.answer.sample.message is stopped.message
    assert (ended.answer.sample.finish_reason, ended.ledger.samples[Outcome.FINISHED]) == ("stop", 1)


@pytest.mark.parametrize("tagged", [False, True])
def test_beside_the_clients_stops_a_short_thought_goes_on_without_its_answer(tagged):
    """Ours would look like theirs, so none is set: what was answered too early is dropped."""
    early = part(10, said="<think>a</think>3") if tagged else part(10, thought="a", said="3")
    late = part(30, said=" b</think>4") if tagged else part(30, thought=" b", said="4")
    ended, bodies = run(early, late, cap=100, minimum=20)
    assert [body["stop"] for body in bodies] == ["###", "###"]
    assert last(bodies[1]) == ("<think>a\nWait" if tagged else "<think>\na\nWait")
    assert ended.answer.sample.answer == "4"
    assert "3" not in str(ended.answer.sample.message)


def test_a_forced_answer_counts_as_finished():
    """Its first request ran into the cap, but the sample did not."""
    ended, _ = run(part(50, thought="so", cut=True), part(4, said="4}."), cap=50)
    counts = ended.ledger.samples
    assert (counts[Outcome.FINISHED], counts[Outcome.TRUNCATED]) == (1, 0)
    assert ended.ledger.outcomes[Outcome.FINISHED] == 2


@pytest.mark.parametrize(
    "error",
    [{"message": "Too long.", "code": "context_length_exceeded"}, {"message": "maximum context length is 4096"}],
)
@pytest.mark.parametrize("cut", [True, False])
def test_a_thought_that_fills_the_context_stands_truncated(error, cut):
    """No room is left for the answer: what was thought is not lost."""
    free = ASKED.with_body(stop=None)
    refused = BackendRejected(400, error)
    ended, _ = run(part(50, thought="so", cut=cut), refused, refused, prompt=free, cap=80, minimum=70)
    sample = ended.answer.sample
    assert (sample.message["reasoning"], sample.message.get("content")) == ("so", None)
    assert (sample.outcome, sample.finish_reason, sample.answer) == (Outcome.TRUNCATED, "length", None)


def test_another_refusal_is_the_clients_to_read():
    """An engine that cannot continue a text says so."""
    ended, _ = run(part(50, thought="so", cut=True), BackendRejected(400, {"message": "no"}), cap=50)
    assert isinstance(ended.error, BackendRejected)
