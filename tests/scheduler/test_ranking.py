"""The heap with keys that change, against a sorted list."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.ranking import SLACK, Ranking

ITEMS = st.sampled_from("abcdefgh")
RANKS = st.tuples(st.integers(0, 4).map(float))
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "all", "drop", "few"]), ITEMS, RANKS, st.integers(0, 9)),
    max_size=99,
)


@given(STEPS)
def test_it_is_a_sorted_list(steps):
    """After any sequence of puts and drops the first items are those of a list sorted by key, then by time."""
    ranking, model = Ranking(), {}
    for number, (what, item, rank, most) in enumerate(steps):
        if what == "put":
            ranking.put(item, rank)
            if item not in model or model[item][0] != rank:
                model[item] = (rank, number)
        elif what == "all":
            ranking.put_all({item: rank, "z": (2.0,)})
            for each, key in ((item, rank), ("z", (2.0,))):
                if each not in model or model[each][0] != key:
                    model[each] = (key, number + (each == "z") / 2)
        elif what == "drop":
            ranking.drop(item)
            model.pop(item, None)
        ordered = sorted(model, key=model.__getitem__)
        assert ranking.few(most) == ordered[:most]
        assert ranking.first() == (ordered[0] if ordered else None)
        assert (len(ranking), set(ranking), item in ranking) == (len(model), set(model), item in model)


@given(st.lists(st.tuples(ITEMS, RANKS), min_size=1, max_size=300))
def test_superseded_entries_do_not_pile_up(puts):
    """Memory follows the items, not the changes."""
    ranking = Ranking()
    for item, rank in puts:
        ranking.put(item, rank)
    assert len(ranking._heap) <= 2 * len(ranking) + SLACK


def test_a_key_that_is_put_again_keeps_its_place():
    """What does not change does not go to the end of its equals."""
    ranking = Ranking()
    for item in "abca":
        ranking.put(item, (1.0,))
    assert ranking.few(9) == ["a", "b", "c"]
