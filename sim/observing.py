"""What calibration learns from: the states in which a strategy answers, and what came of them.

The real strategy and scheduler in virtual time with samples in flight, so that the bias of the order of completion
(short samples first) is in the states.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from core.budget import Budget
from core.calibration import SIGNALS, Profile
from core.evidence import Evidence
from core.types import Outcome
from scheduler.scheduler import Scheduler
from sim.baselines import baseline, right
from sim.kernel import Kernel
from sim.replay import BACKEND, given
from sim.traces import Question, Recorded, TraceSource, draw
from sim.types import Arrival, Ended
from strategies.self_consistency import DEFAULT, self_consistency


@dataclass(frozen=True, slots=True)
class Setup:
    """How programs run: at most `cap` samples, `width` in flight, in `orders` random orders per question.

    `reference` is the budget, in samples, whose answer is to be agreed with; it may be larger than the cap.
    """

    cap: int = 16
    reference: int = 64
    width: int = 8
    orders: int = 20
    seed: int = 0
    rule: str = DEFAULT

    @property
    def needed(self) -> int:
        """Recorded samples that every question must have."""
        return max(self.cap, self.reference)


@dataclass(frozen=True, slots=True)
class Seen:
    """A program that answered: its signals (by name), and what came of it.

    `agrees` is 1 where the reference budget gives this answer, 1/k where it is one of k that tie there. `differs` says
    whether the full budget, in the same order, gives another answer. `early`: it stopped before its cap.
    """

    signals: Mapping[str, float] | None
    """None where nobody voted."""
    agrees: float
    differs: bool
    right: bool
    early: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Witness(Profile):
    """A profile that keeps the last evidence whose certainty was asked for: that of the answer."""

    last: list[Evidence] = field(default_factory=list)

    def certainty(self, evidence: Evidence) -> float | None:
        """As uncalibrated; the evidence is kept."""
        self.last[:] = [evidence]
        return Profile.certainty(self, evidence)


def observe(
    questions: Sequence[Question], setup: Setup, certainty: float | None, abstain: bool = False
) -> list[tuple[Seen, ...]]:
    """Run the strategy on every question; for each what was seen, one item an order.

    Args:
        questions: With at least `setup.needed` recorded samples each.
        setup: How to run.
        certainty: The target. Without calibration that is the settled threshold at which the default rule stops.
        abstain: Programs may abstain: they sample on while the target is within reach.
    """
    drawn = draw(questions, cap=setup.needed, orders=setup.orders, seed=setup.seed)
    source = TraceSource({name: samples[: setup.cap] for name, samples in drawn.items()}, nanos_per_token=1)
    witnesses = {name: Witness() for name in drawn}
    budget = Budget(setup.cap, certainty=certainty, abstain=abstain)
    options = {"width": setup.width, "rule": setup.rule, "incomparable_after": setup.cap}
    arrivals = [
        Arrival(name, self_consistency, budget=budget, options=options, backend=BACKEND, profile=witness)
        for name, witness in witnesses.items()
    ]
    kernel = Kernel(Scheduler({BACKEND: len(drawn) * setup.cap}), source)
    seen = (_seen(ended, drawn[ended.name], witnesses[ended.name], setup) for ended in kernel.run(arrivals))
    return list(_grouped(seen, setup.orders))


def _grouped(seen: Iterator[Seen], size: int) -> Iterator[tuple[Seen, ...]]:
    while group := tuple(islice(seen, size)):
        yield group


def _seen(ended: Ended, samples: Sequence[Recorded], witness: Witness, setup: Setup) -> Seen:
    if ended.error is not None:
        raise ended.error
    own = samples[: setup.cap]
    answer = given(ended, own)
    signals = None
    if witness.last and witness.last[0].counts:
        signals = {name: signal(witness.last[0], setup.reference) for name, signal in SIGNALS.items()}
    return Seen(
        signals,
        agrees=shared(samples[: setup.reference]).get(answer, 0.0) if answer is not None else 0.0,
        differs=answer != baseline(own).answer,
        right=right(answer, own),
        early=ended.ledger.outcomes[Outcome.FINISHED] < setup.cap,
        tokens=ended.ledger.completion_tokens,
    )


def shared(samples: Sequence[Recorded]) -> dict[str, float]:
    """The answers that a vote of these samples can give: 1, or 1/k each where k of them tie."""
    tally: dict[str, int] = {}
    for sample in samples:
        if sample.answer is not None:
            tally[sample.answer] = tally.get(sample.answer, 0) + 1
    top = [answer for answer, votes in tally.items() if votes == max(tally.values())]
    return {answer: 1 / len(top) for answer in top}
