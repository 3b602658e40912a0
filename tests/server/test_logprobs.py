"""Log-probabilities: measured as asked by the strategy, shown as asked by the client."""

from math import log

import pytest

from server.assembly import Assembly
from server.logprobs import reader_for

TWENTY = {"logprobs": True, "top_logprobs": 20}


def entry(token, *top):
    """One position with these alternatives."""
    return {
        "token": token,
        "logprob": top[0],
        "bytes": [],
        "top_logprobs": [{"token": str(rank), "logprob": value, "bytes": []} for rank, value in enumerate(top)],
    }


def chunk(*entries, text="x", finish=None):
    """A streamed chunk with log-probabilities."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": {"content": list(entries)}, "finish_reason": finish}
    return {"id": "c", "choices": [choice]}


@pytest.mark.parametrize(
    ("client", "alternatives"),
    [
        ({}, None),
        ({"logprobs": False, "top_logprobs": 3}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 2}, 2),
        (TWENTY, 3),
    ],
)
def test_the_client_sees_what_it_asked_for(client, alternatives):
    """In kept chunks, in the whole message and in relayed chunks alike; the strategy sees everything."""
    reader = reader_for(TWENTY, client, window=4)
    assembly = Assembly(keep=True, reader=reader)
    given = chunk(entry("a", -0.1, -2.0, -4.0))
    assembly.add(given)
    shown = [assembly.chunks[0]["choices"][0]["logprobs"], reader.visible(given)["choices"][0]["logprobs"]]
    if alternatives is None:
        assert shown == [None, None]
        assert assembly.logprobs is None
    else:
        whole = assembly.logprobs["content"]
        assert [len(one["content"][0]["top_logprobs"]) for one in shown] == [alternatives, alternatives]
        assert len(whole[0]["top_logprobs"]) == alternatives
        assert whole[0]["token"] == "a"
    assert assembly.confidence.mean == pytest.approx(6.1 / 3)
    assert len(given["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 3


def test_nobody_asked_nothing_is_read():
    """Without the field in the engine's body there is no reader, and what comes all the same passes as it came."""
    assert reader_for({"top_logprobs": 5}, TWENTY, window=4) is None
    assembly = Assembly(keep=True)
    assembly.add(chunk(entry("a", -1.0)))
    assert assembly.chunks[0]["choices"][0]["logprobs"]["content"][0]["token"] == "a"
    assert assembly.confidence is None


def test_odd_log_probabilities_are_left_out():
    """Whatever an upstream sends, the readable tokens are measured and the rest is shown as it came, or not at all."""
    odd = [None, 5, {}, {"token": 1, "logprob": "x", "top_logprobs": [{"logprob": -1}]}, {"top_logprobs": [None]}]
    reader = reader_for(TWENTY, {"logprobs": True, "top_logprobs": 1}, window=4)
    assembly = Assembly(keep=True, reader=reader)
    for logprobs in ([], "x", {"content": None}, {"content": odd}, {"content": "x"}):
        assembly.add({"choices": [{"index": 0, "delta": {}, "logprobs": logprobs}]})
    assembly.add(chunk(entry("b", log(0.5), log(0.5))))
    assert assembly.confidence.tokens == 1
    assert reader.visible({"choices": None}) == {"choices": None}
