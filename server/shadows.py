"""Shadows: now and then an answered prompt is sampled on, to see whether its certainty keeps its word.

A calibrated certainty is the probability that the answer is what the profile's reference budget would have given. So
the samples that the client was spared are drawn after all, up to that budget or to the operator's limit, and it is seen
whether the answer still leads. With fewer samples than the budget the check is milder than the promise, not stricter;
that most of a few fresh samples agree is another thing, and much rarer (docs/operations.md has the figures).

A shadow has no client beside it: what it samples would take engine time from theirs, slots or not. It starts only while
no client's request runs or waits at its backend, behind every priority that a client can state, and it is withdrawn as
soon as one arrives there. Its tokens are counted apart, on nobody's bill.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from core.budget import Budget
from core.context import Context
from core.errors import QuorateError
from core.program import shifted
from core.types import Answer, Outcome, StopReason
from server.books import ShadowBooks
from server.budgets import Plan
from server.calibration_metrics import ShadowOutcome
from server.drift import DriftWatch
from server.jobs import Job, Result, Silence
from server.runtime import ClientGoneError, Runtime, until_gone
from server.settings import Settings

log = logging.getLogger("quorate.shadows")
AT_ONCE = 2
"""Shadows that may be drawn at the same time."""
WIDTH = 2
"""Samples in flight of each."""
WAITING = 16
"""Shadows that may wait to be drawn; more are skipped."""
PRIORITY = 1_000_001
"""Behind every priority that a budget can state."""


async def shadow(ctx: Context, *, given: str, votes: Mapping[str, int], width: int) -> Answer:
    """Sample on where a program stopped, until the rest could not change whether its answer leads.

    Args:
        ctx: The shadow's own program.
        given: The answer that the client has.
        votes: The votes that it was chosen by.
        width: Samples in flight.
    """
    counts = Counter(votes)
    async with ctx.fan_out(ctx.budget.max_samples, width=width) as samples:
        async for sample in samples:
            if sample.answer is not None:
                counts[sample.answer] += 1
            if abs(ahead(counts, given)) > samples.remaining:
                break
    return Answer(None, StopReason.CURTAILED, distribution=tuple(counts.most_common()))


def ahead(votes: Mapping[str, int], answer: str) -> int:
    """Votes by which an answer leads; below 0 where another does."""
    return votes.get(answer, 0) - max((count for other, count in votes.items() if other != answer), default=0)


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that a client was given with a calibrated certainty, and the program that will check it."""

    job: Job
    answer: str
    certainty: float
    voters: int


class Shadows:
    """Decides which answers are shadowed, and draws them.

    Args:
        settings: Their share and size, and the slots of the backends.
        runtime: Drives them.
        watch: Gets what they showed.
        draw: Uniform numbers in [0, 1).
    """

    def __init__(
        self, settings: Settings, runtime: Runtime, watch: DriftWatch, draw: Callable[[], float] = random.random
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._watch = watch
        self._draw = draw
        self._waiting: asyncio.Queue[Given] = asyncio.Queue(WAITING)
        self._slots = {backend.name: backend.slots for backend in settings.backends}
        self._books = ShadowBooks(runtime.metrics)

    def answered(self, result: Result) -> None:
        """A client has its answer; perhaps it will be shadowed. Returns at once."""
        if self._settings.shadow <= self._draw():
            return
        given = self._given(result)
        if given is None:
            return
        try:
            self._waiting.put_nowait(given)
        except asyncio.QueueFull:
            self._count(given, "skipped")

    async def work(self) -> None:
        """Wait for the next one, and draw it."""
        given = await self._waiting.get()
        outcome: ShadowOutcome | float = "withdrawn"
        try:
            outcome = await self._drawn(given)
        finally:
            self._count(given, word(outcome) if isinstance(outcome, float) else outcome)
        if isinstance(outcome, float):
            self._watch.observe(given.job.profile, given.certainty, outcome)

    async def _drawn(self, given: Given) -> ShadowOutcome | float:
        """The answer's share of the lead now that more votes are in, or why that is not known."""
        place = next(filter(self._room, given.job.backends), None)
        if place is None:
            return "skipped"
        job = replace(given.job, backends=(place,))
        try:
            result = await until_gone(
                self._runtime.clients.someone(place),
                self._runtime.run(job, Silence(), self._books),
            )
        except ClientGoneError:
            return "withdrawn"
        except QuorateError as error:
            log.info("shadow %s failed: %s", given.job.id, error.message)
            return "failed"
        votes = dict(result.answer.distribution)
        return share(votes, given.answer) if sum(votes.values()) > given.voters else "undecided"

    def _given(self, result: Result) -> Given | None:
        """What there is to check: the leader of a vote, calibrated, that stopped before the reference budget."""
        answer = result.answer
        said = None if answer.sample is None else answer.sample.answer
        if said is None or answer.certainty is None or not answer.calibrated:
            return None
        if answer.stop_reason is StopReason.ABSTAINED or said != answer.distribution[0][0]:
            return None
        samples = min(spared(result), self._settings.shadow_samples)
        voters = sum(votes for _, votes in answer.distribution)
        return Given(self._job(result, said, samples), said, answer.certainty, voters) if samples > 0 else None

    def _job(self, result: Result, said: str, samples: int) -> Job:
        """The same prompt again, with seeds that the program did not use, and its votes to go on from."""
        job, votes = result.job, dict(result.answer.distribution)
        seed = job.prompt.body.get("seed")
        prompt = job.prompt if seed is None else job.prompt.with_body(seed=shifted(seed, result.program.next_index))
        budget = Budget(max_samples=samples, max_seconds=self._settings.limits.max_seconds)
        width = min(WIDTH, *(self._slots[place] for place in job.backends))
        options = {"given": said, "votes": votes, "width": width}
        return replace(
            job,
            id=f"{job.id}-shadow",
            request_id=f"{job.request_id}-shadow",
            plan=Plan(budget, shadow, options, source="shadow"),
            prompt=prompt,
            plain=True,
            priority=PRIORITY,
            known=tuple(votes),
        )

    def _room(self, backend: str) -> bool:
        """Whether the backend is in service, and no client there, and slots to spare for a shadow's whole width."""
        place = self._runtime.scheduler.places[backend]
        free = place.limit(self._runtime.clock()) - place.running
        return not self._runtime.clients.anyone(backend) and free >= min(WIDTH, self._slots[backend])

    def _count(self, given: Given, outcome: ShadowOutcome) -> None:
        self._runtime.metrics.calibration.shadowed(given.job.profile.name, outcome)


def spared(result: Result) -> int:
    """Samples that the reference budget of the profile would have added to those that were counted."""
    counted = result.program.ledger.samples
    return result.job.profile.reference - counted[Outcome.FINISHED] - counted[Outcome.TRUNCATED]


def share(votes: Mapping[str, int], answer: str) -> float:
    """1 for an answer that leads, 1/k for one of k that tie, 0 for any other: as `quorate calibrate` counts them."""
    most = max(votes.values())
    return 1 / list(votes.values()).count(most) if votes.get(answer) == most else 0.0


def word(share: float) -> ShadowOutcome:
    """What is said of such a share."""
    return "agreed" if share == 1 else "tied" if share else "differed"
