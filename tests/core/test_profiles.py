"""The document that a profile is kept in: nothing is lost, and what is wrong is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calibration import SIGNALS, Abstention, Bound, Profile, Target
from core.profiles import FIELDS, ProfileError, decode, encode

SHARES = st.floats(0, 1)
COUNTS = st.integers(0, 4096)
WEIGHTS = st.dictionaries(st.sampled_from(sorted(SIGNALS)), st.floats(-100, 100)).map(
    lambda found: tuple(found.items())
)


def rising(pairs):
    """Knots from any pairs: scores once each, both sorted."""
    scores = sorted({score for score, _ in pairs})
    return tuple(zip(scores, sorted(certainty for _, certainty in pairs), strict=False))


PROFILES = st.builds(
    Profile,
    name=st.text(),
    model=st.text(),
    task=st.text(),
    target=st.sampled_from(Target),
    reference=COUNTS,
    cap=COUNTS,
    width=COUNTS,
    intercept=st.floats(-100, 100),
    weights=WEIGHTS,
    knots=st.lists(st.tuples(SHARES, SHARES), max_size=12).map(rising),
    fitted=WEIGHTS,
    bounds=st.lists(st.builds(Bound, SHARES, SHARES, SHARES, COUNTS), max_size=3).map(tuple),
    abstentions=st.lists(st.builds(Abstention, SHARES, SHARES, SHARES, COUNTS), max_size=3).map(tuple),
)


@given(PROFILES)
def test_a_profile_survives_its_document(profile):
    """Through JSON and back, to the last bit."""
    assert decode(json.loads(json.dumps(encode(profile, {"made": "2026-11-20"})))) == profile


def test_a_document_has_the_documented_fields():
    """All of them, in their order."""
    assert tuple(encode(Profile())) == FIELDS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format: 2 is not 1, the only one that this version reads"),
        ({"format": None}, "format: None is not 1"),
        ({"colour": "red"}, "colour: no such field"),
        ({"account": 3}, "account: must be an object"),
        ({"name": 3}, "name: must be a string"),
        ({"target": "luck"}, "target: must be one of agreement, correctness, not 'luck'"),
        ({"target": ["agreement"]}, "target: must be one of"),
        ({"reference": 2.5}, "reference: must be a whole number"),
        ({"cap": True}, "cap: must be a whole number"),
        ({"width": -1}, "width: must be a whole number"),
        ({"reference": 4097}, "reference: must be a whole number from 0 to 4096"),
        ({"cap": 10**30}, "cap: must be a whole number from 0 to 4096"),
        ({"width": 4097}, "width: must be a whole number from 0 to 4096"),
        ({"knots": [[place / 100, 0.5] for place in range(65)]}, "knots: must have at most 64 entries"),
        ({"bounds": [{}] * 65}, "bounds: must have at most 64 entries"),
        ({"abstentions": [{}] * 65}, "abstentions: must have at most 64 entries"),
        ({"intercept": 10**400}, "intercept: must be a number"),
        ({"intercept": "0"}, "intercept: must be a number"),
        ({"intercept": float("nan")}, "intercept: must be a number"),
        ({"weights": []}, "weights: must be an object"),
        ({"weights": {"mood": 1.0}}, "weights.mood: no such signal; known: standing, share"),
        ({"weights": {"share": float("inf")}}, "weights.share: must be a number"),
        ({"knots": {}}, "knots: must be a list"),
        ({"knots": [[0.1]]}, "knots[0]: must be a pair"),
        ({"knots": ["ab"]}, "knots[0]: must be a pair"),
        ({"knots": [[0.1, 1.5]]}, "knots[0]: must be a number from 0 to 1"),
        ({"knots": [[0.1, 0.5], [0.1, 0.6]]}, "knots[1]: scores must rise"),
        ({"knots": [[0.1, 0.5], [0.2, 0.4]]}, "knots[1]: scores must rise, and certainties must not fall"),
        ({"fitted": [0.5]}, "fitted: must be an object"),
        ({"fitted": {"mood": 1.0}}, "fitted.mood: no such signal"),
        ({"fitted": {"share": float("nan")}}, "fitted.share: must be a number"),
        ({"bounds": [3]}, "bounds[0]: must be an object"),
        ({"bounds": [{"certainty": 0.9, "delta": 0.1}]}, "bounds[0].settled: must be a number"),
        ({"bounds": [{"certainty": 0.9, "delta": 0.1, "settled": 2}]}, "bounds[0].settled: must be a number"),
        ({"bounds": [{"certainty": 0.9, "delta": 0.1, "settled": 0.9, "n": 1}]}, "bounds[0].n: no such field"),
        ({"abstentions": [{"certainty": 0.9, "delta": 0.1}]}, "abstentions[0].least: must be a number"),
        (
            {"abstentions": [{"certainty": 0.9, "delta": 0.1, "least": 0.9, "questions": "1"}]},
            "abstentions[0].questions",
        ),
    ],
)
def test_what_is_wrong_is_named(change, message):
    """The message begins with the field."""
    with pytest.raises(ProfileError) as caught:
        decode({**encode(Profile()), **change})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("document", [None, [], "profile", 1])
def test_a_document_is_an_object(document):
    """Anything else is refused."""
    with pytest.raises(ProfileError, match="profile: must be an object"):
        decode(document)


def test_a_document_without_knots_is_not_calibrated():
    """Bounds alone are a profile, too."""
    profile = decode(
        {"format": 1, "target": "agreement", "bounds": [{"certainty": 0.9, "settled": 0.8, "delta": 0.05}]}
    )
    assert not profile.calibrated
    assert [bound.settled for bound in profile.bounds] == [0.8]
