"""Every metric the gateway exports, each name once, and the few typed calls that move them.

The registry is passed in, never reached for, so that two gateways in one process (and every test) count alone.
The Grafana dashboard in `deploy/grafana` shows each of these; a test holds both to each other.

Labels are bounded. `model` is only ever a served name (`serve` declares them; suffixes such as `:high` are cut
before they get here) or `other`; `backend` and `strategy` come from settings; `stop_reason`, `outcome`, `fate`,
`calibrated` and `stream` are closed sets; an error's `type` may be the upstream's own word, so only the first few kinds
are kept apart. A client cannot create a series. What is counted of calibration and of
scheduling: `server.calibration_metrics`, `server.scheduling_metrics`.

Every program that starts ends in exactly one of `program_ended`, `program_failed` and `client_gone`; every sample
that starts ends in exactly one `sample_ended`. Seconds are floats; tokens are whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from server.calibration_metrics import CalibrationMetrics
from server.scheduling_metrics import SchedulingMetrics
from server.versions import version

Outcome = Literal["finished", "truncated", "failed", "aborted"]
"""How a sample left: whole; cut at its token limit; an upstream error; stopped because no longer needed."""

OTHER = "other"
"""Label value for anything outside a bounded set."""

_FATES = ("selected", "discarded", "aborted", "prompt")
_SHADOW = "shadow"
_ERROR_TYPES_KEPT = 32

# Bucket edges in seconds, except the probabilities'. 0.1 s in _ABORT is the promise that the dashboard draws as a line.
_CERTAINTY = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_SETTLED = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.95, 0.98, 0.99, 1.0)
_PROGRAM = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_FIRST_BYTE = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_OVERHEAD = (0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_ABORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


@dataclass(frozen=True, slots=True)
class TokenFates:
    """Where the tokens of one program went, summed over its samples.

    `selected`: of the sample that became the answer; `discarded`: of finished samples that did not; `aborted`: read
    of samples before they were aborted (the engine had made a few more); `prompt`: read, once per sample, cached or
    not; `saved`: an estimate of what running every planned sample to its end would have added.
    """

    selected: int = 0
    discarded: int = 0
    aborted: int = 0
    prompt: int = 0
    saved: int = 0

    @property
    def generated(self) -> int:
        """Tokens made, whatever became of them."""
        return self.selected + self.discarded + self.aborted


NO_TOKENS = TokenFates()


class Metrics:
    """The gateway's instruments over one registry (a fresh one unless given)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._models: set[str] = set()
        self._error_types: set[str] = set()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._make_program_metrics(self.registry)
        self._make_token_metrics(self.registry)
        self._make_sample_metrics(self.registry)
        self.calibration = CalibrationMetrics(self.registry)
        self.scheduling = SchedulingMetrics(self.registry)
        build = Gauge(
            "quorate_build_info", "Always 1; the version is in the label.", ["version"], registry=self.registry
        )
        build.labels(version()).set(1)

    def _make_program_metrics(self, registry: CollectorRegistry) -> None:
        self._programs = Counter(
            "quorate_programs_total",
            "Programs answered, by why they stopped.",
            ["model", "strategy", "stop_reason"],
            registry=registry,
        )
        self._program_errors = Counter(
            "quorate_program_errors_total",
            "Requests refused and programs failed, by OpenAI error type and HTTP status.",
            ["model", "type", "status"],
            registry=registry,
        )
        self._disconnects = Counter(
            "quorate_disconnects_total", "Programs whose client left before the answer.", ["stream"], registry=registry
        )
        for stream in ("true", "false"):
            self._disconnects.labels(stream)
        self._programs_in_flight = Gauge("quorate_programs_in_flight", "Programs being served now.", registry=registry)
        self._certainty = Histogram(
            "quorate_certainty",
            "Certainty of the answers given, in [0, 1], calibrated or not; answers without one are left out.",
            ["model", "calibrated"],
            buckets=_CERTAINTY,
            registry=registry,
        )
        self._settled = Histogram(
            "quorate_settled",
            "Probability that the full budget would give the same answer, as each answer was given; none: left out.",
            ["model"],
            buckets=_SETTLED,
            registry=registry,
        )
        self._make_program_times(registry)

    def _make_program_times(self, registry: CollectorRegistry) -> None:
        self._program_seconds = Histogram(
            "quorate_program_seconds",
            "From the request's arrival to the last byte of its answer.",
            ["model", "strategy"],
            buckets=_PROGRAM,
            registry=registry,
        )
        self._first_byte_seconds = Histogram(
            "quorate_first_byte_seconds",
            "From the request's arrival to the first byte of the answer's body sent to the client.",
            ["model"],
            buckets=_FIRST_BYTE,
            registry=registry,
        )
        self._overhead_seconds = Histogram(
            "quorate_overhead_seconds",
            "The gateway's own share of a program's time: all that was not waiting for a backend.",
            ["model"],
            buckets=_OVERHEAD,
            registry=registry,
        )

    def _make_token_metrics(self, registry: CollectorRegistry) -> None:
        self._tokens = Counter(
            "quorate_tokens_total",
            "Tokens by fate: selected, discarded, aborted and shadow were generated; prompt were read.",
            ["model", "fate"],
            registry=registry,
        )
        self._tokens_saved = Counter(
            "quorate_tokens_saved_total",
            "Estimate of the tokens that stopping early did not generate.",
            ["model"],
            registry=registry,
        )

    def _make_sample_metrics(self, registry: CollectorRegistry) -> None:
        self._samples = Counter(
            "quorate_samples_total", "Samples by how they left.", ["model", "backend", "outcome"], registry=registry
        )
        self._samples_in_flight = Gauge(
            "quorate_samples_in_flight", "Samples open at a backend now.", ["backend"], registry=registry
        )
        self._samples_queued = Gauge("quorate_samples_queued", "Samples waiting for a slot.", registry=registry)
        self._sample_seconds = Histogram(
            "quorate_sample_seconds",
            "From a sample's upstream call to its last byte or its abort.",
            ["backend"],
            buckets=_PROGRAM,
            registry=registry,
        )
        self._abort_seconds = Histogram(
            "quorate_abort_seconds",
            "From the decision to abort a sample to its upstream connection being closed.",
            ["backend"],
            buckets=_ABORT,
            registry=registry,
        )
        self._backend_up = Gauge(
            "quorate_backend_up",
            "Whether the backend answered its last health check and is not silent while busy.",
            ["backend"],
            registry=registry,
        )

    def serve(self, model: str, *backends: str) -> None:
        """Declare that `model` is served by these backends: their series exist from now on, at zero.

        A counter born with its first event loses that event to `rate()`. Models never declared count as `other`.
        """
        self._models.add(model)
        for fate in (*_FATES, _SHADOW):
            self._tokens.labels(model, fate)
        for calibrated in ("true", "false"):
            self._certainty.labels(model, calibrated)
        for by_model in (self._tokens_saved, self._settled, self._first_byte_seconds, self._overhead_seconds):
            by_model.labels(model)
        for backend in backends:
            for outcome in get_args(Outcome):
                self._samples.labels(model, backend, outcome)
            for by_backend in (self._samples_in_flight, self._sample_seconds, self._abort_seconds):
                by_backend.labels(backend)

    def program_started(self) -> None:
        """A client's request became a program."""
        self._programs_in_flight.inc()

    def program_ended(
        self,
        model: str,
        strategy: str,
        stop_reason: str,
        *,
        seconds: float,
        overhead: float,
        certainty: float | None,
        calibrated: bool,
        settled: float | None,
        tokens: TokenFates,
    ) -> None:
        """A program was answered. `seconds` is its whole life, `overhead` the gateway's own part of it."""
        name = self._model(model)
        self._programs_in_flight.dec()
        self._programs.labels(name, strategy, stop_reason).inc()
        self._program_seconds.labels(name, strategy).observe(seconds)
        self._overhead_seconds.labels(name).observe(overhead)
        if certainty is not None:
            self._certainty.labels(name, "true" if calibrated else "false").observe(certainty)
        if settled is not None:
            self._settled.labels(name).observe(settled)
        self._spend(name, tokens)

    def program_failed(self, model: str, type: str, status: int, tokens: TokenFates = NO_TOKENS) -> None:
        """A program ended in an error, whose `type` and `status` these are. Its tokens were spent all the same."""
        self._programs_in_flight.dec()
        self.refused(model, type, status)
        self._spend(self._model(model), tokens)

    def refused(self, model: str, type: str, status: int) -> None:
        """A request was refused before it became a program (malformed, a bad field, an unknown model)."""
        self._program_errors.labels(self._model(model), self._error_type(type), str(status)).inc()

    def client_gone(self, model: str, *, stream: bool, tokens: TokenFates = NO_TOKENS) -> None:
        """A program's client left before its answer was complete."""
        self._programs_in_flight.dec()
        self._disconnects.labels("true" if stream else "false").inc()
        self._spend(self._model(model), tokens)

    def shadow_spent(self, model: str, tokens: TokenFates) -> None:
        """Samples were drawn that no client asked for: what they generated is a fate of its own, not of any answer."""
        name = self._model(model)
        self._tokens.labels(name, _SHADOW).inc(tokens.generated)
        self._tokens.labels(name, "prompt").inc(tokens.prompt)

    def first_byte(self, model: str, seconds: float) -> None:
        """The first byte of a body went to the client, `seconds` after the request arrived."""
        self._first_byte_seconds.labels(self._model(model)).observe(seconds)

    def queued(self, n: int) -> None:
        """`n` samples wait for a slot now."""
        self._samples_queued.set(n)

    def sample_started(self, backend: str) -> None:
        """A sample's upstream call was opened."""
        self._samples_in_flight.labels(backend).inc()

    def sample_left(self, backend: str) -> None:
        """Its upstream call is over, and with it the slot; reading the answer may take longer."""
        self._samples_in_flight.labels(backend).dec()

    def sample_ended(self, model: str, backend: str, outcome: str, seconds: float) -> None:
        """A sample is done with, by one of `Outcome`; it left its backend `seconds` after `sample_started`."""
        self._samples.labels(self._model(model), backend, outcome).inc()
        self._sample_seconds.labels(backend).observe(seconds)

    def sample_aborted_closed(self, backend: str, seconds: float) -> None:
        """An aborted sample's upstream connection is closed, `seconds` after the decision (besides `sample_ended`)."""
        self._abort_seconds.labels(backend).observe(seconds)

    def backend_up(self, backend: str, up: bool) -> None:
        """What is known of a backend has been judged anew."""
        self._backend_up.labels(backend).set(up)

    def render(self) -> tuple[bytes, str]:
        """The body of `GET /metrics` and its content type (Prometheus' text format)."""
        return generate_latest(_WithoutCreated(self.registry)), CONTENT_TYPE_PLAIN_0_0_4

    def _model(self, model: str) -> str:
        return model if model in self._models else OTHER

    def _error_type(self, type: str) -> str:
        if type not in self._error_types and len(self._error_types) >= _ERROR_TYPES_KEPT:
            return OTHER
        self._error_types.add(type)
        return type

    def _spend(self, model: str, tokens: TokenFates) -> None:
        for fate in _FATES:
            self._tokens.labels(model, fate).inc(getattr(tokens, fate))
        self._tokens_saved.labels(model).inc(tokens.saved)


class _WithoutCreated(Collector):
    """A registry's metrics less the `_created` times, which the text format turns into one more series per series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
