"""The judge: how it is asked, how its score is read, and what it learns from."""

import json
from collections import Counter
from math import log
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from reasoner import judge, verdicts
from reasoner.engines import EngineError, OpenAIServer, Piece, Reply
from reasoner.examples import text
from reasoner.judging import judged
from reasoner.record import Recording, load, record, save
from reasoner.samples import Extras
from reasoner.sets import selected

THOUGHT = "1. gains 5: 12+5=17.\n2. loses 3: 17-3=14.\nSo 14."
ANSWER = "The answer is \\boxed{14}."
QUESTION = "Mia has 12 pens. Mia gets 5 pens. Mia loses 3 pens. How many pens does Mia have?"


def verdict(**logprobs: float) -> Reply:
    """A first token with these candidates."""
    return Reply("Yes", 1, (Piece("Yes", -0.1, tuple(logprobs.values()), tuple(logprobs)),))


@pytest.mark.parametrize(
    "reply",
    [f"{THOUGHT}\n</think>\n{ANSWER}", f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}", f"{THOUGHT}\n{ANSWER}\n"],
)
def test_every_form_of_a_reply_is_asked_about_alike(reply: str) -> None:
    """Whether a server leaves the thought's tags in the reply or not, the judge sees the same."""
    assert judge.message(QUESTION, reply) == f"{QUESTION}\n\n{THOUGHT}\n{ANSWER}\n\nIs this right?"


def test_a_score_is_the_share_of_the_right_verdict() -> None:
    """Of two candidates' probabilities, whatever the others; spaces around a verdict do not matter."""
    assert judge.read(verdict(Yes=log(0.6), No=log(0.2), So=log(0.2))) == pytest.approx(0.75)
    assert judge.read(verdict(No=-0.01)) == 0.0
    spaced = Reply("", 1, (Piece(" Yes", -0.1, (-0.1, -2.4), (" Yes", "Yes ")),))
    assert judge.read(spaced) == 1.0


@pytest.mark.parametrize("reply", [verdict(So=-0.1), Reply("Yes", 1), Reply("", 0)])
def test_no_verdict_is_no_score(reply: Reply) -> None:
    """A model that is no judge, or a server that tells no candidates, is an error and not a score of one half."""
    with pytest.raises(EngineError, match="neither Yes nor No"):
        judge.read(reply)


def test_any_server_judges() -> None:
    """One chat completion of one token with its candidates: what any client can send."""
    sent: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        tops = [{"token": "No", "logprob": log(0.9)}, {"token": "Yes", "logprob": log(0.1)}]
        choice = {"message": {"content": "No"}, "logprobs": {"content": [{**tops[0], "top_logprobs": tops}]}}
        return httpx.Response(200, json={"choices": [choice], "usage": {"completion_tokens": 1}})

    with OpenAIServer("http://j/v1", "j", max_tokens=1, transport=httpx.MockTransport(handler)) as engine:
        assert judge.score(engine, QUESTION, THOUGHT) == pytest.approx(0.1)
    assert {key: sent[0][key] for key in judge.body(QUESTION, THOUGHT)} == judge.body(QUESTION, THOUGHT)


def sample(right: bool, number: int) -> dict[str, Any]:
    """A recorded sample of five lines that says which it is; a wrong one goes wrong in its third."""
    lines = "".join(f"{line}. {'good' if right else 'bad'} {number}.\n" for line in range(4))
    text = f"{lines}</think>\nThe answer is {right}."
    return {"answer": str(right), "correct": right, "tokens": 9, "text": text, "sound": 5 if right else 2}


def recorded(folder: Path, split: str = "train") -> Path:
    """300 questions in two bins: some all right, some all wrong, most of them mixed."""
    folder.mkdir()
    lines = []
    for number in range(300):
        rights = {0: 0, 1: 8}.get(number % 5, 1 + number % 7)
        samples = [sample(place < rights, place) for place in range(8)]
        id_, bin_ = f"{split}/{1 + number % 2}/{number}", 1 + number % 2
        asked = {"id": id_, "task": "ledger", "bin": bin_, "question": f"Q{number}?"}
        lines.append({**asked, "greedy": samples[0], "samples": samples[1:]})
    save(folder / "one.jsonl.gz", lines[:150])
    save(folder / "two.jsonl.gz", lines[150:])
    return folder


def test_examples_are_balanced_and_say_what_came_of_the_reply(tmp_path: Path) -> None:
    """Half of them right, wrong ones right up to their fault, and the prompt what the judge is asked."""
    mixture, dice = verdicts.Verdicts(recorded(tmp_path / "judged")), Random(0)
    kinds: Counter[str] = Counter()
    for example in (mixture(dice) for _ in range(400)):
        *prompt, said, ended = example
        shown = text(tuple(prompt)).partition("\n\n")[2].partition("\n\nIs this right?")[0]
        question = text(tuple(prompt)).removeprefix("<|im_start|>user\n").partition("\n\n")[0]
        assert text(tuple(prompt)) == judge.prompt(question, shown)
        verdicts_said = [segment.verdict for segment in prompt if segment.weight]
        sound = 5 if "good" in shown else 2
        shown_lines = shown.count("\n") + 1
        assert verdicts_said == [*["Yes"] * min(sound, shown_lines), *["No"] * (sound < shown_lines)]
        assert (said.text, ended.text) == ("Yes" if shown_lines <= sound else "No", "<|im_end|>\n")
        kinds["good" if "good" in shown else "bad"] += 1
        kinds["whole"] += "answer is" in shown
    assert 160 < kinds["good"] < 240
    assert 0.6 < kinds["whole"] / 400 < 0.85


def test_probes_are_of_questions_that_are_not_learnt_from(tmp_path: Path) -> None:
    """Both kinds alike, whole replies, and only the verdict weighs."""
    folder = recorded(tmp_path / "judged")
    probes = verdicts.probes(folder, count=20)["verdicts"]
    probed = {example[0].text for example in probes}
    assert probed.isdisjoint(verdicts.Verdicts(folder)(Random(seed))[0].text for seed in range(300))
    assert Counter(example[-1].text for example in probes) == {"Yes": 20, "No": 20}
    assert all(
        [bool(segment.weight) for segment in example] == [False] * (len(example) - 1) + [True] for example in probes
    )


def test_letters_that_are_right_by_luck_are_left_out(tmp_path: Path) -> None:
    """An ordering's right answer after a wrong step is neither learnt as right nor as wrong."""
    folder = recorded(tmp_path / "judged")
    for path in folder.iterdir():
        lines = list(load(path).values())
        for line in lines:
            line["task"] = "ordering"
            line["samples"][0] |= {"answer": "True", "correct": True, "sound": 1, "text": "luck\nby\nchance"}
        save(path, lines)
    mixture = verdicts.Verdicts(folder)
    assert not any("luck" in text(mixture(Random(seed))) for seed in range(300))


def test_recordings_that_cannot_be_learnt_from_are_refused(tmp_path: Path) -> None:
    """None at all, or of a split that figures are drawn from."""
    with pytest.raises(ValueError, match="no recordings in"):
        verdicts.Verdicts(tmp_path)(Random(0))
    with pytest.raises(ValueError, match=r"held-out/1/0: a judge learns from the train split alone"):
        verdicts.Verdicts(recorded(tmp_path / "held", "held-out"))(Random(0))


def test_recordings_are_scored(tmp_path: Path, scripted: Any) -> None:
    """Every sample, the greedy one too, gets the score of its own text; without texts there is nothing to judge."""
    questions = selected("train", {"1": 3})
    golds = {question.question: question.gold for question in questions.values()}

    def script(asked: str, temperature: float, seed: int) -> Reply:
        if asked.endswith(judge.ASK):
            right = f"{{{golds[asked.partition(chr(10))[0]]}}}" in asked
            return verdict(Yes=log(0.8 if right else 0.1), No=log(0.2 if right else 0.9))
        return Reply(rf"\boxed{{{golds[asked] if seed % 2 else 'no'}}}", 3)

    engine = scripted(script)
    told = Recording("m", samples=4, parallel=2, extras=Extras(text=True))
    lines = record(engine, questions, told, tmp_path / "t.gz")
    found = judged(engine, lines, parallel=2)
    samples = [sample for line in found for sample in (line["greedy"], *line["samples"])]
    assert [sample["judge"] for sample in samples] == [0.8 if sample["correct"] else 0.1 for sample in samples]
    with pytest.raises(ValueError, match="record it with --texts"):
        judged(engine, record(engine, questions, Recording("m", samples=1), tmp_path / "no.gz"))
