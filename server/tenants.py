"""Whose request it is: the tenants that the settings name, told apart by the keys that their clients send.

Keys are compared by their SHA-256, which also takes their place in settings that should hold no secret. A look-up by
digest tells a guesser nothing about the keys that there are, whatever time it takes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from core.errors import InvalidKey
from scheduler.policy import HEAVIEST, LIGHTEST
from scheduler.wants import LARGEST
from server.scheduling_metrics import OTHER
from server.schemas import BudgetSpelling

LAST = 1_000_000
"""The least urgent priority class of a client's program."""
HASHED = "sha256:"
"""Begins the spelling of a key by its digest."""

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_PLAIN = re.compile(r"[!-~]+")
"""What a header can carry as one word."""
_BEARER = re.compile(r"bearer +([!-~]+) *", re.IGNORECASE)


class TenantSettings(BaseModel):
    """One tenant: its clients' keys, its share of the engines, and what its requests get unless they say otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=256)]
    keys: tuple[SecretStr, ...] = Field(min_length=1, description="Plain, or `sha256:` and the digest in hex.")
    weight: float = Field(
        default=1.0, ge=LIGHTEST, le=HEAVIEST, description="Share of tokens when the engines are busy."
    )
    priority: int = Field(default=0, ge=-LAST, le=LAST, description="Class of its requests; lower goes first.")
    reserved_slots: int = Field(default=0, ge=0, le=LARGEST, description="Slots of each backend kept free for it.")
    default_budget: BudgetSpelling | None = None

    @field_validator("name")
    @classmethod
    def _own(cls, name: str) -> str:
        if name == OTHER:
            raise ValueError(f"'{OTHER}' is what the metrics call everyone without a key; choose another name")
        return name

    @field_validator("keys")
    @classmethod
    def _readable(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            text = key.get_secret_value()
            if not _PLAIN.fullmatch(text):
                raise ValueError("a key is one word of printable ASCII characters")
            if text.startswith(HASHED) and not _DIGEST.fullmatch(text.removeprefix(HASHED)):
                raise ValueError(f"'{HASHED}' is followed by the 64 hexadecimal digits of a SHA-256")
        return keys

    @property
    def digests(self) -> tuple[str, ...]:
        """The SHA-256 of each key."""
        spelled = (key.get_secret_value() for key in self.keys)
        return tuple(text.removeprefix(HASHED).lower() if text.startswith(HASHED) else digest(text) for text in spelled)


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who asks. The empty name is that of everyone without a key.

    `bound`: its requests may step back behind its class, and not before it.
    """

    name: str = ""
    priority: int = 0
    default_budget: BudgetSpelling | None = None
    bound: bool = False

    def class_of(self, wanted: int | None) -> int:
        """The priority class of a program, from the `priority` of its budget."""
        own = wanted or 0
        return min(LAST, self.priority + max(0, own)) if self.bound else own


class Tenants:
    """The tenants by key.

    Args:
        settings: The tenants that there are.
        refuse: Whether requests without a known key are refused; they are nobody's otherwise.
    """

    def __init__(self, settings: Sequence[TenantSettings] = (), *, refuse: bool = False) -> None:
        self._refuse = refuse
        self._nobody = Tenant(bound=bool(settings))
        self._by_digest = {
            each: Tenant(tenant.name, tenant.priority, tenant.default_budget, bound=True)
            for tenant in settings
            for each in tenant.digests
        }
        self.weights: Mapping[str, float] = {tenant.name: tenant.weight for tenant in settings}

    def of(self, authorization: str | None) -> Tenant:
        """Whose request has this `Authorization` header. Raises `InvalidKey`."""
        if not self._refuse and not self._by_digest:
            return self._nobody
        key = bearer_key(authorization)
        tenant = None if key is None else self._by_digest.get(digest(key))
        if tenant is not None:
            return tenant
        if not self._refuse:
            return self._nobody
        if key is None:
            raise InvalidKey("No API key was sent. Send one in the header Authorization, as Bearer and the key.")
        raise InvalidKey("Incorrect API key provided.")


def at_odds(tenants: Sequence[TenantSettings]) -> str | None:
    """What is wrong with the keys: each belongs to one tenant, once. None: nothing."""
    owners: dict[str, int] = {}
    for number, tenant in enumerate(tenants):
        for key in tenant.digests:
            if key in owners:
                return f"tenants.{number}.keys: a key of these is in tenants.{owners[key]}.keys already"
            owners[key] = number
    return None


def bearer_key(authorization: str | None) -> str | None:
    """The key in an `Authorization` header; None where there is none, or something else."""
    match = _BEARER.fullmatch(authorization or "")
    return None if match is None else match[1]


def digest(key: str) -> str:
    """The SHA-256 of a key, in hex."""
    return sha256(key.encode()).hexdigest()
