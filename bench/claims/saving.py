"""Checks of what rules save and lose, one sample after the other."""

from math import exp, log
from statistics import fmean

from bench.claims.claim import (
    UNFITTED,
    Finding,
    Replays,
    change,
    disagreement,
    falling_short,
    fewer,
    judged,
    loss,
    pct,
    pts,
    saved,
    spread,
    worse,
)
from sim.plan import Setting
from sim.records import Record

ASC = "adaptive-consistency-0.95"
LEADS = (
    "adaptive-consistency-0.70",
    "adaptive-consistency-0.80",
    "adaptive-consistency-0.90",
    ASC,
    "adaptive-consistency-0.99",
)
"""The test of the lead from loose (0.70 takes one vote) to strict, to be compared at equal tokens."""
ONCE, OFTEN = "certaindex-once-0.7@5", "certaindex-0.7@5"
ENTROPIES = (ONCE, "certaindex-once-0.4@5", OFTEN, "at-least-5&certaindex-0.7@1")
"""Published ones, and the re-checked one at every vote, so that how often it is looked at makes no difference."""
DROP, CLEAR = 0.001, 0.005
"""A tenth and half a percentage point."""


def lossless(rows: list[Record]) -> bool:
    """No mean loss of a tenth of a point, and no set that is worse beyond chance."""
    return change(rows) > -DROP and worse(rows) == 0


def adaptive_consistency(replays: Replays) -> Finding:
    """Samples of Adaptive-Consistency at its cap of 40."""
    rows = replays.of(ASC, 40)
    times = [row.cap / row.samples for row in rows]
    return judged(
        f"{fmean(times):.1f} times fewer samples in the mean ({min(times):.1f} to {max(times):.1f}, {len(rows)} sets); "
        + loss(rows),
        {
            "up to 7.9 times": max(times) >= 7.9,
            "3.3 times on average": fmean(times) >= 3.3,
            "below 0.1 points lost": change(rows) > -DROP,
        },
    )


def esc(replays: Replays) -> Finding:
    """Samples of ESC with windows of five, cap 40."""
    rows = replays.of("esc-5", 40)
    shares = fewer(rows)
    return judged(
        f"{spread(shares)} fewer samples; {loss(rows)}; {pct(disagreement(rows))} other answers",
        {
            "33.8 % or more on every set": min(shares) >= 0.338,
            "up to 84.2 %": max(shares) >= 0.842,
            "at equal accuracy": lossless(rows),
        },
        falling_short(rows, shares, 0.338),
    )


def wider_window(replays: Replays) -> Finding:
    """Windows of eight against windows of five."""
    five, eight = replays.of("esc-5", 40), replays.of("esc-8", 40)
    return judged(
        f"windows of 8: {spread(fewer(eight))} fewer samples, {pct(disagreement(eight))} other answers; windows of 5: "
        f"{pct(fmean(fewer(five)))}, {pct(disagreement(five))}",
        {
            "fewer other answers": disagreement(eight) < disagreement(five),
            "at the price of samples": fmean(fewer(eight)) < fmean(fewer(five)),
            "at equal accuracy": lossless(eight),
        },
    )


def certaindex_saving(replays: Replays) -> Finding:
    """Tokens of the static threshold at the paper's cap of 20."""
    rows = replays.of(ONCE, 20)
    shares = saved(rows)
    return judged(
        f"{spread(shares)} fewer tokens; {loss(rows)}",
        {
            "10 % or more on every set": min(shares) >= 0.10,
            "47 % on an easy one": max(shares) >= 0.47,
            "at equal accuracy": lossless(rows),
        },
        falling_short(rows, shares, 0.10),
    )


def certaindex_again(replays: Replays) -> Finding:
    """What re-checking every five votes adds to the static threshold."""
    pairs = replays.pairs(Setting(20, OFTEN, 1), Setting(20, ONCE, 1))
    gains = [(often.tokens_saved or 0) - (once.tokens_saved or 0) for often, once in pairs]
    often = [row for row, _ in pairs]
    return judged(
        f"{pts(fmean(gains))} points more tokens saved ({pts(min(gains))} to {pts(max(gains))}); {loss(often)}",
        {"1.7 points more saved": fmean(gains) >= 0.017, "at equal accuracy": lossless(often)},
    )


def lead_beats_entropy(replays: Replays) -> Finding:
    """Certaindex against the test of the lead, at the tokens that Certaindex spends."""
    sentences, parts = [], {}
    for rule in ENTROPIES:
        pairs = [(row, at_equal_tokens(replays, row)) for cap in (16, 40) for row in replays.of(rule, cap)]
        entropy, lead = fmean(1 - row.agreement for row, _ in pairs), fmean(other for _, other in pairs)
        better = sum(other <= 1 - row.agreement for row, other in pairs)
        sentences.append(f"{rule}: {entropy:.2%} against {lead:.2%}, {better} of {len(pairs)}")
        parts[rule] = lead <= entropy
    return judged(
        "other answers than the full budget, by entropy and by the lead at the same tokens, and pairs of set and cap "
        f"on which the lead has no more: {'; '.join(sentences)}",
        parts,
    )


def at_equal_tokens(replays: Replays, row: Record) -> float:
    """What share of other answers the test of the lead has at the tokens of this record, on its set and cap.

    Linear between its thresholds (a random choice of two has every point between them) and the full budget, which has
    none; the loosest takes one vote, so that nothing spends less.
    """
    known = [other for rule in LEADS for other in replays.of(rule, row.cap) if other.trace == row.trace]
    points = sorted((other.tokens, 1 - other.agreement) for other in known)
    points.append((row.tokens_fixed, 0.0))
    below = [point for point in points if point[0] <= row.tokens] or points[:1]
    above = [point for point in points if point[0] > row.tokens] or points[-1:]
    (x0, y0), (x1, y1) = below[-1], above[0]
    return y0 + (y1 - y0) * ((row.tokens - x0) / (x1 - x0) if x1 > x0 else 0.0)


def curtailment(replays: Replays) -> Finding:
    """Programs that gave another answer than the full budget, and what was saved."""
    alone = [row for cap in (8, 16, 64) for row in replays.of("curtailment", cap)]
    wide = replays.of("curtailment", 64, 16)
    programs = sum(row.questions * row.orders for row in alone)
    return judged(
        f"{changed(alone)} of {programs:,} programs gave another answer one sample after the other, {changed(wide)} "
        f"with 16 in flight; tokens saved at cap 16 {spread(saved(replays.of('curtailment', 16)))}, at cap 64 "
        f"{spread(saved(replays.of('curtailment', 64)))}",
        {"one after the other": changed(alone) == 0, "16 in flight": changed(wide) == 0},
        "Ties of the whole budget go to the sample drawn first at every width",
    )


def changed(rows: list[Record]) -> int:
    """Programs that gave another answer than the full budget."""
    return sum(round((1 - row.agreement) * row.questions * row.orders) for row in rows)


def three_count(replays: Replays) -> Finding:
    """Samples of the three-count posterior against the full budget and Adaptive-Consistency, cap 64.

    On the questions that its prior was not fitted on.
    """
    pairs = replays.pairs(Setting(64, "three-count-0.95", 1), Setting(64, ASC, 1), UNFITTED)
    rows, asc = [one for one, _ in pairs], [two for _, two in pairs]
    ratio = exp(fmean(log(two.samples / one.samples) for one, two in pairs))
    return judged(
        f"{spread(fewer(rows))} fewer samples; Adaptive-Consistency draws {ratio:.2f} times as many (geometric mean); "
        f"{loss(rows)}; other answers {pct(disagreement(rows))} (Adaptive-Consistency {pct(disagreement(asc))})",
        {
            "30 % or more on every set": min(fewer(rows)) >= 0.30,
            "up to 80 %": max(fewer(rows)) >= 0.80,
            "1.4 times better than Adaptive-Consistency": ratio >= 1.35,
            "at equal accuracy": lossless(rows),
        },
        f"Half b of the questions of each set: the prior was fitted on half a of the same sets, so that other "
        f"traffic may do worse. {falling_short(rows, fewer(rows), 0.30)}",
    )


def consol(replays: Replays) -> Finding:
    """Tokens of ConSol's tests at cap 64."""
    plain, mixture = replays.of("sprt", 64), replays.of("mixture-sprt", 64)
    return judged(
        f"at cap 64 sprt saves {spread(saved(plain))} of the tokens, {loss(plain)}; mixture-sprt "
        f"{spread(saved(mixture))}, {loss(mixture)}",
        {
            "63.9 % or more on every set": min(saved([*plain, *mixture])) >= 0.639,
            "up to 84.8 %": max(saved([*plain, *mixture])) >= 0.848,
            "at equal accuracy": lossless(plain) and lossless(mixture),
        },
        "The claim is for a cap of 256; no set has more than 100 samples, and the saving grows with the cap",
    )


def momentum(replays: Replays) -> Finding:
    """Tokens of the momentum rule at cap 64."""
    rows = replays.of("momentum-0.5", 64)
    return judged(
        f"{spread(saved(rows))} fewer tokens than 64 samples; {loss(rows)}",
        {"69.5 % on average": fmean(saved(rows)) >= 0.695, "at equal accuracy": lossless(rows)},
        "Whole samples only: the published controller also prunes unfinished ones",
    )


def value(replays: Replays) -> Finding:
    """What the value rule makes of its tokens, and what it spends where the votes scatter most."""
    pairs = replays.pairs(Setting(64, "value-0.002", 1), Setting(64, ASC, 1))
    rows = [row for row, _ in pairs]
    gain = fmean(row.accuracy - row.accuracy_frontier for row in rows)
    hard, asc = min(pairs, key=lambda pair: pair[1].tokens_saved or 0)
    ratio = hard.tokens / asc.tokens
    return judged(
        f"{pts(gain)} points against fixed budgets of the same tokens; {spread(saved(rows))} fewer tokens than 64 "
        f"samples; {loss(rows)}; where Adaptive-Consistency saves least ({hard.trace}), {pct(ratio)} of its tokens",
        {
            "more accurate than fixed budgets of the same tokens": gain > 0,
            "at most half the tokens where votes scatter": ratio <= 0.5,
            "less than 0.5 points lost": change(rows) > -CLEAR,
        },
    )


def baseline_size(replays: Replays) -> Finding:
    """Savings of one rule against growing baselines, and what the larger baseline is worth."""
    whole = {row.trace for row in replays.of(ASC, 64)}
    by_cap = [[row for row in replays.of(ASC, cap) if row.trace in whole] for cap in (16, 40, 64)]
    sets = list(zip(*(saved(rows) for rows in by_cap), strict=True))
    growing = sum(list(shares) == sorted(shares) for shares in sets)
    gain = fmean(big.accuracy_fixed - small.accuracy_fixed for small, big in zip(by_cap[0], by_cap[2], strict=True))
    means = ", ".join(f"{pct(fmean(saved(rows)))} at {rows[0].cap}" for rows in by_cap)
    return judged(
        f"Adaptive-Consistency saves {means}, growing on {growing} of {len(sets)} sets; a fixed 16 instead of 64 saves "
        f"75 % of the samples for {pts(-gain)} points",
        {"the saving grows on every set": growing == len(sets), "16 lose at most 0.5 points on 64": gain <= CLEAR},
    )
