"""The model card: what is between its markers follows from files, and every figure is the one worked out by hand."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from reasoner import orderings
from reasoner.__main__ import main
from reasoner.card import accuracy, aims, costs, making, pages, pictures, sources, tables, ways
from reasoner.card.curves import ends, keep, thinned
from reasoner.card.sources import Recording, Sources, gathered
from reasoner.recipes import recipes
from reasoner.record import save
from reasoner.sets import BINS, STANDARD, newcomers

ROOT = Path(__file__).parents[2] / "reasoner"
SMALL, LARGE = accuracy.PAIR


def line(
    id_: str, bin_: int | str, right: int, *, model: str = SMALL, total: int = 4, greedy: bool = False
) -> dict[str, Any]:
    """A question of so many samples, the first ones right; each of 10 tokens."""
    answers = ["7"] * right + [str(n) for n in range(100, 100 + total - right)]
    samples = [{"answer": a, "correct": a == "7", "tokens": 10, "thought": 8, "stated": 4, "steps": 1} for a in answers]
    samples[0]["probes"] = [[0, "1", 0.5], [4, "7", 0.9], [8, "7", 0.9]]
    tasks = {"s": "story", "o": "ordering", "n": "newcomer"}
    return {
        "id": id_, "task": tasks.get(str(bin_)[0], "ledger"), "gold": "7", "question": "?", "bin": bin_, "model": model,
        "t": 0.8, "greedy": {"answer": "7" if greedy else "1", "correct": greedy, "tokens": 20}, "samples": samples,
    }  # fmt: skip


def recording(lines: list[dict[str, Any]]) -> Recording:
    """These lines as a trace."""
    return Recording(Path("t.jsonl.gz"), tuple(lines))


def held_out(rights: dict[int | str, int], **more: Any) -> Recording:
    """One held-out question a bin, with so many of its samples right."""
    return recording([line(f"held-out/{bin_}/0", bin_, right, **more) for bin_, right in rights.items()])


def of(*recordings: Recording, root: Path = ROOT, **more: Any) -> Sources:
    """Sources with these recordings."""
    return Sources(root=root, recordings=recordings, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package's folder with one shipped model, two traces, two curves, and a page with every block."""
    root = tmp_path / "reasoner"
    shutil.copytree(ROOT / "weights" / SMALL, root / "weights" / SMALL)
    (root / "traces").mkdir()
    for model, right in ((SMALL, 2), (LARGE, 3)):
        rights = [
            line(f"held-out/{bin_}/0", bin_, right, model=model, total=32) for bin_ in (4, 5, 6, "s2", "s3", "o2")
        ]
        save(
            root / "traces" / f"{model}.jsonl.gz", [*rights, line("newcomer/000", "newcomer", 1, model=model, total=32)]
        )
    for seed in (0, 1):
        run = tmp_path / f"{SMALL}-{seed}"
        run.mkdir()
        (run / "curve.jsonl").write_text("".join(f"{json.dumps(point)}\n" for point in curve()), encoding="utf-8")
        keep(run, root / "curves")
    (root / "README.md").write_text("".join(f"<!-- card: {n} -->\nold\n<!-- end -->\n" for n in pages.BLOCKS))
    return root


def point(stage: str, tokens: int, **skills: float) -> dict[str, Any]:
    """A line of a curve."""
    return {"tokens": tokens, "cpu_seconds": tokens / 1e4, "stage": stage, "loss": 0.5, "skills": skills}


def curve() -> list[dict[str, Any]]:
    """Two stages, and a point with gates alone in each."""
    whole = {"reading": 0.8, "clues": 0.4, "sums": 0.1}
    return [
        point("reading", 1_000_000, reading=0.5),
        point("reading", 2_000_000, **whole),
        point("sums", 3_000_000, reading=0.7, sums=0.9),
        point("sums", 5_000_000, **whole | {"sums": 0.9}),
    ]


@pytest.fixture(scope="module")
def committed() -> Sources:
    """The repository's own files."""
    return gathered(ROOT)


# Figures of a thousand recorded questions take seconds.
@pytest.mark.timeout(120)
def test_the_committed_card_is_what_the_command_writes(committed: Sources) -> None:
    """Every block of every page follows from the committed files."""
    for name in pages.PAGES:
        page = (ROOT / name).read_text(encoding="utf-8")
        assert pages.filled(page, committed) == page, f"{name} is out of date: python -m reasoner card"


@pytest.mark.timeout(120)
def test_the_committed_pictures_show_the_committed_data(committed: Sources) -> None:
    """Each picture that the card shows carries the digest of what it would be drawn from now."""
    for name, (data, _) in pictures.PICTURES.items():
        expected = pictures.digest(data(committed)) if data(committed) else None
        path = ROOT / pictures.FOLDER / f"{name}.svg"
        assert pictures.drawn_from(path) == expected, f"{name} is out of date: python -m reasoner card"


@pytest.mark.timeout(60)
def test_the_command_fills_the_page_and_draws(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks and four pictures; a second time writes the same bytes."""
    assert main(["card", "--root", str(folder)]) == 0
    written = [Path(name) for name in capsys.readouterr().out.splitlines()]
    assert [path.name for path in written] == [*(f"{name}.svg" for name in pictures.PICTURES), "README.md"]
    first = [path.read_bytes() for path in written]
    assert b"old" not in first[-1]
    assert main(["card", "--root", str(folder)]) == 0
    assert [path.read_bytes() for path in written] == first


def test_the_page_holds_the_figures(folder: Path) -> None:
    """Rows of both models, of the newcomer's question and of both seeds are there."""
    page = pages.filled((folder / "README.md").read_text(encoding="utf-8"), gathered(folder))
    assert f"### {SMALL}" in page
    assert f"| {LARGE} | 1 | 0.031 |" in page
    assert f"| `{SMALL}-1` | sums | 3.0 M | 5.0 | 0.500 |" in page
    assert f"| `{SMALL}` | 1,000,576 | 4 | 128 | 4 (2) |" in page


def test_files_that_are_missing_are_said_to_be(tmp_path: Path) -> None:
    """Of an empty folder every block says what is not there yet, and nothing is drawn."""
    found = gathered(tmp_path)
    for name in ("accuracy", "votes", "sizes", "escalation", "judge", "cost", "agreement", "runs", "other-seeds"):
        assert pages.BLOCKS[name](found).startswith(("Not", "No ")), name
    assert pictures.draw(found) == []


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!-- card: poems -->\n<!-- end -->\n", "no block of the card is called 'poems'"),
        ("<!-- card: files -->\n", "a marker without the other one"),
        ("<!-- end -->\n", "a marker without the other one"),
        ("<!-- card: files -->\n<!-- card: models -->\n<!-- end -->\n", "a marker without the other one"),
    ],
)
def test_wrong_markers_are_refused(page: str, message: str) -> None:
    """What cannot be filled is told, not left as it is."""
    with pytest.raises(ValueError, match=message):
        pages.filled(page, of())


def test_text_outside_of_markers_stays() -> None:
    """Prose is nobody's but its writer's."""
    page = "# A\n<!-- card: standard -->\nold\n<!-- end -->\nB\n"
    filled = pages.filled(page, of())
    assert filled.startswith("# A\n<!-- card: standard -->\n| family |")
    assert filled.endswith("|\n<!-- end -->\nB\n")


def test_curves_are_thinned_to_whole_measurements(tmp_path: Path) -> None:
    """Points with all skills stay; a folder with another name, or a line that is no point, is refused."""
    assert [each["tokens"] for each in thinned(curve())] == [2_000_000, 5_000_000]
    assert list(ends(curve())) == ["reading", "sums"]
    assert ends(curve())["reading"]["tokens"] == 2_000_000
    with pytest.raises(ValueError, match="named <recipe>-<seed>"):
        keep(tmp_path / "first", tmp_path)
    (tmp_path / "a-0").mkdir()
    (tmp_path / "a-0" / "curve.jsonl").write_text('{"tokens": 1}\n')
    with pytest.raises(ValueError, match="line 1 is no point"):
        keep(tmp_path / "a-0", tmp_path)
    (tmp_path / "a-0" / "curve.jsonl").write_text(f'{json.dumps(curve()[0])}\n{{"tokens": 2')
    with pytest.raises(ValueError, match=r"curve.jsonl, line 2 is no point of a curve: "):
        keep(tmp_path / "a-0", tmp_path)
    (tmp_path / "a-0" / "curve.jsonl").write_text("")
    with pytest.raises(ValueError, match="has no points yet"):
        keep(tmp_path / "a-0", tmp_path)


def test_a_folder_with_nothing_to_tell_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page without recordings would lose its figures."""
    assert main(["card", "--root", str(tmp_path / "no")]) != 0
    assert "no has no README.md: nothing to fill" in capsys.readouterr().err
    page = "<!-- card: accuracy -->\nold\n<!-- end -->\n"
    (tmp_path / "README.md").write_text(page)
    assert main(["card", "--root", str(tmp_path)]) != 0
    assert "has no recorded samples in traces: nothing to fill" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == page


def test_missed_gates_are_named() -> None:
    """A run that never came to a stage, and one that ended below a gate, each in a sentence."""
    short = {f"{SMALL}-1": [point("reading", 5, reading=0.1, clues=0.9)]}
    gate = recipes()[SMALL].stages[0].gates["reading"]
    assert making.missed(of(curves=short)).splitlines() == [
        f"- `{SMALL}-1` ended its stage reading after 5 of 20,000,000 tokens with reading 0.100 of {gate:.2f}.",
        f"- `{SMALL}-1` never began its stage sums.",
    ]


def test_a_stage_that_began_is_not_gone_through() -> None:
    """Without gates it takes all of its tokens; with gates these, after its least tokens, or a stage after it."""
    reading, sums, everything, _, wording = recipes()[SMALL].stages
    reached = dict.fromkeys(("reading", "clues", "sums", "choices"), 0.9)
    at = [reading.least_tokens, reading.least_tokens + sums.least_tokens]
    begun = [point("reading", at[0], **reached), point("sums", at[1], **reached)]

    def told(*points: dict[str, Any]) -> list[str]:
        return making.missed(of(curves={f"{SMALL}-0": points})).splitlines()

    end = at[1] + everything.most_tokens
    known = point("everything", end, **reached), point("letters", end + 100_000, **reached)
    end += 100_000
    whole = [*begun, *known, point("wording", end + wording.most_tokens, **reached)]
    assert told(*whole) == ["Every kept run went through all of its stages."]
    assert told(*whole[:3], point("wording", end, **reached))[0] == f"- `{SMALL}-0` had no stage letters."
    assert told(*whole[:4], point("wording", end + 1_500_000, **reached)) == [
        f"- `{SMALL}-0` ended its stage wording after 1,500,000 of {wording.most_tokens:,} tokens."
    ]
    early = point("sums", at[1] - 1, **reached)
    assert told(begun[0], early)[0] == (
        f"- `{SMALL}-0` ended its stage sums after {sums.least_tokens - 1:,} of {sums.most_tokens:,} tokens."
    )
    low = point("sums", at[0] + sums.most_tokens, **reached | {"sums": 0.2})
    assert told(begun[0], low)[0] == f"- `{SMALL}-0` ended its stage sums with sums 0.200 of {sums.gates['sums']:g}."
    assert told(begun[0], low, *whole[2:])[0].startswith(f"- `{SMALL}-0` ended its stage sums with sums 0.200")


def test_no_held_out_question_of_a_newcomer_is_shown() -> None:
    """Whoever works on the generator reads the card, and may not read those; the one shown is to be looked at."""
    for name in pages.PAGES:
        text = (ROOT / name).read_text(encoding="utf-8") + pages.BLOCKS["families"](of())
        # Counted, so that a failure does not show them either.
        assert sum(each.question in text for each in newcomers().values()) == 0, name
    first = json.loads((ROOT / "newcomer-development.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert f"> {first['question']}\n\nAnswer: {first['answer']}." in pages.BLOCKS["families"](of())


def test_the_prose_counts_a_bins_questions() -> None:
    """It stands outside of the markers."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"A bin has {min(STANDARD.values())} to {max(STANDARD.values())} questions:" in page


def test_middle_bins_are_read_from_the_calibration_split() -> None:
    """A bin is in the middle if calibration samples are right a quarter to three quarters of the time."""
    reported = held_out({1: 4, 2: 2, 3: 1, 4: 0})
    assert accuracy.middle_bins(of(reported), reported) == ("2", "3")
    other = recording([line(f"calibration/{bin_}/0", bin_, right) for bin_, right in ((1, 3), (2, 4), (3, 2))])
    assert accuracy.middle_bins(of(reported, other), reported) == ("1", "3")


def test_the_two_middle_bins_are_neighbours_around_one_half() -> None:
    """Means of both models: 1.0, 0.75, 0.25, 0.0 make the second and third the middle."""
    small, large = held_out({1: 4, 2: 2, 3: 0, 4: 0}), held_out({1: 4, 2: 4, 3: 2, 4: 0}, model=LARGE)
    both = of(small, large)
    assert accuracy.middle_two(both, "ledger") == ("2", "3")
    found = accuracy.beyond_small(both, "ledger")
    assert found is not None
    assert (found.mean, found.half) == (0.5, 0.0)
    assert "| together | 2 | 0.250 | 0.750 | +50.0 ±0.0 |" in accuracy.sizes(both)


def test_differences_have_intervals() -> None:
    """The half-width is 1.96 standard errors of the mean; of one value it is unknown."""
    found = accuracy.difference([0.0, 1.0, 0.0, 1.0])
    assert found.mean == 0.5
    assert found.half == pytest.approx(1.96 * math.sqrt(1 / 3 / 4))
    assert str(found) == "+50.0 ±56.6"
    assert str(accuracy.difference([0.25])) == "+25.0"


def test_aims_are_judged() -> None:
    """32 samples of which 24 are right vote right where greedy is wrong: 100 points; size adds nothing."""
    rights: dict[int | str, int] = {4: 24, 5: 24, "newcomer": 24}
    told = aims.aims(of(held_out(rights, total=32), held_out(rights, total=32, model=LARGE)))
    assert f"| `{SMALL}` | 0% | **no** |" in told
    assert f"| `{LARGE}` | +100.0 ±0.0 | yes |" in told
    assert "| ledger | +0.0 ±0.0 | **no** |" in told
    assert "| story | - | not measured |" in told


def test_agreement_is_exact() -> None:
    """Of 2 right, 1 wrong and 1 silent sample two agree in 1 of 6 pairs, and that pair is right."""
    samples = [{"answer": a, "correct": a == "7"} for a in ("7", "7", "1", None)]
    assert ways.agreed(samples, 2) == (pytest.approx(1 / 6), pytest.approx(1 / 6))
    assert ways.agreed(samples, 1) == (pytest.approx(3 / 4), pytest.approx(1 / 2))


def test_the_hull_leaves_out_what_others_beat() -> None:
    """Points below a line between two others, and dearer ones that are no better, are no way to answer."""
    assert ways.upper_hull([(1, 0.5), (2, 0.5), (2, 0.6), (3, 0.65), (4, 0.9)]) == [(1, 0.5), (4, 0.9)]
    assert ways.upper_hull([(2, 0.5), (1, 0.7)]) == [(1, 0.7)]


def test_cascades_are_charged_for_both_models() -> None:
    """Two small samples of four, two right, agree in a sixth of the cases; else the large one is asked, and right."""
    small, large = held_out({4: 2}), held_out({4: 4}, model=LARGE)
    found = ways.compared({SMALL: small, LARGE: large}, {SMALL: 1.0, LARGE: 3.0})
    assert found is not None
    way = next(each for each in found.cascades if each.name == "small x 2, large x 1 if they disagree")
    assert way.asked == pytest.approx(5 / 6)
    assert way.accuracy == pytest.approx(1.0)
    assert way.cost == pytest.approx(2 * 10 + 5 / 6 * 10 * 3)
    costs_of = {each.name: each.cost for each in found.alone}
    assert costs_of[f"{LARGE} x 4"] == pytest.approx(4 * 10 * 3)
    assert costs_of[f"{SMALL} greedy"] == pytest.approx(20)
    # Alone: small once is right half of the time for 10, large once always for 30; in between by lot.
    assert found.at(20) == pytest.approx((0.75,))
    assert found.at(1000) == pytest.approx((1.0,))
    assert found.at(5) == ()
    assert math.isnan(found.gain(replace(way, cost=5)).mean)
    assert found.gain(replace(way, cost=20)).mean == pytest.approx(0.25)


def test_a_gain_that_may_be_chance_is_called_none() -> None:
    """An interval that has 0 in it is no verdict."""
    assert ways.pays(accuracy.Difference(0.02, 0.01)) == "escalation pays"
    assert ways.pays(accuracy.Difference(-0.02, 0.01)) == "escalation does not pay"
    assert ways.pays(accuracy.Difference(0.02, 0.03)) == ways.pays(accuracy.Difference(0.02, math.nan))
    assert "no difference" in ways.pays(accuracy.Difference(0.02, 0.03))


def test_guesses_are_taken_off() -> None:
    """A letter of four is right in a quarter of the cases, of three in a third, as puzzles are drawn."""
    for bin_ in BINS["ordering"]:
        choices = {len(orderings.draw(Random(seed), bin_).choices) for seed in range(20)}
        assert {round(1 / accuracy.GUESSED[bin_], 6)} == choices
        assert accuracy.known(bin_, accuracy.GUESSED[bin_]) == pytest.approx(0)
        assert accuracy.known(bin_, 1.0) == pytest.approx(1)
    assert accuracy.known("4", 0.25) == 0.25


def test_costs_are_those_measured_or_in_parameters() -> None:
    """CPU ms by the speed with most samples at once; without speeds, parameters beside the small model's."""
    both = held_out({4: 2}), held_out({4: 4}, model=LARGE)
    assert costs.per_token(of(*both))[SMALL] == pytest.approx(1.0, rel=0.15)
    assert not costs.measured(of(*both))
    speeds = [
        {"model": model, "engine": costs.SERVED, "streams": streams, "tokens_per_cpu_second": rate, "weights": "0"}
        for model, streams, rate in ((SMALL, 1, 4_000.0), (SMALL, 8, 10_000.0), (LARGE, 8, 2_000.0))
    ]
    known = of(*both, agreement={"speeds": speeds, "agreements": []})
    assert costs.per_token(known) == {SMALL: pytest.approx(0.1), LARGE: pytest.approx(0.5)}
    told = costs.cost(known)
    assert f"| `{LARGE}` | - | 2,000 (5.00) |" in told
    assert f"Measured with other weights than those shipped: {LARGE}, {SMALL}" in told


def test_engines_are_compared() -> None:
    """Ties and other differences are counted apart."""
    row = {
        "model": SMALL, "weights": "0", "engine": "vLLM", "streams": 1, "questions": 100, "prompts": 100, "same": 97,
        "differences": [{"tie": True}, {"tie": True}, {"tie": False}],
    }  # fmt: skip
    told = costs.agreement(of(agreement={"agreements": [row], "speeds": []}))
    assert f"| `{SMALL}` | vLLM | 1 | 100 of 100 | 97 of 100 | 2 | 1 |" in told


def test_the_judge_is_told() -> None:
    """Families and all; null is a dash."""
    rows = [{"bin": "1", "questions": 5}, {"bin": "all", "questions": 9, "AUROC judge": 0.8125, "judge@4": None}]
    told = costs.judge(of(judge=rows))
    assert "| all | 9 | 0.812 | - |" in told
    assert "| 1 |" not in told


def test_all_seeds_are_told() -> None:
    """Shipped and rebuilt, one below the other, but no figure of other questions to compare with."""
    again = {"1": [{"bin": "ledger", "questions": 3, "pass@1": 0.25}, {"bin": "4", "questions": 3, "pass@1": 0.25}]}
    told = making.other_seeds(of(held_out({4: 2}), seeds={SMALL: again}))
    assert told.splitlines()[2:] == [f"| `{SMALL}` | 1 | ledger | 3 | 0.250 | - | - | - | - |"]
    told = making.other_seeds(of(held_out({4: 2, 5: 4, 6: 3, "s1": 4}), seeds={SMALL: again}))
    assert told.splitlines()[2] == f"| `{SMALL}` | shipped | ledger | 3 | 0.750 | 0.000 | - | - | - |"
    told = making.other_seeds(of(held_out({4: 2, "s1": 4}), seeds={SMALL: again}))
    assert "shipped" not in told
    again["7"] = [{"bin": "ledger", "questions": 3, "greedy": 0.5}]
    told = making.other_seeds(of(held_out({4: 2, 5: 4, 6: 3, "s1": 4}), seeds={SMALL: again}))
    assert [row.split(" | ")[1:5] for row in told.splitlines()[2:]] == [
        ["shipped", "ledger", "3", "0.750"],
        ["1", "ledger", "3", "0.250"],
        ["7", "ledger", "3", "-"],
    ]


def test_broken_other_seeds_are_refused(tmp_path: Path) -> None:
    """It is an object of rows by model and seed."""
    (tmp_path / "other-seeds.json").write_text("[]")
    with pytest.raises(ValueError, match="no object of rows by model and seed"):
        gathered(tmp_path)


def test_the_coolest_of_several_recordings_is_reported() -> None:
    """Two temperatures of one split: the lower one; models in the order of their sizes, the newcomer's held out."""
    warm, cool = held_out({4: 2}), recording([{**line("newcomer/000", "newcomer", 1), "t": 0.6}])
    other = held_out({4: 1}, model="reasoner-tiny")
    found = of(warm, cool, other).reported
    assert list(found) == ["reasoner-tiny", SMALL]
    assert found[SMALL] is cool


def test_numbers_are_written_shortly() -> None:
    """Shares with three digits, differences in points, unknown ones as a dash."""
    assert [tables.share(value) for value in (0.5, None, math.nan)] == ["0.500", "-", "-"]
    assert [tables.points(value) for value in (0.051, -0.2, math.nan)] == ["+5.1", "-20.0", "-"]
    assert tables.table(("a", "b"), [(1, 2)]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert sources.place("unknown") > sources.place(LARGE)
