"""Calibrations as a whole, on questions whose probabilities are known."""

from dataclasses import replace

import pytest

from core.calibration import UNCALIBRATED, Abstention, Bound, Profile, Target
from sim.calibrating import BLACK_BOX, GREY_BOX, STRAIGHT, bends, fit, folds, judged_by
from sim.dice import dice
from sim.fitting import Case, sigmoid
from sim.observing import Seen, Setup
from sim.reliability import reliability
from sim.study import (
    LEVELS,
    LOSSLESS,
    Study,
    abstention,
    bounds,
    calibrated,
    judged,
    settled_at,
    spared,
    split,
    statements,
)
from sim.study_report import account, lines
from sim.traces import Question, Recorded

SETUP = Setup(8, 8, orders=4)


def signals(share, confidence=0.0):
    """Raw signals with one that matters."""
    return {"standing": 0.0, "share": share, "votes": 1.0, "silence": 0.0, "confidence": confidence}


def seen(share, agrees, *, differs=False, confidence=0.0):
    """A program that answered."""
    return Seen(signals(share, confidence), agrees, differs, bool(agrees), True, 10)


def answers(name, count, true):
    """Questions of four orders each, whose outcome has the probability that `true` makes of the signal."""
    chance = dice(0, name)
    groups = []
    for _ in range(count):
        share = chance.uniform(-2, 4)
        groups.append(tuple(seen(share, float(chance.random() < true(share))) for _ in range(4)))
    return groups


def recorded(count):
    """Questions of eight samples: half of them easy, half of them scattered."""
    chance = dice(0, "recorded")
    found = []
    for number in range(count):
        p = 0.95 if number % 2 else 0.5
        samples = tuple(Recorded(a, a == "A", 10) for a in chance.choices("AB", (p, 1 - p), k=8))
        found.append(Question(f"q{number}", samples))
    return found


def test_a_fit_predicts_other_questions():
    """A logistic truth needs no knots, and is kept on questions that were not seen."""
    profile = fit(answers("fit", 600, sigmoid), Profile(reference=8))
    assert [name for name, _ in profile.weights] == list(BLACK_BOX)
    assert -2 <= dict(profile.fitted)["share"] < -1.9, "the worst that was seen"
    found = reliability([statements(profile, group) for group in answers("other", 600, sigmoid)])
    assert found.ece < 0.03


def test_a_truth_that_is_not_logistic_bends_the_score():
    """A plateau in the middle of the scores."""

    def plateau(share):
        return 0.2 if share < -1 else 0.6 if share < 3 else 0.99

    profile = fit(answers("bent", 1500, plateau), Profile())
    assert profile.knots != STRAIGHT
    assert reliability([statements(profile, group) for group in answers("more", 600, plateau)]).ece < 0.05


def test_confidences_are_used_where_there_are_any():
    """The grey-box signal has a weight of its own."""
    groups = [[seen(0.0, float(n % 2), confidence=2.0 * (n % 2))] for n in range(40)]
    weights = dict(fit(groups, Profile()).weights)
    assert set(weights) == set(GREY_BOX)
    assert weights["confidence"] > 0.5


def test_questions_without_a_vote_teach_nothing():
    """If there are no others, that is said."""
    with pytest.raises(ValueError, match="no sample of these questions voted"):
        fit([[Seen(None, 0, False, False, False, 10)]], Profile())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_fit_on_few_questions_has_no_knots(count):
    """There is nobody to check them on."""
    profile = fit(answers("few", count, sigmoid), Profile(reference=8))
    assert profile.calibrated
    assert profile.knots == STRAIGHT


def test_knots_must_earn_their_place():
    """Cases on the diagonal are not bent; cases on a step are."""
    straight = [[Case((x / 10,), sigmoid(x / 10), 1.0)] for x in range(-30, 31)] * 8
    step = [[Case((x / 10,), 0.2 if x < -10 else 0.6 if x < 25 else 0.99, 1.0)] for x in range(-30, 31)] * 8
    assert not bends(straight)
    assert bends(step)


def test_folds_are_all_the_questions_once():
    """And never on both sides."""
    parts = list(folds(list(range(11)), 3))
    assert sorted(place for _, outer in parts for place in outer) == list(range(11))
    assert all(sorted(inner + outer) == list(range(11)) for inner, outer in parts)


@pytest.mark.parametrize(("held", "count"), [(0.5, 10), (0.25, 5), (0.01, 1)])
def test_questions_are_split_once_and_for_all(held, count):
    """By seed and id alone, whatever their order."""
    names = [question.id for question in recorded(20)]
    inner, outer = split(names, held, 0)
    assert sorted(inner + outer) == list(range(20))
    assert len(outer) == count
    turned = names[::-1]
    assert {turned[i] for i in split(turned, held, 0)[1]} == {names[i] for i in outer}


def test_bounds_are_the_last_certified_levels():
    """What cannot be certified keeps the threshold that risks nothing; so does certainty itself."""
    found = bounds(lambda level: [0.0 if level > 0.9 else 0.2] * 200, (0.95, 0.7, 0.999, 1.0), 0.05)
    assert found == (
        Bound(0.95, 0.92, 0.05, 200),
        Bound(0.7, LEVELS[-1], 0.05, 200),
        Bound(0.999, LOSSLESS, 0.05, 200),
        Bound(1.0, LOSSLESS, 0.05, 200),
    )


def test_abstaining_keeps_wrong_answers_rare():
    """Certified on some questions, kept on others, although most answers are wrong too often."""
    fitted, tested = answers("fit", 800, sigmoid), answers("test", 800, sigmoid)
    profile = fit(fitted, Profile(target=Target.CORRECTNESS))
    found = abstention(profile, fitted, tested, 0.9, 0.05)
    stated = [each for group in answers("new", 600, sigmoid) for each in statements(profile, group)]
    given = [each.outcome for each in stated if each.stated >= found.least]
    assert found.questions == 800
    assert len(given) > 100
    assert 1 - sum(given) / len(given) <= 0.1


def test_what_cannot_be_kept_is_not_promised():
    """Outcomes by a coin."""
    groups = answers("coin", 200, lambda _: 0.5)
    assert abstention(fit(groups, Profile()), groups, groups, 0.9, 0.05) is None


def test_a_level_is_replayed_once():
    """However often it is asked for."""
    calls = []

    def watch(questions, setup, certainty, abstain):
        calls.append((certainty, abstain))
        return [(seen(1.0, 1.0),) for _ in questions]

    study = Study(recorded(3), SETUP, watch)
    for level, abstain in ((0.9, False), (0.9, True), (0.9, False), (None, False)):
        assert len(study.at(level, abstain)) == 3
    assert calls == [(0.9, False), (0.9, True), (None, False)]


def test_copies_of_a_question_weigh_one_together():
    """Every name has one group, with the orders of all of its copies, and one loss."""

    def watch(questions, setup, certainty, abstain):
        return [(seen(1.0, 1.0, differs=question.id.startswith("b")),) for question in questions]

    questions = [Question(name, ()) for name in ("a/1", "a/2", "b/2", "b/3")]
    study = Study(questions, SETUP, watch, ["1", "2", "2", "3"])
    assert study.names == ("1", "2", "3")
    assert [len(group) for group in study.at(None)] == [1, 2, 1]
    assert study.differing(None) == [0, 0.5, 1]
    assert study.differing(None, [2, 1]) == [1, 0.5]


@pytest.mark.parametrize("target", Target)
def test_a_calibration_says_what_it_is_worth(target):
    """Bounds for every certainty, figures of held-out questions, and an account of both."""
    study = Study(recorded(40), Setup(8, 8, orders=2))
    base = Profile(name="mixed", target=target, reference=8, cap=8, width=8)
    found = calibrated(study, base, (0.8, 0.99), 0.05, 0.5)
    profile, held = found.profile, found.held
    assert profile.calibrated
    assert [bound.certainty for bound in profile.bounds] == [0.8, 0.99]
    assert settled_at(study, profile, 0.8) < settled_at(study, profile, 0.99) == LOSSLESS
    rows = [judged(study, found.trial, certainty, held) for certainty in (None, 0.8, 0.99)]
    assert rows[1].tokens < rows[2].tokens
    assert rows[2].differing == 0
    assert all(row.every.questions == len(held) == 20 for row in rows)
    said = "\n".join(lines(profile, rows, [spared(study, profile, each, held) for each in profile.abstentions]))
    assert "40 questions certify no threshold" in said
    assert [row["certainty"] for row in account(rows)] == [None, 0.8, 0.99]


def test_the_questions_held_out_have_no_part_in_what_they_judge():
    """Whatever comes of them, the trial is the same; the thresholds of the profile may change with them."""
    questions = recorded(80)
    _, outer = split([question.id for question in questions], 0.5, 0)
    known = Study(questions, Setup(8, 8, orders=2))
    turned = {questions[place].id for place in outer}

    def watch(asked, setup, certainty, abstain):
        groups = known.at(certainty, abstain)
        return [
            tuple(replace(each, differs=True, agrees=0.0, right=False) for each in group)
            if question.id in turned and certainty != LOSSLESS
            else group
            for question, group in zip(asked, groups, strict=True)
        ]

    base = Profile(target=Target.CORRECTNESS, reference=8, cap=8, width=8)
    one, other = (calibrated(study, base, (0.7,), 0.05, 0.5) for study in (known, Study(questions, known.setup, watch)))
    assert one.trial == other.trial
    assert one.profile.bounds != other.profile.bounds
    assert [bound.questions for bound in (*one.trial.bounds, *one.profile.bounds)] == [40, 80]


def test_a_certified_abstention_is_printed():
    """Its level, what it answers, and how much of that is wrong."""
    study = Study(recorded(10), SETUP)
    kept = Abstention(0.9, 0.5, 0.05, 5)
    profile = Profile(target=Target.CORRECTNESS, weights=(("share", 1.0),), knots=STRAIGHT, abstentions=(kept,))
    found = spared(study, profile, kept, range(10))
    assert found.answered == 1
    said = list(lines(profile, [], [found]))
    assert any(line.startswith("certainty 0.9, abstaining below 0.50: answers 100.0%") for line in said)


def test_another_rule_gets_no_bounds():
    """Thresholds belong to the default rule; the certainty of others is calibrated all the same."""
    study = Study(recorded(40), Setup(8, 8, orders=2, rule="esc-4"))
    profile = calibrated(study, Profile(reference=8), (0.9,), 0.05, 0.5).profile
    assert profile.calibrated
    assert profile.bounds == UNCALIBRATED.bounds


def test_targets_are_judged_by_what_they_mean():
    """Agreement by the reference, correctness by the flag."""
    program = Seen(signals(0.0), 0.5, True, True, True, 10)
    assert judged_by(Target.AGREEMENT)(program) == 0.5
    assert judged_by(Target.CORRECTNESS)(program) == 1.0
