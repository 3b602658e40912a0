"""How answers are compared, what their differences prove, and how llama.cpp is asked."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.agreement import (
    QUESTIONS,
    Agreement,
    Bench,
    Difference,
    Found,
    Speed,
    agreed,
    costs,
    difference,
    drift,
    names,
    parted,
    questions,
    read,
    summary,
)
from bench.greedy import Block, Choice, Engine, Said, chosen, llama
from reasoner import sets
from reasoner.examples import prompt
from tests.vllm.server import MODEL

NAMES = ("a", "b", "c", "<|im_end|>")
TIE = Difference("q", 1, ("a", "b"), (0.01, 0.02), tie=True)
ROW = Agreement("reasoner-small", "0", "vLLM", 1, 100, 900, 100, 99, (0.0, 0.01), (TIE,))
SPEED = Speed("reasoner-small", "0", "vLLM", 1, 1000, 500.0, (400.0, 500.0, 600.0), 0.1)


def said(*tokens: int, margin: float = 5.0, other: int = 2) -> Said:
    """An answer whose tokens are each `margin` nats above `other`."""
    choices = tuple(Choice(token, -0.1, other, -0.1 - margin) for token in tokens)
    return Said("".join(NAMES[token] for token in tokens), len(tokens), (7,), choices)


def test_answers_part_where_their_tokens_do() -> None:
    """The first place counts; one that ends early parts where it ends."""
    assert parted(said(0, 1, 3), said(0, 1, 3)) is None
    assert parted(said(0, 1, 3), said(0, 2, 3)) == 1
    assert parted(said(0, 3), said(0, 1, 3)) == 1
    assert parted(said(0, 1), said(0, 1, 3)) == 2


def test_a_tie_is_close_in_both_engines_and_between_the_same_two() -> None:
    """Either one's second choice is the other's first, and both margins are small: that is rounding."""
    here = said(0, margin=0.01, other=1)
    assert difference("q", here, said(1, margin=0.02, other=0), NAMES) == Difference(
        "q", 0, ("a", "b"), (pytest.approx(0.01), pytest.approx(0.02)), tie=True
    )
    for there in (said(1, margin=0.2, other=0), said(1, margin=0.02, other=2)):
        assert not difference("q", here, there, NAMES).tie
        assert not difference("q", there, here, NAMES).tie
    assert difference("q", here, here, NAMES) is None


def test_hidden_tokens_are_no_difference() -> None:
    """Not every engine writes them out; what is written beside them is the same."""
    shown = replace(said(0, 1), text="a<|im_start|>b")
    assert difference("q", shown, said(0, 1), NAMES) is None


def test_what_no_rounding_explains_is_an_error() -> None:
    """The same tokens as another text, and an answer that stops without saying so."""
    with pytest.raises(ValueError, match="q: the same tokens, but 'ab' and 'a b'"):
        difference("q", said(0, 1), replace(said(0, 1), text="a b"), NAMES)
    with pytest.raises(ValueError, match="q: one answer ends at token 1"):
        difference("q", said(0), said(0, 1), NAMES)


def test_drift_is_of_tokens_that_both_chose() -> None:
    """What comes after a difference has another prompt and says nothing."""
    reference = Said("", 3, (), (Choice(0, -0.1, 1, -9), Choice(0, -0.2, 1, -9), Choice(0, -0.3, 1, -9)))
    other = Said("", 3, (), (Choice(0, -0.11, 1, -9), Choice(0, -0.24, 1, -9), Choice(1, -7.0, 0, -9)))
    assert drift([(reference, other)]) == (pytest.approx(0.025), pytest.approx(0.04))
    assert all(map(math.isnan, drift([])))


def test_both_dialects_name_tokens_by_number() -> None:
    """llama.cpp beside the text, vLLM in its place; the likeliest other one may come first."""
    entry = {"id": 5, "token": "a", "logprob": -0.5, "top_logprobs": [{"id": 4, "logprob": -0.4}, {"id": 5}]}
    assert chosen(entry) == Choice(5, -0.5, 4, -0.4)
    others = [{"token": "token_id:5", "logprob": -0.5}, {"token": "token_id:6", "logprob": -2.0}]
    assert chosen({"token": "token_id:5", "logprob": -0.5, "top_logprobs": others}) == Choice(5, -0.5, 6, -2.0)


def test_questions_are_of_all_families_and_held_out() -> None:
    """A hundred, none twice; the newcomer's that figures are reported on are not among them."""
    found = questions()
    assert len(found) == len(set(found.values())) == QUESTIONS
    families = [id_.split("/")[1] for id_ in found if id_.startswith("held-out")]
    assert {sets.OWNERS[bin_] for bin_ in families} == {"ledger", "story", "ordering"}
    assert sum(id_.startswith("newcomer-development") for id_ in found) == QUESTIONS - len(families) == 16
    assert not set(found.values()) & {each.question for each in sets.newcomers().values()}


class Stub(Engine):
    """Says the same whatever it is asked, in so many processor seconds an answer."""

    def run(self, questions: Sequence[str], streams: int, *, explained: bool = False) -> Block:
        """An answer to each."""
        return Block(tuple(said(0, 1, 3) for _ in questions), 0.5 * len(questions), 0.2)


def test_an_engine_is_compared_and_timed_alone_and_together(capsys: pytest.CaptureFixture[str]) -> None:
    """All questions, in the order of the reference; the figure is the median of the blocks."""
    asked = {f"q{k}": "?" for k in range(10)}
    reference = [said(0, 1, 3)] * 9 + [replace(said(0, 2, 3), prompt=(8,))]
    found = Bench(Path("reasoner-tiny"), "0", asked, NAMES, reference).of("stub", Stub(None, "", (), {}))
    assert [(row.streams, row.same, row.prompts, row.tokens) for row in found.agreements] == [
        (1, 9, 9, 30),
        (8, 9, 9, 30),
    ]
    assert [each.question for each in found.agreements[0].differences] == ["q9"]
    assert [(row.streams, row.tokens, row.tokens_per_cpu_second) for row in found.speeds] == [
        (1, 15, 6.0),
        (8, 30, 6.0),
    ]
    assert {row.others for row in found.speeds} == {0.2}
    assert "q9, token 1: 'c' against 'b', margins 5.0000 and 5.0000: NO TIE" in capsys.readouterr().out


def test_rows_are_kept_and_read_back(tmp_path: Path) -> None:
    """Equal, differences and all; those of models that are asked for again can be left out."""
    found = Found((ROW, replace(ROW, model="reasoner-large")), (SPEED,))
    path = tmp_path / "agreement.json"
    assert read(path) == Found()
    path.write_text(json.dumps(asdict(found)), encoding="utf-8")
    assert read(path) == found
    assert read(path).of({"reasoner-large"}) == Found((found.agreements[1],), ())


def test_tables_say_how_many_and_at_what_cost() -> None:
    """A token of the small model costs one; ties are counted where the weights are the same."""
    eight = replace(ROW, streams=8, same=100, differences=())
    rounded = replace(ROW, engine="llama.cpp q8_0", differences=(replace(TIE, margins=(0.9, 0.1), tie=False),))
    lines = list(agreed([ROW, eight, rounded, rounded]))
    assert lines[2] == "| reasoner-small | vLLM | 99 of 100 | 100 of 100 | 0.020 | 1 of 1 |"
    assert lines[3] == "| reasoner-small | llama.cpp q8_0 | 99 of 100 | 99 of 100 | 0.900 |  |"
    large = replace(SPEED, model="reasoner-large", tokens_per_cpu_second=200.0)
    table = list(costs([large, SPEED, replace(SPEED, streams=8, tokens_per_cpu_second=1500.0)]))
    assert table[2] == "| reasoner-large | 200 (2.50) |  |"
    assert table[3] == "| reasoner-small | 500 (1.00) | 1,500 (1.00) |"
    assert "margins 0.9000 and 0.1000" in "\n".join(summary(Found((rounded,))))
    assert "TIE" not in "\n".join(summary(Found((rounded,))))


def test_llama_cpp_answers_with_every_choice() -> None:
    """A real one, with a shipped file: prompts and answers in tokens, and the processor time of the server alone."""
    asked = list(questions().values())[:2]
    words = names(MODEL / "tokenizer.json")
    with llama(MODEL / "model-q8_0.gguf", 2, 0) as engine:
        alone, together = engine.run(asked, 1, explained=True), engine.run(asked, 2)
    assert 0 < alone.cpu < 10
    assert [each.text for each in together.said] == [each.text for each in alone.said]
    assert alone.tokens == together.tokens == sum(len(each.choices) for each in alone.said)
    for question, each in zip(asked, alone.said, strict=True):
        assert "".join(words[token] for token in each.prompt) == prompt(question)
        *tokens, last = (words[choice.token] for choice in each.choices)
        assert last == "<|im_end|>"
        assert "".join(tokens) == each.text
        assert all(choice.logprob >= choice.other_logprob for choice in each.choices)
