"""What the gateway counts of scheduling: load and its price, tenants, second attempts, backends, the store.

Labels are bounded: `pool` is a set of backends that serve a model, `backend` and `tenant` come from settings (whoever
is not named there counts as `other`), the rest are closed sets.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scheduler.events import BackendMeasured

OTHER = "other"
"""The tenant of requests without a key that is known."""
Reason = Literal["full", "late"]
"""Why a program was refused: too many wait, or not even one sample could come before its deadline."""
Hedge = Literal["won", "lost"]
"""Whether the second of two attempts was the one that was used."""
Bound = Literal["configured", "learned", "leased"]
"""Who says how many requests a backend may get: the operator, its own behaviour, the other replicas."""
BREAKER: Mapping[str, int] = {"closed": 0, "half_open": 1, "open": 2}

_DECISION = (0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25)
_EXCHANGE = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


def pool_name(backends: Iterable[str]) -> str:
    """How the backends of a model are called together."""
    return "+".join(backends)


class SchedulingMetrics:
    """Instruments over one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tenants: tuple[str, ...] = ()
        self._make_load(registry)
        self._make_attempts(registry)
        self._make_backends(registry)
        self._make_store(registry)
        self._decision = Histogram(
            "quorate_decision_seconds",
            "Time in which the scheduler decided what one event means.",
            buckets=_DECISION,
            registry=registry,
        )

    def _make_load(self, registry: CollectorRegistry) -> None:
        self._price = Gauge(
            "quorate_compute_price",
            "Gain that a sample must bring to be drawn under load.",
            ["pool"],
            registry=registry,
        )
        self._pressure = Gauge(
            "quorate_pressure",
            "Time to drain the queue over the time that waiting may take; 1 is as much as it should be.",
            ["pool"],
            registry=registry,
        )
        self._waiting = Gauge(
            "quorate_waiting_requests", "Requests waiting for a slot, by tenant.", ["tenant"], registry=registry
        )
        self._tokens = Counter(
            "quorate_tenant_tokens_total", "Tokens generated for each tenant.", ["tenant"], registry=registry
        )
        self._refusals = Counter(
            "quorate_refusals_total", "Programs refused under load, by reason.", ["reason"], registry=registry
        )
        for reason in get_args(Reason):
            self._refusals.labels(reason)
        self._halted = Counter(
            "quorate_halted_programs_total", "Programs that answered early because of the price.", registry=registry
        )
        self._widened = Counter(
            "quorate_widened_samples_total", "Samples drawn earlier because engines were idle.", registry=registry
        )

    def _make_attempts(self, registry: CollectorRegistry) -> None:
        self._retries = Counter(
            "quorate_retries_total",
            "Requests that were tried again, by the backend that had failed.",
            ["backend"],
            registry=registry,
        )
        self._hedges = Counter(
            "quorate_hedges_total", "Second attempts at requests that hung, by result.", ["result"], registry=registry
        )
        for result in get_args(Hedge):
            self._hedges.labels(result)

    def _make_backends(self, registry: CollectorRegistry) -> None:
        self._breaker = Gauge(
            "quorate_backend_breaker",
            "The circuit breaker: 0 closed, 1 half open (trying), 2 open.",
            ["backend"],
            registry=registry,
        )
        self._draining = Gauge(
            "quorate_backend_draining", "Whether the operator has taken it out.", ["backend"], registry=registry
        )
        self._slots = Gauge(
            "quorate_backend_slots",
            "Requests that a backend may get at once: by its settings, as learned, and leased to this replica.",
            ["backend", "bound"],
            registry=registry,
        )
        self._reserved = Gauge(
            "quorate_reserved_slots",
            "Slots of a backend that are reserved for a tenant: used by it, and kept free for it.",
            ["backend", "tenant", "state"],
            registry=registry,
        )
        self._engine_requests = Gauge(
            "quorate_engine_requests",
            "Requests in the engine by its own count, whoever sent them.",
            ["backend", "state"],
            registry=registry,
        )
        self._engine_kv_usage = Gauge(
            "quorate_engine_kv_usage", "Share of the engine's KV cache in use.", ["backend"], registry=registry
        )

    def _make_store(self, registry: CollectorRegistry) -> None:
        self._store_up = Gauge(
            "quorate_store_up", "Whether the shared store answered last time; 1 where there is none.", registry=registry
        )
        self._store_up.set(1)
        self._store_errors = Counter(
            "quorate_store_errors_total", "Exchanges with the shared store that failed.", registry=registry
        )
        self._exchange = Histogram(
            "quorate_store_exchange_seconds",
            "One exchange with the shared store, from question to answer.",
            buckets=_EXCHANGE,
            registry=registry,
        )

    def serve(self, *, pools: Iterable[Iterable[str]], slots: Mapping[str, int], tenants: Iterable[str] = ()) -> None:
        """Declare what there is: the series exist from now on. `slots` are those that the operator allows."""
        self._tenants = (*tenants, OTHER)
        for pool in pools:
            self.price(pool, 0.0, 0.0)
        for tenant in self._tenants:
            self._waiting.labels(tenant)
            self._tokens.labels(tenant)
        for backend, count in slots.items():
            self._retries.labels(backend)
            self.breaker(backend, "closed")
            self.draining(backend, False)
            self.slots(backend, "configured", count)

    def price(self, pool: Iterable[str], price: float, pressure: float) -> None:
        """How scarce the slots of these backends are, and what a sample must be worth there."""
        name = pool_name(pool)
        self._price.labels(name).set(price)
        self._pressure.labels(name).set(pressure)

    def waiting(self, by_tenant: Mapping[str, int]) -> None:
        """So many requests of each tenant wait now; of whoever is not named, none."""
        counts = dict.fromkeys(self._tenants, 0)
        for tenant, count in by_tenant.items():
            name = self._tenant(tenant)
            counts[name] = counts.get(name, 0) + count
        for name, count in counts.items():
            self._waiting.labels(name).set(count)

    def served(self, tenant: str, tokens: int) -> None:
        """Tokens were generated for a tenant."""
        self._tokens.labels(self._tenant(tenant)).inc(tokens)

    def refused(self, reason: Reason) -> None:
        """A program was refused under load."""
        self._refusals.labels(reason).inc()

    def halted(self) -> None:
        """A program was told to answer with what it has."""
        self._halted.inc()

    def widened(self, by: int) -> None:
        """A program may have so many more samples in flight."""
        self._widened.inc(by)

    def retried(self, backend: str) -> None:
        """A request is tried again that failed at this backend."""
        self._retries.labels(backend).inc()

    def hedged(self, result: Hedge) -> None:
        """A request that had two attempts has ended."""
        self._hedges.labels(result).inc()

    def breaker(self, backend: str, state: str) -> None:
        """`closed`, `half_open` or `open`."""
        self._breaker.labels(backend).set(BREAKER[state])

    def draining(self, backend: str, draining: bool) -> None:
        """The operator took a backend out, or put it back in."""
        self._draining.labels(backend).set(draining)

    def slots(self, backend: str, bound: Bound, slots: int | None) -> None:
        """So many requests may run at a backend by this bound; None: it does not bind any more."""
        if slots is not None:
            self._slots.labels(backend, bound).set(slots)
        else:
            self._slots.remove(backend, bound)

    def reserved(self, backend: str, tenant: str, slots: int, used: int) -> None:
        """So many slots of a backend are reserved for a tenant now, and so many of them it uses."""
        self._reserved.labels(backend, self._tenant(tenant), "used").set(used)
        self._reserved.labels(backend, self._tenant(tenant), "kept").set(slots - used)

    def measured(self, seen: BackendMeasured) -> None:
        """An engine has said how it does."""
        self._engine_requests.labels(seen.backend, "running").set(seen.running)
        self._engine_requests.labels(seen.backend, "waiting").set(seen.waiting)
        if seen.kv_usage is not None:
            self._engine_kv_usage.labels(seen.backend).set(seen.kv_usage)

    def decided(self, seconds: float) -> None:
        """The scheduler has handled one event."""
        self._decision.observe(seconds)

    def exchanged(self, seconds: float, *, ok: bool) -> None:
        """An exchange with the store has ended."""
        self._store_up.set(ok)
        if ok:
            self._exchange.observe(seconds)
        else:
            self._store_errors.inc()

    def _tenant(self, name: str) -> str:
        return name if name in self._tenants else OTHER
