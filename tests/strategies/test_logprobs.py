"""Log-probabilities are asked for only where engines give them."""

import pytest

from core.budget import Budget
from core.types import Prompt, RequestKind, Usage
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.types import Arrival, Drawn
from strategies.auto import auto
from strategies.exit_at_cues import exit_at_cues
from strategies.self_consistency import self_consistency

TOOL = {"type": "function", "function": {"name": "f"}}
UNUSED = {"tools": [TOOL], "tool_choice": "none"}


def bodies(strategy, options, **fields):
    """What the engine is asked for a chat with these fields."""
    asked = []

    def draw(request):
        asked.append(request)
        return Drawn(60, "a", usage=Usage(0, 30), message={"content": "<think>It is four. Wait, is it? Yes."})

    prompt = Prompt({"messages": [{"role": "user", "content": "?"}], **fields})
    Kernel(Scheduler({"sim": 8}), draw).run([Arrival("p", strategy, prompt, Budget(4), options)])
    return asked


@pytest.mark.parametrize("strategy", [self_consistency, auto])
@pytest.mark.parametrize("selector", ["rpc", "deepconf-tail-0.1", "best-of-mean"])
@pytest.mark.parametrize("fields", [{}, {"tools": [TOOL]}, UNUSED, {"functions": [{"name": "f"}]}, {"tools": []}])
def test_selectors_by_confidence_do_without_beside_tools(strategy, selector, fields):
    """An engine that refuses log-probabilities beside tools is not asked for what the client did not ask for."""
    with_tools = bool(fields.get("tools") or fields.get("functions"))
    asked = [request.prompt.body for request in bodies(strategy, {"selector": selector}, **fields)]
    assert {body.get("logprobs") for body in asked} == {None if with_tools else True}


def test_what_the_client_asks_for_is_passed_on():
    """Whether the engine can is between the two of them."""
    asked = bodies(self_consistency, {"selector": "rpc"}, tools=[TOOL], logprobs=True, top_logprobs=2)
    assert {request.prompt.body["top_logprobs"] for request in asked} == {2}


@pytest.mark.parametrize(("fields", "probes"), [({}, True), (UNUSED, False)])
def test_no_trial_answer_is_asked_for_that_could_not_be_judged(fields, probes):
    """Beside tools a chain is one plain sample, even where they are not to be used."""
    kinds = [request.kind for request in bodies(exit_at_cues, {"every": 2}, **fields)]
    assert (RequestKind.PROBE in kinds) is probes
