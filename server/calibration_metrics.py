"""What the gateway counts of calibration: profiles as they are loaded, shadows, and the drift that they show.

Labels are bounded: `profile`, `task` and `version` come from files that the operator put there, `model` is the model
that such a file names, `outcome` and `state` are closed sets.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from core.calibration import Profile
from core.drift import Drifted

ShadowOutcome = Literal["agreed", "tied", "differed", "undecided", "failed", "withdrawn", "skipped"]
"""How a shadow ended.

The answer still leads, shares the lead, or has lost it; nobody voted; the backend failed; it gave way to clients or to
the end of the gateway; it was never begun, because clients had the backend or too many others waited.
"""
NO_EVIDENCE = 1.0
"""The e-value before anything was seen."""


class CalibrationMetrics:
    """Instruments over one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._profiles = Gauge(
            "quorate_profiles", "Calibration profiles by state of their file.", ["state"], registry=registry
        )
        self._info = Gauge(
            "quorate_profile_info",
            "Always 1; which version of a calibration profile is in use, and for what.",
            ["profile", "model", "task", "version"],
            registry=registry,
        )
        self._shadows = Counter(
            "quorate_shadows_total",
            "Answers that were sampled again to check their certainty, by how that ended.",
            ["profile", "outcome"],
            registry=registry,
        )
        self._drift = Gauge(
            "quorate_calibration_drift",
            "Evidence against a profile's certainties, as an e-value: 1 is none; chance gives 20 once in 20 at most.",
            ["profile"],
            registry=registry,
        )
        self._alarm = Gauge(
            "quorate_calibration_alarm",
            "Whether a profile's certainties were found to promise too much (overconfident) or too little.",
            ["profile", "direction"],
            registry=registry,
        )
        self.profiles({}, failed=0)

    def profiles(self, loaded: Mapping[Profile, str], *, failed: int) -> None:
        """These profiles are in use, each with its version; so many files could not be used as they are."""
        self._profiles.labels("loaded").set(len(loaded))
        self._profiles.labels("failed").set(failed)
        self._info.clear()
        for profile, version in loaded.items():
            self._info.labels(profile.name, profile.model, profile.task, version).set(1)

    def watch(self, profile: str) -> None:
        """A profile's outcomes are watched from now on: its series exist, without any evidence."""
        for outcome in get_args(ShadowOutcome):
            self._shadows.labels(profile, outcome)
        self.drift(profile, NO_EVIDENCE)
        for direction in Drifted:
            self._alarm.labels(profile, direction.value).set(0)

    def forget(self, profile: str) -> None:
        """A profile is gone; what was counted stays counted."""
        self._drift.remove(profile)
        for direction in Drifted:
            self._alarm.remove(profile, direction.value)

    def shadowed(self, profile: str, outcome: ShadowOutcome) -> None:
        """A shadow of an answer ended."""
        self._shadows.labels(profile, outcome).inc()

    def drift(self, profile: str, evidence: float) -> None:
        """What the shadows of a profile's answers amount to by now, as an e-value."""
        self._drift.labels(profile).set(evidence)

    def alarm(self, profile: str, direction: Drifted) -> None:
        """It was enough. The alarm stands until the profile is replaced."""
        self._alarm.labels(profile, direction.value).set(1)
