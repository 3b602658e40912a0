"""The stream of batches: the same for the same key, and to be taken up anywhere."""

import random
from itertools import islice

import pytest

pytest.importorskip("torch")

import torch

from reasoner.examples import Segment
from reasoner.training.batches import Stream, by_length, padded
from reasoner.training.tokens import Row


@pytest.fixture
def stream(mixture, tokenizer) -> Stream:
    """Sums of about 45 tokens, 40 to a pool, ten to a batch."""
    return Stream(mixture, tokenizer, "0/sums", context=64, step=480, examples=40)


def ids(stream: Stream, count: int, pool: int = 0, batch: int = 0) -> list[list[list[int]]]:
    """The token numbers of some batches."""
    return [made.ids.tolist() for made, _, _ in islice(stream.start(pool, batch), count)]


def test_stream_repeats(stream: Stream) -> None:
    """The same stream gives the same batches, over several pools."""
    assert ids(stream, 15) == ids(stream, 15)


def test_stream_is_taken_up_at_any_batch(stream: Stream) -> None:
    """From each batch's own position the rest of the stream follows."""
    whole = ids(stream, 15)
    for number, (_, pool, batch) in enumerate(islice(stream.start(), 12), 1):
        assert ids(stream, 15 - number, pool, batch) == whole[number:]


def test_keys_and_pools_differ(stream: Stream, mixture, tokenizer) -> None:
    """Neither another key nor another pool repeats a pool."""
    other = Stream(mixture, tokenizer, "1/sums", context=64, step=480, examples=40)
    assert ids(stream, 1) != ids(other, 1)
    assert ids(stream, 1) != ids(stream, 1, pool=1)


def test_batches_hold_every_example_of_a_pool(stream: Stream, mixture, tokenizer) -> None:
    """A pool's batches are its examples, each once, within the bound on a batch."""
    first = [made for made, pool, batch in islice(stream.start(), 20) if (pool, batch) <= (1, 0)]
    dice = random.Random("0/sums/0")
    expected = sorted(tokenizer.encode("".join(part.text for part in mixture(dice))).ids for _ in range(40))
    # Number 0 is the end of a text: padding, never part of an example.
    assert sorted([id_ for id_ in row if id_] for made in first for row in made.ids.tolist()) == expected
    assert all(made.ids[:, 1:].numel() <= 480 for made in first)


def test_long_examples_are_left_out(tokenizer) -> None:
    """An example beyond the context is not cut; a mixture full of them is refused."""

    def sometimes(dice: random.Random):
        return (Segment("7" * (80 if dice.random() < 0.02 else 20)),)

    made, _, _ = next(Stream(sometimes, tokenizer, "0", context=64, step=10_000, examples=400).start())
    assert made.ids.shape[1] == 33
    assert made.ids.shape[0] < 400
    with pytest.raises(ValueError, match="400 of 400 examples exceed the context of 64 tokens"):
        next(Stream(lambda dice: (Segment("7" * 80),), tokenizer, "0", context=64, examples=400).start())


def test_padding_weighs_nothing() -> None:
    """Rows are filled up with zeros to a common length, one more than a multiple of 16."""
    batch = padded([Row([5, 6, 7], [0.0, 1.0, 0.5]), Row([8] * 18, [1.0] * 18)])
    assert batch.ids.shape == batch.weights.shape == (2, 33)
    assert batch.ids[0].tolist() == [5, 6, 7] + [0] * 30
    assert batch.weights[0].tolist() == [0.0, 1.0, 0.5] + [0.0] * 30
    assert batch.tokens == 21
    assert torch.all(batch.weights[1, 18:] == 0)


def test_rows_of_like_length_meet() -> None:
    """Groups run from short to long, stay within the bound with their padding, and hold at least one row."""
    rows = [Row([1] * size, [1.0] * size) for size in (30, 3, 200, 17, 5)]
    assert [[len(row) for row in group] for group in by_length(rows, 64)] == [[3, 5, 17], [30], [200]]
