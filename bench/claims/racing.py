"""Checks of what happens with several samples in flight, and of rules that race them."""

from statistics import fmean

from bench.claims.claim import (
    LENGTHS,
    Finding,
    Replays,
    Verdict,
    change,
    disagreement,
    judged,
    loss,
    pct,
    pts,
    saved,
    spread,
    worse,
)
from bench.claims.saving import ASC, DROP
from sim.plan import Setting
from sim.records import Record

DRIVEN = "at-least-3&adaptive-consistency-0.95|curtailment"
"""As the gateway drives it: the fewest in flight that could settle the answer, and some to spare."""
FILLED = f"{DRIVEN}|short-64"
"""The same with the whole width always in flight, which racing rules ask for; 64 samples are the whole budget."""
CONSENSUS = "at-least-16&adaptive-consistency-majority-0.95"
"""DeepConf's consensus stop after its 16 warm-ups, as it is when every confidence is the same."""

LIVE = ("self_consistency, cap 16", "deepconf_online, cap 16, keep 90")
"""Modes of `bench.inside`: adaptive voting, and DeepConf with the share of samples that did best."""


def less_time(rows: list[Record]) -> list[float]:
    """Decode steps saved against the whole budget at once, by set."""
    return [1 - row.makespan / row.makespan_parallel for row in rows]


def short(replays: Replays) -> Finding:
    """The vote of the first three of eight and sixteen."""
    rows = [row for k in (8, 16) for row in replays.of("short-3", k, k, LENGTHS)]
    by_k = "; ".join(f"k = {k}: {figures([row for row in rows if row.cap == k])}" for k in (8, 16))
    return judged(
        by_k,
        {
            "2 points above the majority of k": change(rows) >= 0.02,
            "33 % less time": fmean(less_time(rows)) >= 0.33,
            "not below the majority of k": change(rows) > -DROP and worse(rows) == 0,
        },
        "Ties go to the shortest: all start at once, so it is the one seen first. The finding is about long thoughts; "
        "within a question right answers are about as long as wrong ones here (log.md)",
    )


def figures(rows: list[Record]) -> str:
    """Accuracy, time and tokens of a racing rule."""
    return f"{loss(rows)}, time saved {spread(less_time(rows))}, tokens saved {pct(fmean(saved(rows)))}"


def shortest(replays: Replays) -> Finding:
    """The first of eight alone, against the majority of eight."""
    rows = replays.of("first-finish", 8, 8, LENGTHS)
    return judged(
        figures(rows),
        {"up to 40 % fewer tokens": max(saved(rows)) >= 0.40, "similar accuracy (1 point)": change(rows) >= -0.01},
    )


def first_finish(replays: Replays) -> Finding:
    """The first of eight against one sample."""
    pairs = replays.pairs(Setting(8, "first-finish", 8), Setting(8, "at-least-1", 1), LENGTHS)
    gains = [one.accuracy - other.accuracy for one, other in pairs]
    return judged(
        f"{pts(fmean(gains))} points against one sample ({pts(min(gains))} to {pts(max(gains))}, {len(pairs)} sets)",
        {"15 points above one sample": fmean(gains) >= 0.15, "above one sample at all": fmean(gains) > 0},
        "Long thoughts are not among the sets with a length for every sample",
    )


def sixteen_in_flight(replays: Replays) -> Finding:
    """Saving and time with 16 in flight against one after the other and the whole budget at once."""
    alone, wide, driven = (
        replays.of(rule, 64, width, LENGTHS) for rule, width in ((FILLED, 1), (FILLED, 16), (DRIVEN, 16))
    )
    kept, time = fmean(saved(wide)) / fmean(saved(alone)), relative(wide)
    longest = fmean(row.makespan_parallel * row.cap / row.tokens_fixed for row in wide)
    return judged(
        f"{pct(fmean(saved(wide)))} of the tokens saved with 16 in flight, {pct(fmean(saved(alone)))} one after the "
        f"other; time {time:.2f} of the whole budget at once (the highest {highest(wide):.2f}); as the gateway fills "
        f"16 places {pct(fmean(saved(driven)))} and {relative(driven):.2f}",
        {"nine tenths of the saving kept": kept >= 0.9, "no more time on average": time <= 1.0},
        f"{pct(kept)} of the saving are kept, mean over {len(wide)} sets. The whole budget lasts as long as its "
        f"longest sample: {longest:.1f} times the mean length here, 1.8 times in the source",
    )


def relative(rows: list[Record]) -> float:
    """Mean time relative to the whole budget at once."""
    return fmean(row.makespan / row.makespan_parallel for row in rows)


def highest(rows: list[Record]) -> float:
    """The highest time relative to the whole budget at once."""
    return max(row.makespan / row.makespan_parallel for row in rows)


def order_bias(replays: Replays) -> Finding:
    """Other answers than the full budget, and accuracy, as more are in flight."""
    by_width = {width: replays.of(FILLED, 64, width, LENGTHS) for width in (1, 16, 64)}
    shares = [disagreement(rows) for rows in by_width.values()]
    changes = [change(rows) for rows in by_width.values()]
    listed = "; ".join(
        f"{width} in flight: {pct(share)} other answers, accuracy {pts(gain)} points, {worse(rows)} sets below"
        for (width, rows), share, gain in zip(by_width.items(), shares, changes, strict=True)
    )
    return judged(
        listed,
        {
            "more other answers with the width": shares[0] < shares[1] < shares[2],
            "6 % at 64": shares[2] >= 0.06,
            "accuracy does not fall": min(changes) > -DROP,
        },
    )


def break_even(replays: Replays) -> Finding:
    """DeepConf at small budgets: its consensus stop with all confidences equal, and live where that was measured."""
    pairs = replays.pairs(Setting(32, CONSENSUS, 1), Setting(32, ASC, 1))
    own, asc = (fmean(saved(rows)) for rows in zip(*pairs, strict=True))
    voting, cutting = (replays.live.get(mode) for mode in LIVE)
    measured = f"with equal confidences the consensus stop saves {pct(own)} at K = 32, Adaptive-Consistency {pct(asc)}"
    parts = {"less than the 43 % of large budgets at K = 32": own < 0.43}
    if voting and cutting:
        measured += (
            f"; live at K = 16, 6 warm-ups: {pct(cutting.accuracy)} right with {cutting.tokens:,.0f} tokens, "
            f"adaptive voting {pct(voting.accuracy)} with {voting.tokens:,.0f} (performance.md, Inside a sample)"
        )
        worth = cutting.tokens < voting.tokens and cutting.accuracy >= voting.accuracy
        parts["live no better than adaptive voting"] = not worth
    parts["measured with confidences at K = 32"] = replays.confidences > 0
    note = "16 of 32 samples are warm-ups; what confidences add to the rest is not known here"
    return judged(measured, parts, note)


def confidences(replays: Replays) -> Finding:
    """Nothing to replay where no sample carries a confidence."""
    carry = f"{replays.confidences:,} of {replays.samples:,} recorded samples carry token confidences"
    return Finding(Verdict.UNCHECKED, "-", carry)
