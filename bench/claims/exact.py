"""Checks that need no samples: every way in which votes can fall, and exact probabilities of stopping."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from math import log

from bench.claims.claim import Finding, Replays, judged, pct
from core.certainty import normalized_certainty
from core.evidence import Ballot, Evidence
from core.stopping.names import rule_named
from core.stopping.rule import Rule
from core.types import StopReason
from sim.plan import Setting

HORIZON = 256
"""Votes: the cap of ConSol."""
ALPHA = 0.05


def partitions(votes: int, most: int | None = None) -> Iterator[tuple[int, ...]]:
    """The ways to share out votes over answers, largest first."""
    most = votes if most is None else min(most, votes)
    if votes == 0:
        yield ()
    for first in range(most, 0, -1):
        for rest in partitions(votes - first, first):
            yield (first, *rest)


def sequences(votes: int, used: int = 0) -> Iterator[str]:
    """The orders in which answers can agree, each named by its first appearance: AAB, ABA, ABB, ..."""
    if votes == 0:
        yield ""
        return
    for place in range(used + 1):
        for rest in sequences(votes - 1, max(used, place + 1)):
            yield chr(ord("A") + place) + rest


def evidence(answers: str) -> Evidence:
    """What is known after these votes, one character an answer."""
    counts = tuple(sorted(Counter(answers).values(), reverse=True))
    return Evidence(counts, 64, len(answers), len(answers), [Ballot(answer) for answer in answers])


def stops(rule: Rule, answers: str) -> bool:
    """Whether the rule would stop after these votes."""
    return rule(evidence(answers)) is not None


def first_patterns(_: Replays) -> Finding:
    """The fewest votes that pass Adaptive-Consistency's test against 0, 1, 2 and 3 others."""
    rule = rule_named("adaptive-consistency-0.95")
    passing = [next(v for v in range(other, 64) if rule(Evidence((v, other), 64))) for other in range(4)]
    found = ", ".join(f"{lead}-{second}" for second, lead in enumerate(passing))
    return judged(f"first to pass: {found}", {"4-0, 6-1, 8-2, 9-3": passing == [4, 6, 8, 9]})


def one_window(replays: Replays) -> Finding:
    """Certaindex 0.7 at five votes against the first window of ESC: over all orders, and replayed at cap 8."""
    once, window = rule_named("certaindex-once-0.7@5"), rule_named("esc-5")
    orders = list(sequences(5))
    same = sum(stops(once, order) == stops(window, order) for order in orders)
    pairs = replays.pairs(Setting(8, "certaindex-once-0.7@5", 1), Setting(8, "esc-5", 1))
    equal = sum(
        (one.tokens, one.samples, one.accuracy) == (two.tokens, two.samples, two.accuracy) for one, two in pairs
    )
    return judged(
        f"{same} of {len(orders)} orders of five votes are decided alike; replayed at cap 8, which has one whole "
        f"window, tokens, samples and accuracy are equal on {equal} of {len(pairs)} sets",
        {"over every order of votes": same == len(orders), "in the replay": equal == len(pairs)},
    )


def three_of_five(_: Replays) -> Finding:
    """Which shares of five votes pass 0.4."""
    passing = [counts for counts in partitions(5) if rule_named("certaindex-once-0.4@5")(Evidence(counts, 64))]
    wanted = [counts for counts in partitions(5) if counts[0] >= 3]
    return judged(f"passing: {shown(passing)}", {"exactly those with a leader of three": passing == wanted})


def sixteen(_: Replays) -> Finding:
    """Which shares of sixteen votes pass Rebase's thresholds."""
    loose, strict = rule_named("certaindex-once-0.75@16"), rule_named("certaindex-once-0.85@16")
    ties = [c for c in partitions(16) if len(c) > 1 and c[0] == c[1] and loose(Evidence(c, 64))]
    passing = [c for c in partitions(16) if strict(Evidence(c, 64))]
    return judged(
        f"0.75 passes the ties {shown(ties)} (8-8 reads {normalized_certainty((8, 8)):.3f}); 0.85 passes "
        f"{shown(passing)}",
        {"0.75 admits 8-8": (8, 8) in ties, "0.85 is two dissenters who agree": passing == [(16,), (15, 1), (14, 2)]},
        "Normalised entropy is not a test of the lead",
    )


def shown(shares: list[tuple[int, ...]]) -> str:
    """Shares of votes as a reader writes them."""
    return ", ".join("-".join(map(str, counts)) for counts in shares)


def stopped(rule: Rule, first: float, horizon: int) -> tuple[float, float, float]:
    """Two answers, the first with this probability per vote, looked at after every vote up to the horizon.

    The probability of stopping as certain with the first in the lead, with the second, and the mean number of votes
    (the horizon where it does not stop). Exact up to rounding.
    """
    states, right, wrong, votes = {(0, 0): 1.0}, 0.0, 0.0, 0.0
    for count in range(1, horizon + 1):
        following: dict[tuple[int, int], float] = defaultdict(float)
        for (a, b), chance in states.items():
            following[a + 1, b] += chance * first
            following[a, b + 1] += chance * (1 - first)
        for a, b in list(following):
            reason = rule(Evidence(tuple(filter(None, (max(a, b), min(a, b)))), 1))
            if reason is not None:
                chance = following.pop((a, b))
                votes += chance * count
                right += chance * (reason is StopReason.CERTAIN and a > b)
                wrong += chance * (reason is StopReason.CERTAIN and a <= b)
        states = following
    return right, wrong, votes + horizon * sum(states.values())


def even(spelling: str) -> float:
    """The probability of ever declaring a leader between two equally probable answers."""
    right, wrong, _ = stopped(rule_named(spelling), 0.5, HORIZON)
    return right + wrong


def anytime_error(_: Replays) -> Finding:
    """The error of the anytime-valid test on an even stream, and on one with a leader."""
    tied = even("anytime-0.05")
    wrong = stopped(rule_named("anytime-0.05"), 0.55, HORIZON)[1]
    others = even("adaptive-consistency-0.95")
    return judged(
        f"an even 50/50 question is declared certain {pct(tied)} of the time within {HORIZON} votes "
        f"(adaptive-consistency-0.95: {pct(others)}), a 55/45 one for the wrong answer {pct(wrong)}",
        {"at most 5 % on a tie": tied <= ALPHA, "at most 5 % wrong": wrong <= ALPHA},
    )


def consol_error(_: Replays) -> Finding:
    """The nominal type I error of ConSol's tests against the real one."""
    plain, mixture = even("sprt"), even("mixture-sprt")
    wrong = stopped(rule_named("sprt"), 0.6, HORIZON)[1]
    return judged(
        f"an even 50/50 question is declared certain {pct(plain)} (sprt) and {pct(mixture)} (mixture-sprt) of the time "
        f"within {HORIZON} votes; a 60/40 one for the wrong answer {pct(wrong)}",
        {"sprt keeps 5 %": plain <= ALPHA, "mixture-sprt keeps 5 %": mixture <= ALPHA},
        "The released beta makes the boundary a lead of three",
    )


def anytime_votes(_: Replays) -> Finding:
    """Votes that the anytime-valid test takes against the formula for the number that is needed."""
    ratios = {}
    for first in (0.65, 0.7, 0.8, 0.9):
        formula = 2 / (2 * first - 1) ** 2 * log(1 / ALPHA)
        ratios[first] = stopped(rule_named("anytime-0.05"), first, 400)[2] / formula
    listed = ", ".join(f"{first:.2f}: {ratio:.2f}" for first, ratio in ratios.items())
    return judged(
        f"mean votes over the formula, by the leader's share of two answers: {listed}",
        {"within a factor of two": all(0.5 <= ratio <= 2 for ratio in ratios.values())},
    )
