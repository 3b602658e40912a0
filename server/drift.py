"""Whether certainties still keep their word: what shadows showed of each profile's answers, as evidence that grows."""

import logging

from core.calibration import Profile
from core.drift import Drifted, Watch
from server.metrics import Metrics

log = logging.getLogger("quorate.drift")
RISK = 0.05
"""Probability that the alarm is ever raised against a profile that keeps its word (to within `core.drift.MARGIN`)."""


class DriftWatch:
    """The drift of every profile in use. A profile that is replaced begins anew: its promises are others.

    Args:
        metrics: Gets the evidence and the alarm of each profile.
        samples: Samples that a shadow has at most. Where the reference budget of a profile has more, its shadows are
            milder than its promise, and only promising too much can be told.
    """

    def __init__(self, metrics: Metrics, samples: int) -> None:
        self._metrics = metrics.calibration
        self._samples = samples
        self._watches: dict[Profile, Watch] = {}
        self._alarms: set[Profile] = set()

    def keep(self, profiles: frozenset[Profile]) -> None:
        """These profiles are in use now."""
        for gone in self._watches.keys() - profiles:
            del self._watches[gone]
            self._alarms.discard(gone)
            self._metrics.forget(gone.name)
        for new in profiles - self._watches.keys():
            if new.calibrated:
                self._watches[new] = Watch()
                self._metrics.watch(new.name)

    def observe(self, profile: Profile, certainty: float, outcome: float) -> None:
        """An answer was given with this certainty; 1: it was borne out, 0: it was not. The alarm is told of once."""
        before = self._watches.get(profile)
        if before is None:  # replaced meanwhile
            return
        watch = self._watches[profile] = before.after(certainty, outcome)
        evidence, drifted = self._judged(profile, watch)
        self._metrics.drift(profile.name, evidence)
        if drifted is None or profile in self._alarms:
            return
        self._alarms.add(profile)
        self._metrics.alarm(profile.name, drifted)
        told = "profile %s is %s: of %d answers %.0f were to agree with the full budget, and %.0f did (e-value %.3g)"
        log.warning(told, profile.name, drifted, watch.count, watch.stated, watch.observed, evidence)

    def _judged(self, profile: Profile, watch: Watch) -> tuple[float, Drifted | None]:
        """The e-value, and which way the certainties have gone wrong if it is enough."""
        if self._samples >= profile.reference:
            return watch.evidence, watch.alarm(RISK)
        return watch.over, Drifted.OVERCONFIDENT if watch.over >= 1 / RISK else None
