"""A calibration for the eye, and for the account that its profile carries."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.calibration import Bound, Profile, Target
from sim.calibrating import STRAIGHT
from sim.reliability import Reliability
from sim.study import LOSSLESS, Judged, Spared
from sim.summary import aligned, percent

DIGITS = 5
COLUMNS = (
    *("certainty", "settled at", "differs", "stops early", "tokens"),
    *("ECE (95 %)", "noise floor", "Brier", "log loss", "stated", "observed", "ECE of early stops"),
)


def lines(profile: Profile, rows: Sequence[Judged], abstaining: Sequence[Spared]) -> Iterator[str]:
    """What to print of a calibration: the map, the trial on held-out questions, what was and could not be certified."""
    score = " ".join(f"{weight:+.3f} {name}" for name, weight in profile.weights)
    knots = "no knots" if profile.knots == STRAIGHT else f"{len(profile.knots)} knots"
    yield f"log-odds = {profile.intercept:+.3f} {score}; {knots}"
    if rows:
        yield f"\nOn held-out questions, {profile.target}; settled at what the others alone certify\n"
        yield from aligned([COLUMNS, *[_cells(row) for row in rows]])
        yield ""
    yield from (_promised(bound) for bound in profile.bounds)
    if profile.target is Target.CORRECTNESS:
        yield from _abstentions(profile, rows, abstaining)


def _promised(bound: Bound) -> str:
    """What the profile does for a stated certainty, and where no test has lowered the threshold."""
    if bound.settled < LOSSLESS:
        return (
            f"certainty {bound.certainty:g}: settled at {bound.settled:g}, certified on all {bound.questions} questions"
        )
    why = f"{bound.questions} questions certify no threshold, so nothing is risked: it stops where the vote is decided"
    return f"certainty {bound.certainty:g}: {why}"


def _abstentions(profile: Profile, rows: Sequence[Judged], abstaining: Sequence[Spared]) -> Iterator[str]:
    kept = {each.certainty for each in profile.abstentions}
    for row in rows:
        if row.certainty is not None and row.certainty not in kept:
            yield f"certainty {row.certainty:g}: no level of abstention is certified"
    for each in abstaining:
        yield (
            f"certainty {each.kept.certainty:g}, abstaining below {each.kept.least:.2f}: "
            f"answers {each.answered:.1%}, of which {each.wrong:.1%} are wrong, "
            f"on the {each.kept.questions} questions that certified it"
        )


def _cells(row: Judged) -> list[str]:
    found, stopped = row.every, row.stopped
    return [
        "default" if row.certainty is None else f"{row.certainty:g}",
        "-" if row.settled is None else f"{row.settled:g}",
        percent(row.differing),
        percent(row.early),
        f"{row.tokens:,.0f}",
        *(_figures(found) if found else ["-"] * 6),
        f"{stopped.ece:.3f}" if stopped else "-",
    ]


def _figures(found: Reliability) -> list[str]:
    ece = f"{found.ece:.3f} ({found.low:.3f} to {found.high:.3f})"
    rest = (found.floor, found.brier, found.log_loss, found.stated, found.observed)
    return [ece, *(f"{value:.3f}" for value in rest)]


def account(rows: Sequence[Judged]) -> list[Mapping[str, Any]]:
    """The reliability of every stated certainty as JSON has it."""
    return [
        {
            "certainty": row.certainty,
            "settled": row.settled,
            "differing": round(row.differing, DIGITS),
            "early": round(row.early, DIGITS),
            "tokens": round(row.tokens, 1),
            "every": _plain(row.every),
            "stopped": _plain(row.stopped),
        }
        for row in rows
    ]


def _plain(found: Reliability | None) -> Mapping[str, Any] | None:
    if found is None:
        return None
    names = ("ece", "low", "high", "floor", "brier", "log_loss", "stated", "observed")
    figures: dict[str, Any] = {name: round(getattr(found, name), DIGITS) for name in names}
    return {
        "questions": found.questions,
        **figures,
        "bins": [[round(number, DIGITS) for number in each] for each in found.bins],
    }
