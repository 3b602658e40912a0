"""Wrong tokens to spot: each verdict is about what stands right before it, and half of them are exchanged."""

import itertools
from collections import Counter
from random import Random

from reasoner.examples import Example, Segment, prompt, text
from reasoner.judge import prompt as asked_of
from reasoner.recipes import RIGHT
from reasoner.spotting import Lines, Spotting, exchangeable

SUMS = "".join(f"{a}+{b}={a + b}, {a + b}-{b}={a}.\n" for a in range(10, 40) for b in (3, 25)).strip()


def sums(dice: Random) -> Example:
    """A thought whose exchangeable things all have one character."""
    return (Segment(prompt("Go on?"), 0.0), Segment(SUMS), Segment("</think>\n<|im_end|>\n"))


def test_verdicts_are_about_what_stands_before_them() -> None:
    """Where it says No, the character before is another than in the thought; all else is as it was."""
    mixture, counts = Spotting(sums, places=0.2), Counter()
    for seed in range(20):
        asked, *parts = mixture(Random(seed))
        assert (asked.text, asked.weight) == ("<|im_start|>user\nGo on?\n\n", 0.0)
        shown = text(tuple(parts))
        assert len(shown.strip()) == len(SUMS)
        wrong, at = set(), 0
        for part, after in itertools.pairwise(parts):
            at += len(part.text)
            counts[after.verdict] += 1
            wrong |= {at - 1} if after.verdict == "No" else set()
            assert after.weight == 1.0
        assert wrong == {place for place, pair in enumerate(zip(shown, SUMS, strict=False)) if pair[0] != pair[1]}
    assert 0.8 < counts["Yes"] / counts["No"] < 1.25


def test_things_are_exchanged_for_their_like() -> None:
    """A digit for digits, a name for the question's other names; what is of no kind stays."""
    assert set(exchangeable("7", ())) == set("012345689")
    assert set(exchangeable("<", ())) == {">"}
    assert "loses" in exchangeable("gains", ())
    assert exchangeable("Mia", ["Mia", "Tom"]) == ["Tom"]
    assert not exchangeable("Mia", ["Mia"])
    assert not exchangeable("answer", ["Mia", "Tom"])


def test_there_is_always_something_to_spot() -> None:
    """Even where little is asked about, an example has a verdict."""
    mixture = Spotting(RIGHT, places=0.005)
    assert all(any(part.verdict for part in mixture(Random(seed))) for seed in range(30))


def test_lines_are_right_or_have_one_fault() -> None:
    """After each line it is said whether it is as it was, and at the end whether all of them are; half of them are."""
    mixture, ends, original = Lines(sums), Counter(), SUMS.splitlines()
    for seed in range(100):
        *told, said, _ = mixture(Random(seed))
        shown = text(tuple(told)).partition("\n\n")[2].partition("\n\nIs this right?")[0]
        assert text(tuple(told)) == asked_of("Go on?", shown)
        right = [line == before for line, before in zip(shown.splitlines(), original, strict=False)]
        verdicts = [part.verdict for part in told if part.weight == 1.0]
        assert verdicts == ["Yes" if line else "No" for line in right]
        assert said.text == ("Yes" if all(right) else "No")
        pointed = [part for part in told if part.weight == 0.5]
        assert sum(part.verdict == "No" for part in pointed) == right.count(False)
        ends[said.text] += 1
    assert 35 < ends["Yes"] < 65
