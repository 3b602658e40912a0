"""The splits: disjoint whatever is drawn, stable, and honest about the questions already reported on."""

from itertools import islice

import pytest

from reasoner.questions import ALL_BINS, SPLITS, held_out, published, questions, split_of, stream

DRAWN = {split: questions(split, 60) for split in SPLITS}


def test_no_question_is_in_two_splits() -> None:
    """Across all bins, no text of one split is in another, nor the same problem in other words."""
    seen: dict[str, str] = {}
    ledgers: dict[tuple[object, ...], str] = {}
    for split, named in DRAWN.items():
        for problem in named.values():
            assert seen.setdefault(problem.question, split) == split
            assert ledgers.setdefault(problem.ledger(), split) == split


def test_training_stream_never_meets_a_reported_question() -> None:
    """Thousands of easy training draws, where collisions are likeliest, contain nothing that is reported on."""
    reported = {p.question for p in published()} | {p.question for p in held_out(200, bins=[1])}
    trained = {problem.question for problem in islice(stream("train", 1, seed=9), 3000)}
    assert not reported & trained


def test_same_text_has_the_same_split_as_its_bin_never_matters() -> None:
    """A problem's split depends on its ledger alone, so that bins cannot leak into each other."""
    for split, named in DRAWN.items():
        assert {split_of(problem) for problem in named.values()} == {split}


def test_published_questions_are_held_out() -> None:
    """The questions behind published figures count as held out, whatever their hash says."""
    assert {split_of(problem) for problem in published()} == {"held-out"}


def test_no_problem_twice_within_a_split() -> None:
    """Within a bin of a split all problems differ, and by more than names."""
    for named in DRAWN.values():
        for bin_ in ALL_BINS:
            ledgers = [problem.ledger() for problem in named.values() if problem.bin == bin_]
            assert len(set(ledgers)) == len(ledgers) == 60


def test_fewer_questions_are_a_prefix_of_more() -> None:
    """Asking for fewer questions, or fewer bins, keeps ids and texts: recordings can be extended."""
    few = questions("held-out", 5, bins=[3, 9])
    assert few == {id_: DRAWN["held-out"][id_] for id_ in few}
    assert list(few)[:2] == ["held-out/3/0000", "held-out/3/0001"]


def test_held_out_covers_all_bins_in_order() -> None:
    """`held_out(n)` holds n problems of each of the nine bins."""
    assert [problem.bin for problem in held_out(2)] == [bin_ for bin_ in range(1, 10) for _ in range(2)]


def test_train_streams_differ_by_seed_and_repeat_by_seed() -> None:
    """The seed fixes the training stream."""
    first, again, other = ([p.question for p in islice(stream("train", 4, seed=s), 20)] for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_unknown_bin_is_refused() -> None:
    """There is no bin 10."""
    with pytest.raises(KeyError):
        questions("train", 1, bins=[10])
