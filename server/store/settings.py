"""Settings of the shared store: `[store]` in the gateway's file."""

from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from scheduler.wants import LARGEST


class StoreSettings(BaseModel):
    """What replicas of this gateway share, and where. Without `redis_url` it is one process that shares with nobody."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    redis_url: SecretStr | None = None
    namespace: str = Field(default="default", pattern=r"^[A-Za-z0-9_.:-]{1,64}$", description="Part of every key.")
    lease_seconds: float = Field(
        default=2.0, ge=0.2, le=60, description="A replica that is silent for so long loses its slots to the others."
    )
    timeout_seconds: float = Field(default=0.25, gt=0, description="Of one exchange; at most lease_seconds / 4.")
    counters_seconds: float = Field(
        default=600.0, ge=1, le=86_400, description="How long the served tokens of an idle tenant are remembered."
    )
    alone_slots: int = Field(
        default=1, ge=0, le=LARGEST, description="Slots of each backend for a replica that has not reached Redis once."
    )

    @field_validator("redis_url")
    @classmethod
    def _address(cls, url: SecretStr | None) -> SecretStr | None:
        """The address may hold a password, and is therefore not repeated."""
        if url is None:
            return None
        parts = urlsplit(url.get_secret_value())
        where = parts.path if parts.scheme == "unix" else parts.hostname
        if parts.scheme not in ("redis", "rediss", "unix") or not where:
            raise ValueError("must be like redis://host:6379/0, rediss://... or unix:///path")
        if parts.port == 0:  # looking at it raises ValueError if it is no number from 0 to 65535
            raise ValueError("port 0 cannot be called")
        if parts.scheme != "unix" and not (parts.path.strip("/") or "0").isdecimal():
            raise ValueError("the path must be the number of a database, like redis://host:6379/0")
        return url

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        """One slow exchange may not cost a replica its lease."""
        if self.timeout_seconds > self.lease_seconds / 4:
            raise ValueError("timeout_seconds must be at most a quarter of lease_seconds")
        return self

    @property
    def period_seconds(self) -> float:
        """Between two exchanges."""
        return self.lease_seconds / 4
