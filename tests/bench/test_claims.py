"""Claims: each is complete and its check says what is known beforehand of samples made by hand."""

import json
import re
import shutil
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from bench.claims.__main__ import live, plans, replayed, run, some
from bench.claims.claim import (
    ANY,
    EXACT,
    HELD,
    LENGTHS,
    UNFITTED,
    Claim,
    Live,
    Replays,
    Verdict,
    checked,
    judged,
    settings,
)
from bench.claims.exact import partitions, sequences, stopped
from bench.claims.page import row
from bench.claims.racing import LIVE
from bench.claims.saving import at_equal_tokens
from bench.claims.table import CLAIMS, UNCLAIMED
from core.budget import Budget
from core.stopping.names import RULES, rule_named
from sim.replay import run as replay
from sim.traces import Question, Recorded, TraceSource, half, load
from strategies.selectors import selector_named
from strategies.self_consistency import self_consistency

DATA = Path(__file__).parents[1] / "data" / "mcqa-gpt35-20.jsonl.gz"
EXACTLY = [claim for claim in CLAIMS if claim.scope is EXACT]
SAMPLED = [claim for claim in CLAIMS if claim.needs]


def about(words: str) -> Claim:
    """The claim that says this."""
    return next(claim for claim in CLAIMS if words in claim.says)


def made(*answers: tuple[str, int], name: str = "made") -> dict[str, list[Question]]:
    """One set of one question: answers with their lengths; R is right."""
    samples = tuple(Recorded(answer, answer == "R", tokens) for answer, tokens in answers)
    return {name: [Question("q", samples)]}


AGREED = made(*[("R", 10 + place) for place in range(64)])
SCATTERED = made(*[(f"{place}", 10 + place) for place in range(64)])
RIGHT_FIRST = made(*[("R", 1)] * 7, *[("W", 100)] * 9)
RIGHT_LAST = made(*[("W", 1)] * 7, *[("R", 100)] * 9)


def verdict(words: str, sets: dict[str, list[Question]], orders: int = 1) -> Verdict:
    """What is found of a claim on these sets."""
    claim = about(words)
    return checked(claim, replayed(sets, [claim], orders, 1, {})).verdict


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.says[:40])
def test_every_claim_is_complete(claim):
    """It has a source, a sentence, and rules that exist; what it replays is among the rules that exist, too."""
    assert claim.source
    assert claim.says
    assert claim.rules
    for spelling in (*claim.rules, *(need.rule for need in claim.needs)):
        kind, _, name = spelling.partition("selector ")
        assert selector_named(name) if name else rule_named(kind)
    assert bool(claim.needs) == (claim.scope not in (EXACT, ANY))


def test_every_rule_has_a_claim_or_a_reason():
    """By the names that requests may use."""
    parts = [part for claim in CLAIMS for rule in claim.rules for part in re.split("[&|]", rule)]
    claimed = {re.split(r"-[\d.]|@", part)[0] for part in parts}
    assert set(RULES) <= claimed | set(UNCLAIMED)
    assert set(UNCLAIMED) <= set(RULES)


@pytest.mark.parametrize("claim", EXACTLY, ids=lambda claim: claim.says[:40])
def test_arithmetic_is_checked_without_samples(claim):
    """Everything holds but the error of ConSol's tests, which stop on every tie."""
    wanted = Verdict.FAILS if "sprt" in claim.rules else Verdict.HOLDS
    assert checked(claim, Replays()).verdict is wanted


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.says[:40])
def test_every_check_returns_a_finding(claim):
    """On a set with a clear answer and one without; words for all columns."""
    sets = AGREED | {"game24": SCATTERED["made"]}
    finding = checked(claim, replayed(sets, [claim], 1, 1, {}))
    assert finding.verdict in Verdict
    assert finding.measured
    assert finding.why


@pytest.mark.parametrize("claim", SAMPLED, ids=lambda claim: claim.says[:40])
def test_short_recordings_leave_a_claim_unchecked(claim):
    """Four samples a question are fewer than any claim needs."""
    finding = checked(claim, replayed(made(*[("R", 10)] * 4), [claim], 1, 1, {}))
    assert finding.verdict is Verdict.UNCHECKED


def test_adaptive_consistency_saves_nothing_where_nothing_agrees():
    """4 of 40 samples on agreement: more than is claimed. 40 of 40 without: only the accuracy is kept."""
    assert verdict("Up to 7.9 times", AGREED) is Verdict.HOLDS
    assert verdict("Up to 7.9 times", SCATTERED) is Verdict.IN_PART


def test_racing_helps_where_the_short_samples_are_right():
    """The first three of sixteen against the majority of sixteen, both ways round."""
    assert verdict("The first three of k", RIGHT_FIRST, 3) is Verdict.HOLDS
    assert verdict("The first three of k", RIGHT_LAST, 3) is Verdict.IN_PART
    assert verdict("The first to finish", RIGHT_FIRST, 3) is Verdict.HOLDS
    assert verdict("The first to finish", RIGHT_LAST, 3) is Verdict.FAILS


def test_curtailment_holds_and_a_changed_answer_would_be_seen():
    """It is lossless; were one program in the records of another mind, the verdict says so."""
    claim = about("Never gives another answer")
    replays = replayed(SCATTERED | {"agreed": AGREED["made"]}, [claim], 2, 1, {})
    assert checked(claim, replays).verdict is Verdict.HOLDS
    changed = Replays([replace(row, agreement=0.5) if row.width == 1 else row for row in replays.rows])
    assert checked(claim, changed).verdict is Verdict.IN_PART


def test_racing_breaks_ties_by_length_already():
    """All start at once, so the first seen is the shortest: the selector of the paper changes nothing."""
    source = TraceSource({"0/q": tuple(SCATTERED["made"][0].samples[:8])}, nanos_per_token=1)
    options = {"rule": "short-3", "width": 8, "incomparable_after": 8}
    plain = replay(source, self_consistency, Budget(8), options)
    tied = replay(source, self_consistency, Budget(8), {**options, "selector": "majority-tie-shortest"})
    assert [program.answer for program in plain] == [program.answer for program in tied] == ["0"]


def test_a_claim_of_several_parts_is_judged_by_all():
    """All, some or none of them."""
    parts = ({"a": True, "b": True}, {"a": True, "b": False}, {"a": False})
    verdicts = [judged("", each).verdict for each in parts]
    assert verdicts == [Verdict.HOLDS, Verdict.IN_PART, Verdict.FAILS]


def test_the_lead_is_read_off_between_its_thresholds():
    """At the tokens of one of them its own share of other answers, at those of the full budget none."""
    rules = ("adaptive-consistency-0.70", "adaptive-consistency-0.95")
    claim = replace(about("dominated"), needs=settings(rules, (16,)))
    mixed = made(*[("R", 10)] * 10, *[("W", 10)] * 6)
    replays = replayed(mixed, [claim], 5, 1, {})
    for known in replays.rows:
        assert at_equal_tokens(replays, known) == pytest.approx(1 - known.agreement)
    assert at_equal_tokens(replays, replace(replays.rows[0], tokens=replays.rows[0].tokens_fixed)) == 0


def test_live_figures_are_means_by_mode(tmp_path):
    """And none where nothing was measured."""
    rows = [{"mode": mode, "correct": tokens > 1, "tokens": tokens} for mode, tokens in (("a", 1), ("a", 3), ("b", 5))]
    path = tmp_path / "inside.json"
    assert live(path) == {}
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert live(path) == {"a": Live(0.5, 2), "b": Live(1, 5)}


@pytest.mark.parametrize(("tokens", "wanted"), [(3000, Verdict.IN_PART), (1000, Verdict.FAILS)])
def test_a_live_gain_would_be_seen(tokens, wanted):
    """DeepConf at a small budget, where all agree: a gain live is as good an answer for fewer tokens."""
    claim = about("Hardly any gain")
    voting, cutting = LIVE
    modes = {voting: Live(0.8, 2000), cutting: Live(0.8, tokens)}
    assert checked(claim, replayed(AGREED, [claim], 1, 1, modes)).verdict is wanted


def test_exact_helpers():
    """Numbers of partitions and of orders of five (Bell), and a rule that stops at the first vote."""
    assert len(list(partitions(5))) == 7
    assert len(set(sequences(5))) == 52
    assert stopped(rule_named("adaptive-consistency-0.7"), 0.7, 5) == pytest.approx((0.7, 0.3, 1.0))


def test_only_what_a_scope_admits_is_replayed():
    """A set without lengths of its own is not raced."""
    claim = about("The first three of k")
    assert "math-made" not in LENGTHS
    assert plans("math-made", AGREED["made"], [claim], 1) == []
    assert [(plan.caps, plan.widths) for plan in plans("made", AGREED["made"], [claim], 1)] == [
        ((8,), (8,)),
        ((16,), (16,)),
    ]


def test_what_was_fitted_is_judged_on_the_other_half():
    """The three-count prior, on the questions of half b and under a name of their own; all other claims on all."""
    questions = [Question(f"q{n}", AGREED["made"][0].samples) for n in range(8)]
    rows = replayed({"made": questions}, [about("30 to 80 % of the calls")], 1, 1, {}).rows
    assert {row.trace for row in rows} == {f"made{HELD}"}
    assert {row.questions for row in rows} == {sum(half(question) == "b" for question in questions)}
    assert [claim.rules[0] for claim in CLAIMS if claim.scope is UNFITTED] == ["three-count-0.95"]


def test_questions_are_chosen_by_their_ids():
    """The same ones whatever their order, no more than asked for."""
    questions = [Question(str(number), ()) for number in range(20)]
    assert set(some(questions, 5)) == set(some(questions[::-1], 5))
    assert len(some(questions, 5)) == 5
    assert some(questions, 50) == questions


def test_a_bar_does_not_end_a_cell():
    """Composed rules are spelled with one."""
    claim = replace(CLAIMS[0], rules=("esc-5|curtailment",))
    assert r"`esc-5\|curtailment`" in row(claim, judged("figures", {"all": True}))


@pytest.mark.timeout(60)
def test_the_files_are_written(tmp_path):
    """Findings, records and a page that says where it comes from, all of them of this run."""
    shutil.copy(DATA, tmp_path)
    page, out = tmp_path / "claims.md", tmp_path / "results" / "claims.json"
    run(Namespace(folder=tmp_path, orders=1, questions=4, jobs=1, out=out, page=page))
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [claim["claim"] for claim in found["claims"]] == [claim.says for claim in CLAIMS]
    halves = {record["trace"].endswith(HELD): record["questions"] for record in found["records"]}
    assert halves == {False: 4, True: sum(half(question) == "b" for question in some(load(DATA), 4))}
    text = page.read_text(encoding="utf-8")
    assert "Written by `python -m bench.claims`" in text
    assert all(claim.says in text for claim in CLAIMS)
    assert text.count("\n| `") == len(CLAIMS)
