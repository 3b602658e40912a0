"""A claim as a description: who makes it, what it says, what must be replayed for it, and the check."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from sim.plan import Setting
from sim.records import Record


class Verdict(StrEnum):
    """What became of a claim here."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    FAILS = "does not hold"
    UNCHECKED = "cannot be checked here"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a check: the verdict, the figures in a sentence, and why they mean this."""

    verdict: Verdict
    measured: str
    why: str


@dataclass(frozen=True, slots=True)
class Scope:
    """The recordings that a claim can be checked on: all but those whose names start like this.

    With `held` only the halves of them that nothing was fitted on, which have names of their own (`HELD`).
    """

    label: str
    without: tuple[str, ...] = ()
    held: bool = False

    def __contains__(self, trace: str) -> bool:
        return trace.endswith(HELD) == self.held and not trace.startswith(self.without)


HELD = " (half b)"
"""What the name of a set ends with that is left with the questions of half b (`sim.traces.half`)."""
EVERY = Scope("all sets that are long enough")
MEAN_LENGTHS = ("math-", "gsm8k-")
"""Sets whose samples all carry the mean length of their question."""
NO_REASONING = ("mcqa100-gpt35-direct", "mcqa100-gpt35-expert", "game24-gpt4-io")
"""Sets whose samples are the bare answer, ten or twenty tokens."""
LENGTHS = Scope("sets with a length of its own for every sample, and reasoning", MEAN_LENGTHS + NO_REASONING)
UNFITTED = Scope("half b of all sets that are long enough; the prior was fitted on half a", held=True)
EXACT = Scope("none: computed exactly")
ANY = Scope("none: recordings that hold what it reads would do")


@dataclass(frozen=True, slots=True)
class Live:
    """Means of a mode that was measured through the gateway: share of right answers, completion tokens a question."""

    accuracy: float
    tokens: float


class Replays:
    """Records of a replay by setting, how many recorded samples carry token confidences, and live modes by name."""

    def __init__(
        self,
        rows: Sequence[Record] = (),
        *,
        samples: int = 0,
        confidences: int = 0,
        live: Mapping[str, Live] | None = None,
    ) -> None:
        self.rows = rows
        self.samples = samples
        self.confidences = confidences
        self.live = live or {}

    def of(self, rule: str, cap: int, width: int = 1, scope: Scope = EVERY) -> list[Record]:
        """The records of a setting, one per set, in the order of the sets."""
        wanted = Setting(cap, rule, width)
        return [row for row in self.rows if row.setting == wanted and row.trace in scope]

    def pairs(self, one: Setting, other: Setting, scope: Scope = EVERY) -> list[tuple[Record, Record]]:
        """The records of two settings side by side, on the sets that have both."""
        firsts = self.of(one.rule, one.cap, one.width, scope)
        seconds = {row.trace: row for row in self.of(other.rule, other.cap, other.width, scope)}
        return [(row, seconds[row.trace]) for row in firsts if row.trace in seconds]


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: rules as they are spelled, its source, the sentence with its figure, and how it is checked.

    `needs` is what must be replayed, on the recordings of `scope`.
    """

    rules: tuple[str, ...]
    source: str
    says: str
    check: Callable[[Replays], Finding]
    needs: tuple[Setting, ...] = ()
    scope: Scope = EVERY


def checked(claim: Claim, replays: Replays) -> Finding:
    """The finding; where nothing was long enough for one of the claim's settings, that is what is found."""
    missing = [need for need in claim.needs if not replays.of(need.rule, need.cap, need.width, claim.scope)]
    if missing:
        return Finding(Verdict.UNCHECKED, "-", f"no set of its scope has {max(n.cap for n in missing)} samples")
    return claim.check(replays)


def settings(rules: Iterable[str], caps: Iterable[int], widths: Iterable[int] = (1,)) -> tuple[Setting, ...]:
    """Every combination."""
    rules, widths = tuple(rules), tuple(widths)
    return tuple(Setting(cap, rule, width) for cap in caps for rule in rules for width in widths)


def judged(measured: str, parts: Mapping[str, bool], note: str = "") -> Finding:
    """All parts of the claim are met: it holds; some: in part; none: it does not. The reason names them."""
    met = [part for part, kept in parts.items() if kept]
    missed = [part for part, kept in parts.items() if not kept]
    verdict = Verdict.HOLDS if not missed else Verdict.IN_PART if met else Verdict.FAILS
    sentences = [f"met: {', '.join(met)}"] * bool(met) + [f"not met: {', '.join(missed)}"] * bool(missed)
    return Finding(verdict, measured, "; ".join(sentences) + (f". {note}" if note else ""))


def change(rows: Sequence[Record]) -> float:
    """Mean over the sets of the accuracy against the full budget."""
    return fmean(row.accuracy_change for row in rows)


def disagreement(rows: Sequence[Record]) -> float:
    """Mean share of programs that gave another answer than the full budget."""
    return fmean(1 - row.agreement for row in rows)


def worse(rows: Sequence[Record]) -> int:
    """Sets whose whole 95 % interval of the change lies below zero."""
    return sum(row.accuracy_change_high < 0 for row in rows)


def fewer(rows: Sequence[Record]) -> list[float]:
    """Samples saved against the full budget, by set."""
    return [1 - row.samples / row.cap for row in rows]


def saved(rows: Sequence[Record]) -> list[float]:
    """Tokens saved against the full budget, by set."""
    return [row.tokens_saved or 0.0 for row in rows]


def falling_short(rows: Sequence[Record], values: Sequence[float], floor: float) -> str:
    """Which sets are below the floor, for the reason of a verdict; empty if none is."""
    names = [row.trace for row, value in zip(rows, values, strict=True) if value < floor]
    return f"Below {pct(floor)}: {', '.join(names)}" if names else ""


def pct(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f} %"


def pts(share: float) -> str:
    """A difference in percentage points, with its sign."""
    return f"{100 * share:+.2f}"


def spread(values: Sequence[float]) -> str:
    """Mean, lowest and highest, in percent."""
    return f"{pct(fmean(values))} ({pct(min(values))} to {pct(max(values))}, {len(values)} sets)"


def loss(rows: Sequence[Record]) -> str:
    """The change in accuracy in words."""
    return f"accuracy {pts(change(rows))} points, {worse(rows)} of {len(rows)} sets below"
