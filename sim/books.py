"""Books compared: what programs, schedulers and engines each know of the same requests; and what programs may spend."""

from collections import Counter

from core.types import NANOS, Outcome, Usage
from sim.gateway import Gateway
from sim.kernel import Kernel
from sim.run import Run
from sim.service import Modelled
from sim.types import Arrival, Ended

NAMED = 5
"""Programs or requests that a message names, at most."""


class Violation(Exception):
    """An invariant does not hold; the message names it, says when (in seconds), and what was seen."""


def held(invariant: str, now: int, truth: bool, seen: object) -> None:
    """Raises `Violation` where it is not the truth. What was `seen` is only written down then."""
    if not truth:
        raise Violation(f"{invariant}; at {now / NANOS:.9f}: {seen}")


def check_end(arrival: Arrival, ended: Ended) -> None:
    """One program that is over: it ended in one way, in time, within its limits, and its ledger is balanced."""
    ledger, budget, now = ended.ledger, arrival.budget, ended.ended
    held("a program ends in one way", now, ended.answer is None or ended.error is None, ended.name)
    ends = sum(ledger.outcomes.values())
    seen = (ended.name, ledger.started, dict(ledger.outcomes))
    held("every request that starts ends", now, ledger.started == ends and not ledger.outcomes[Outcome.RUNNING], seen)
    held("no more samples than the budget has", now, ledger.sampled <= budget.max_samples, (ended.name, ledger.sampled))
    check_tokens(ended, now)
    late = budget.max_nanos is not None and now > ended.arrived + budget.max_nanos
    held("nobody outlives the deadline", now, not late, ended.name)
    gone = arrival.gone_at is not None and now > max(arrival.gone_at, arrival.at)
    held("nobody outlives the client", now, not gone, ended.name)


def check_spent(ended: Ended, most: int) -> None:
    """No more than so many tokens, but for those of attempts that came to nothing, and less than one a request: the
    step of an engine that spends the budget makes a token for each that is in flight.

    A response that comes late is not covered.
    """
    ledger = ended.ledger
    bound = most + ledger.lost.completion + max(0, ledger.started - 1)
    seen = (ended.name, ledger.completion_tokens, most, ledger.lost.completion, ledger.started)
    held("no more tokens than the budget has", ended.ended, ledger.completion_tokens <= bound, seen)


def check_tokens(ended: Ended, now: int) -> None:
    """The ledger's counts are no less than nothing, and its sum is the sum of its parts."""
    ledger = ended.ledger
    least = min((min(u.prompt, u.completion, u.reasoning) for u in (*ledger.usage.values(), ledger.lost)), default=0)
    held("tokens are no less than none", now, least >= 0, ended.name)
    seen = (ended.name, ledger.completion_tokens, ledger.total.completion)
    held("a ledger is the sum of its requests", now, ledger.completion_tokens == ledger.total.completion, seen)


def check_run(run: Run, now: int) -> None:
    """One program that is alive: its requests are those that its driver knows, and its ledger those it started."""
    program, ledger = run.program, run.program.ledger
    live = {request.index for request in program.live}
    held("a program's requests are its driver's", now, live == run.entries.keys(), (program.name, live))
    started = sum(entry.started for entry in run.entries.values())
    seen = (program.name, ledger.started, dict(ledger.outcomes), started)
    held("every request that starts ends", now, ledger.started == sum(ledger.outcomes.values()) + started, seen)


def check_replica(gateway: Gateway, now: int) -> None:
    """A scheduler and its programs: who there is, what runs and what waits."""
    scheduler, runs = gateway.scheduler, gateway.runs.values()
    known = (gateway.name, scheduler.programs, len(runs))
    held("a scheduler's programs are those alive", now, scheduler.programs == len(runs), known)
    calls = [call for run in runs for entry in run.entries.values() for call in entry.calls.values()]
    slots = {name: place.running for name, place in scheduler.places.items()}
    on = Counter(call.service.name for call in calls if isinstance(call, Modelled))
    kept = sum(slots.values()) == len(calls) and all(on[name] <= count for name, count in slots.items())
    held("each attempt holds a slot, and nothing else does", now, kept, (gateway.name, slots, len(calls), dict(on)))
    entries = sum(len(run.entries) for run in runs)
    idle = sum(not entry.calls for run in runs for entry in run.entries.values())
    waits = (gateway.name, idle, scheduler.waiting, entries)
    held("what does not run waits", now, idle <= scheduler.waiting <= entries, waits)


def check_engines(kernel: Kernel) -> None:
    """No request survives its program: what an engine serves is an open attempt of a program that is alive."""
    for service in kernel.services.values():
        for call in service.calls:
            owners = [gateway.runs.get(call.request.program) for gateway in kernel.gateways if gateway.up]
            owned = any(run is not None and run.has(call) for run in owners)
            held("no request survives its program", kernel.now, owned, (service.name, call.key))
        gauges, calls = service.engine.gauges(kernel.now), len(service.calls)
        seen = (service.name, gauges.running, gauges.waiting, calls)
        held("an engine serves what was sent to it", kernel.now, gauges.running + gauges.waiting <= calls, seen)


def made(run: Run, now: int) -> int:
    """Tokens that engines have made for a program that is alive, booked or not."""
    ledger, unbooked = run.program.ledger, 0
    for index, entry in run.entries.items():
        for call in entry.calls.values():
            booked = ledger.usage.get(index, Usage()).completion if call is entry.counted else 0
            unbooked += call.tokens(now) - booked
    return ledger.completion_tokens + unbooked


def check_empty(gateway: Gateway, now: int) -> None:
    """Everything is over: a scheduler knows of nobody, and owes nobody anything."""
    scheduler = gateway.scheduler
    if not gateway.up:
        return
    left = (len(gateway.runs), scheduler.programs, scheduler.waiting, sum(p.running for p in scheduler.places.values()))
    held("nothing is left in a scheduler", now, not any(left), (gateway.name, left))
    for queue in scheduler.queues.values():
        rest = (len(queue.programs), queue.waiting, queue.hungry, queue.in_flight, len(queue.shares))
        held("nothing is left in a queue", now, not any(rest), (gateway.name, queue.backends, rest))
