"""Thoughts: right in the end whatever slips, right at every step that has weight, and cut between tokens."""

import re
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.examples import CLOSED, Segment, answer, prompt, text
from reasoner.plots import Scale, plotted
from reasoner.task import step_ok
from reasoner.thoughts import (
    CHECKS,
    HEAD,
    LOSSES,
    SIGNS,
    VERBS,
    Change,
    Sum,
    Way,
    Writer,
    calculated,
    cut,
    example,
    probing,
    slipped,
    sorted_changes,
    thought,
)

EQUATION = re.compile(r"(\d+)([-+*/])(\d+)=$")
STATED = re.compile(r"^(?:So |Yes, |No, )(\d+)\.$", re.MULTILINE)
SUMS = st.builds(
    lambda seed, steps: plotted(Random(seed), steps, Scale(70, 150)).total, st.integers(0, 2**32), st.integers(1, 8)
)
SEEDS = st.integers(0, 2**32)
PACKED = Sum(12, (Change("add", 25), Change("sub", 4), Change("add", 8)), packs=(3, 4))


def equations(segments: tuple[Segment, ...]) -> list[tuple[str, Segment]]:
    """What comes before each result, and the result."""
    return [(before.text, result) for before, result in pairwise(segments) if EQUATION.search(before.text)]


@given(SUMS, SEEDS, st.sampled_from([None, 0, 1, 3]), st.booleans())
def test_the_last_stated_answer_is_right(total: Sum, seed: int, checks: int | None, varied: bool) -> None:
    """Whatever slipped on the way, the last count that a thought states is the sum's answer."""
    written = text(thought(total, Random(seed), checks=checks, varied=varied))
    assert STATED.findall(written)[-1] == str(total.answer)
    assert written.endswith(".\n")


@given(SUMS, SEEDS)
def test_results_with_weight_are_right_and_slips_are_not(total: Sum, seed: int) -> None:
    """Each result with weight is what its equation gives, each without is not, and nothing else lacks weight."""
    segments = thought(total, Random(seed))
    found = equations(segments)
    for before, result in found:
        match = EQUATION.search(before)
        assert match
        right = calculated(int(match[1]), match[2], int(match[3]))
        assert (result.text == str(right)) == (result.weight == 1)
    assert sum(segment.weight < 1 for segment in segments) == sum(result.weight < 1 for _, result in found)


@given(SUMS, SEEDS, st.integers(0, 3))
def test_without_slips_every_equation_holds(total: Sum, seed: int, checks: int) -> None:
    """Then all has weight, each pass states the answer, and the step checker finds nothing wrong."""
    segments = thought(total, Random(seed), checks=checks, slips=False)
    written = text(segments)
    assert all(step_ok(written))
    assert {segment.weight for segment in segments} == {1.0, HEAD}
    heads = (" starts", *(f" {verb}" for verb in VERBS.values()))
    assert all(segment.text.startswith(heads) for segment in segments if segment.weight == HEAD)
    assert STATED.findall(written) == [str(total.answer)] * (checks + 1)
    assert sum(line in CHECKS for line in written.splitlines()) == checks
    assert "not" not in written
    assert "wait, " not in written


def test_slips_are_frequent_and_repaired_in_both_ways() -> None:
    """Over many thoughts some slips are seen at once, others by a check, which then says No."""
    total = Sum(20, tuple(Change("add", 17) for _ in range(6)))
    written = [thought(total, Random(seed), checks=0) for seed in range(400)]
    slipping = [segments for segments in written if any(segment.weight == 0 for segment in segments)]
    assert 0.10 < len(slipping) / len(written) < 0.30
    texts = list(map(text, slipping))
    assert any(", wait, " in each and "No, " not in each for each in texts)
    overlooked = [each for each in texts if "No, " in each]
    assert overlooked
    assert all(", not " in each and any(check in each for check in CHECKS) for each in overlooked)


@given(SUMS, SEEDS)
def test_the_same_dice_write_the_same_thought(total: Sum, seed: int) -> None:
    """Thoughts are a function of the sum and the seed."""
    assert thought(total, Random(seed)) == thought(total, Random(seed))


def test_two_ways_to_add() -> None:
    """Tens first where there are tens and ones; numbers without either, and products, in one step."""
    written = {}
    for operand, sign in ((47, "+"), (47, "-"), (40, "+"), (7, "-"), (147, "+"), (12, "*")):
        writer = Writer(Random(0))
        assert writer.added(200, sign, operand, Way(tens_first=True)) == calculated(200, sign, operand)
        written[operand, sign] = text(tuple(writer.segments))
    assert list(written.values()) == [
        "200+40=240, 240+7=247",
        "200-40=160, 160-7=153",
        "200+40=240",
        "200-7=193",
        "200+147=347",
        "200*12=2400",
    ]


def test_the_ways_are_all_taken() -> None:
    """Over seeds the same sum is worked out in several ways; unless varied, in one."""

    def passes(*, varied: bool) -> set[str]:
        made = (thought(PACKED, Random(seed), checks=0, slips=False, varied=varied) for seed in range(60))
        return set(map(text, made))

    assert passes(varied=False) == {
        "1. starts 3*4: 3*4=12.\n2. gains 25: 12+25=37.\n3. loses 4: 37-4=33.\n4. gains 8: 33+8=41.\nSo 41.\n"
    }
    assert len(passes(varied=True)) == 4


@given(SUMS)
def test_gains_before_losses_change_nothing(total: Sum) -> None:
    """Sorted changes are the same ones with losses last, and come to the same; sums that multiply are not sorted."""
    ordered = sorted_changes(total)
    if ordered is None:
        return
    assert sorted(map(repr, ordered)) == sorted(map(repr, total.changes))
    assert Sum(total.start, ordered, total.packs).answer == total.answer
    kinds = [change.kind in LOSSES for change in ordered]
    assert kinds == sorted(kinds)
    assert all(SIGNS[change.kind] in "+-" for change in ordered)


@given(st.integers(0, 10**6), SEEDS)
def test_a_slip_is_another_number(result: int, seed: int) -> None:
    """It is never the right one, and never zero or less."""
    wrong = slipped(result, Random(seed))
    assert wrong != result
    assert wrong > 0


@pytest.mark.parametrize(
    ("left", "sign", "right", "result"), [(7, "-", 9, 0), (7, "/", 2, 3), (7, "/", 0, 7), (7, "*", 6, 42)]
)
def test_calculations_stay_whole_and_positive(left: int, sign: str, right: int, result: int) -> None:
    """After a slip a thought may take more than there is, or share what cannot be shared."""
    assert calculated(left, sign, right) == result


@given(SUMS, SEEDS)
def test_examples_are_prompt_thought_and_answer(total: Sum, seed: int) -> None:
    """All parts are there, in order; the prompt alone has no weight besides slips."""
    whole = example("How many?", total, Random(seed))
    assert text(whole).startswith(prompt("How many?"))
    assert text(whole).endswith(f"\n{CLOSED}{answer(total.answer)}")
    assert (whole[0].weight, whole[-1].weight, whole[-2].weight) == (0, 1, 1)


@given(SUMS, SEEDS)
def test_a_cut_thought_is_a_prefix_with_the_right_answer(total: Sum, seed: int) -> None:
    """What is left of the thought is its beginning, cut between tokens; only the answer has weight."""
    whole = example("How many?", total, Random(seed))
    shorter = cut(whole, Random(seed))
    kept = shorter[1].text
    assert text(whole).startswith(prompt("How many?") + kept)
    rest = text(whole)[len(prompt("How many?") + kept) :]
    assert kept == "" or kept.endswith("\n") or rest.startswith((" ", "\n"))
    assert [segment.weight for segment in shorter] == [0, 0, 0, 1]
    assert text(shorter).endswith(answer(total.answer))
    assert shorter[-1].text == answer(total.answer).partition("{")[2]


def test_probes_weigh_one_skill_only() -> None:
    """Reading is what lines begin with; sums are results."""
    whole = example("How many?", PACKED, Random(0), checks=0, slips=False, varied=False)
    weighed = [[s.text for s in probing(whole, heads=heads) if s.weight] for heads in (True, False)]
    assert weighed == [[" starts 3*4: ", " gains 25: ", " loses 4: ", " gains 8: "], ["12", "37", "33", "41"]]
    assert text(probing(whole, heads=True)) == text(whole)
