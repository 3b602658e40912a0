"""Templates in the wording of many hands: what they say, what they may not say, and no exam question among them."""

import difflib
import json
import re
from pathlib import Path
from random import Random

import pytest

from reasoner import written
from reasoner.numbers import spelled
from reasoner.thoughts import SIGNS, Change, Sum, calculated
from reasoner.written import FaultyLineError, faults, template, templates

EXAM = Path(written.__file__).with_name("newcomer.jsonl")
NUMBERS = {spelled(number) for number in range(100)}
ALIKE = 0.72
"""Ratio of difflib's at which two questions are the same but for a word or two."""


@pytest.mark.parametrize("file", sorted(written.FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_lines_have_no_faults(file: Path) -> None:
    """Every line of a file can be read, drawn and solved by what its clauses tell."""
    lines = list(written.lines(file))
    assert len(lines) > 100
    assert not [fault for fault in (faults(line, Random(line)) for line in lines) if fault]
    assert len({template(line).text for line in lines}) == len(lines)


def test_counts_stay_sensible() -> None:
    """Nothing goes below 1 or above the bound on the way, and no division leaves a rest."""
    dice = Random("sensible")
    for made in (*templates(), *templates("development")):
        story = made.story(dice)
        count = story.total.start
        for change in story.total.changes:
            assert SIGNS[change.kind] != "/" or count % change.operand == 0
            assert SIGNS[change.kind] != "-" or change.operand < count
            count = calculated(count, SIGNS[change.kind], change.operand)
            assert 0 < count <= written.MOST_AT_ALL
        assert story.total.answer == count
        assert made.steps == len(story.total.changes) + (story.total.packs is not None)


def test_a_line_is_filled() -> None:
    """Slots, lists and people of a line are in place, the same where they are the same."""
    line = "[she] has {a} [cups|mugs]. [he] has {b} boxes of {c} [cups|mugs]. How many do they have? | a +b*c | a=20-22"
    seen = set()
    for seed in range(60):
        story = template(line).story(Random(seed))
        found = re.fullmatch(
            r"(\w+) has (\S+) (cups|mugs)\.? (\w+) has (\S+) boxes of (\S+) (cups|mugs)\.? how many do they have\??",
            story.question,
            re.IGNORECASE,
        )
        assert found is not None
        assert found[3].lower() == found[7].lower()
        assert found[1] != found[4]
        assert 20 <= story.total.start <= 22
        assert story.total.changes[0].kind == "box"
        seen.add(found[3].lower())
    assert seen == {"cups", "mugs"}


def test_chains_are_read() -> None:
    """All forms of a sum."""
    total = (
        template("{a} bags of {b}, less {c} of {d}, twice, in {e} parts? | a*b -c*d *2 /e +c").story(Random(5)).total
    )
    assert [change.kind for change in total.changes] == ["unbox", "mul", "div", "add"]
    assert total.changes[1] == Change("mul", 2)
    assert total.changes[0].amount == total.changes[3].amount
    assert total.packs is not None
    assert total.packs[0] * total.packs[1] == total.start


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[she] has {a} cups and {b} mugs. How many? | a +d", "has not"),
        ("[she] has {b} cups and {a} mugs. How many? | a +b", "alphabet"),
        ("[she] has {a} cups and 7 mugs. How many? | a", "no slot"),
        ("[she] has {a} cups and seven mugs. How many? | a", "no slot"),
        ("[she has {a} cups and {b} mugs. How many? | a +b", "bracket"),
        ("[she] has {a} cups and {b} mugs. How many? | a b", "no change"),
        ("[she] has {a} cups and {b} mugs. How many? | a +b | c=2-3", "no range"),
        ("[she] has {a} cups and {b} mugs. How many? | a -b | a=2-3 b=9-9", "no numbers fit"),
        ("So {a}? | a", "asks nothing"),
        ("{a} bags of {b} boxes of {c} cups. How many? | a*b*c", "'a*b*c' is no start of a sum"),
        ("Five cups and {a} mugs. How many? | 5 +a", "'5' is no start of a sum"),
        ("Two boxes of {a} cups. How many? | 2*a", "'2*a' is no start of a sum"),
        ("[she] has {a} cups. How many? |", "'' is no start of a sum"),
    ],
)
def test_faults_are_named(line: str, fault: str) -> None:
    """What is wrong with a line, and the line."""
    assert fault in faults(line, Random(1))
    if fault != "no numbers fit":
        with pytest.raises(FaultyLineError, match=re.escape(line)):
            template(line)


def test_a_thought_quotes_every_number() -> None:
    """Also where two that belong together stand in different clauses."""
    question = (
        "Mia earns $6 an hour at the old mill down by the river. She works 8 hours and spends $5. How much is left?"
    )
    assert Sum(48, (Change("sub", 5),), (6, 8)).quotes(question) == ("She works 8 hours", "spends $5")


def test_no_exam_question_is_a_template() -> None:
    """Names, things and numbers aside, no question of the newcomers' exam resembles a template."""
    exam = [_frame(json.loads(line)["question"]) for line in EXAM.read_text(encoding="utf-8").splitlines()]
    for made in (*templates(), *templates("development")):
        frame = _frame(made.text)
        known = {word for part in frame for word in part.strip("[]").split("|")}
        for question in exam:
            # No more words can be alike than the question has of the template's, which is quicker to see.
            if 2 * sum(word in known for word in question) >= ALIKE * (len(frame) + len(question)):
                assert _alike(_chosen(frame, set(question)), question) < ALIKE, made.text


def _alike(frame: list[str], question: list[str]) -> float:
    return difflib.SequenceMatcher(None, frame, question, autojunk=False).ratio()


def _frame(text: str) -> list[str]:
    """Words, every number as N and every list of a template as it stands."""
    words = re.findall(r"\{[a-z]\}|\[[^\]]*\]|[A-Za-z']+|\d+", text)
    return ["N" if word[0] == "{" or word.isdigit() or word.lower() in NUMBERS else word.lower() for word in words]


def _chosen(frame: list[str], words: set[str]) -> list[str]:
    """A template's words, each list as the one of its words that is among these, if any."""
    return [
        next((one for one in word.strip("[]").split("|") if one in words), word) if word[0] == "[" else word
        for word in frame
    ]


def test_the_same_seed_gives_the_same_questions() -> None:
    """And so the same lessons."""
    first, again = ([written.draw(dice) for _ in range(20)] for dice in (Random(3), Random(3)))
    assert first == again
    assert len({story.question for story in first}) == 20


def test_a_tenth_is_kept_from_training() -> None:
    """The two splits have no text in common, and are together all that there is."""
    trained, kept = ({made.text for made in templates(split)} for split in ("train", "development"))
    every = [line for file in written.FOLDER.glob("*.txt") for line in written.lines(file)]
    assert not trained & kept
    assert len(trained) + len(kept) == len(every)
    assert 0.07 < len(kept) / len(every) < 0.13
