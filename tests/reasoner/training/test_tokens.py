"""The tokeniser: the same text gives the same one, and segments fit together."""

import random

import pytest

pytest.importorskip("tokenizers")

from reasoner.examples import Segment, text
from reasoner.training import tokens


def test_training_repeats(mixture) -> None:
    """The same lines give the same tokeniser, to the byte."""
    lines = [text(mixture(random.Random(seed))) for seed in range(30)]
    assert tokens.train(lines, 290).to_str() == tokens.train(lines, 290).to_str()


def test_special_tokens_come_first(tokenizer) -> None:
    """The control tokens and the tags of a thought have the first numbers, in this order."""
    assert [tokenizer.token_to_id(name) for name in tokens.SPECIAL] == [0, 1, 2, 3, 4]
    assert tokenizer.encode("<|im_start|>user\n<think>").ids[0] == 1


def test_digits_stand_alone(tokenizer) -> None:
    """A number is as many tokens as it has digits."""
    assert tokenizer.encode("1024").tokens == ["1", "0", "2", "4"]


def test_decoding_gives_the_text_back(tokenizer) -> None:
    """Any text survives, words never seen in training included."""
    for written in ("Äpfel & bananas, 7 of them.\n\n", "x=3*5; y!"):
        assert tokenizer.decode(tokenizer.encode(written).ids) == written


def test_too_little_text_is_refused() -> None:
    """A tokeniser smaller than asked for would not fit the model."""
    with pytest.raises(ValueError, match="not 2048"):
        tokens.train(["one line"])


def test_tokens_carry_their_segments_weight(mixture, tokenizer) -> None:
    """Each token has the weight of the segment it came from, and the tokens are those of the whole text."""
    example = mixture(random.Random(3))
    row = tokens.encode(tokenizer, [example])[0]
    assert row.ids == tokenizer.encode(text(example)).ids
    at = 0
    for segment in example:
        size = len(tokenizer.encode(segment.text).ids)
        assert row.weights[at : at + size] == [segment.weight] * size
        at += size
    assert at == len(row)
    tokens.check_segments(tokenizer, example)


def test_a_verdict_is_learnt_in_place_of_what_stands_there(tokenizer) -> None:
    """The text keeps its tokens; the verdict's number has the place of the segment's first, and all of its weight."""
    example = (Segment("7+2=", 0.0), Segment("9.", 0.5, verdict="7"), Segment("8"))
    row = tokens.encode(tokenizer, [example])[0]
    assert row.ids == tokenizer.encode("7+2=9.8").ids
    assert row.weights == [0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 1.0]
    assert row.verdicts == {4: tokenizer.token_to_id("7")}


def test_a_verdict_of_several_tokens_is_refused(tokenizer) -> None:
    """What cannot be said in one token cannot be said in place of one."""
    with pytest.raises(ValueError, match="the verdict '77' is no single token"):
        tokens.encode(tokenizer, [(Segment("9", verdict="77"),)])


def test_segment_inside_a_token_is_refused(tokenizer) -> None:
    """A segment that ends in the middle of a word is found, with the place."""
    with pytest.raises(ValueError, match=r"near .*answer"):
        tokens.check_segments(tokenizer, (Segment("The ans"), Segment("wer is 7.")))


def test_missing_file_is_named(tmp_path) -> None:
    """A path without a tokeniser gives the command that makes one."""
    with pytest.raises(ValueError, match=r"reasoner\.training tokenizer"):
        tokens.load(tmp_path / "none.json")


def test_file_holds_the_tokeniser(tmp_path, tokenizer) -> None:
    """What was written is read back."""
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    assert tokens.load(path).to_str() == tokenizer.to_str()
