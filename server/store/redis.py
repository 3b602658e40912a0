"""The store in Redis: one script call an exchange (exchange.lua), in one slot of a cluster.

What is guaranteed, for every backend whose capacity all replicas agree on. A replica's charge is the most it can be
using: the larger of its last grant, the grant it reported to hold, and its running requests.

* The charges of the replicas that the store knows never exceed the capacity, while replicas come, go, ask and finish,
  and messages or answers are slow, lost, or arrive late (they are numbered, and claim what is in force).
* A share that falls is granted to others only after its replica has acknowledged the smaller grant, and no faster than
  the requests above it end.
* A replica that dies, or leaves the others, is dropped one lease after its last exchange; its slots are granted within
  one period (a quarter of a lease) more: 2.5 s by default.
* While Redis is down, frozen or out of reach of all, every replica keeps its last grants, and no lease runs out: the
  store's clock counts no time in which nobody reached it. A Redis that comes back without its memory first learns for
  one lease what everybody holds; meanwhile no grant rises, and a replica that joins then waits that long.

The capacity can be exceeded in two cases, each by as much as is said here. A replica that lives but cannot reach Redis
for longer than a lease while others can keeps its last grants, which the others are given as well: by at most these.
A replica that starts while it cannot reach Redis takes `alone_slots` of each backend: by these. Both end as soon as the
replica reaches Redis: it claims what it holds, and nobody's grant rises before the sum fits.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from scheduler.sharing import Grants, Member, Message, Others, Report, Terms, alone, label, unlabel
from scheduler.wants import Want, Wants
from server.store.base import StoreError

SCRIPT = Path(__file__).with_name("exchange.lua")


class RedisStore:
    """See `Store`, and above for what it guarantees.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with user, password and database where needed.
        namespace: Part of every key; replicas share with those of the same namespace.
        terms: How long a lease and a counter last; the same at all replicas.
        timeout_seconds: Of one exchange, connecting included.
        alone_slots: Slots of each backend that it takes before it has reached Redis once.
        replica: Its name; by default a new one for every process.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str,
        terms: Terms,
        timeout_seconds: float,
        alone_slots: int = 1,
        replica: str | None = None,
    ) -> None:
        self.replica = replica or uuid4().hex
        self._terms = terms
        self._timeout = timeout_seconds
        self._alone_slots = alone_slots
        self._member = Member(self.replica, terms)
        # Whoever repeats a call decides that above: a retry inside it would hide how late an answer is. Its time limit
        # is set around each call: with one for sending the client loses cancellations on Python 3.11 (as `wait_for`
        # does there), and a gateway that stops would wait for ever.
        self._client = Redis.from_url(
            url,
            protocol=2,
            max_connections=2,
            socket_timeout=None,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._client.register_script(SCRIPT.read_text(encoding="utf-8"))
        self._keys = keys(namespace, self.replica)

    async def exchange(self, report: Report) -> Grants:
        """See `Store.exchange`."""
        message = self._member.tell(report)
        args = (encode(message), self._terms.lease, self._terms.keep, self._terms.tenants)
        try:
            async with asyncio.timeout(self._timeout):
                reply = orjson.loads(await self._script(keys=self._keys, args=args))
        except TimeoutError:
            raise StoreError(f"no answer within {self._timeout:g} s") from None
        except (RedisError, OSError, ValueError) as error:
            raise StoreError(str(error) or type(error).__name__) from error
        if reply["sequence"] != message.sequence or reply.get("late"):
            raise StoreError("the answer is to another message")
        return self._member.take(decode(reply))

    def alone(self, report: Report) -> Grants:
        """See `Store.alone`."""
        grants = alone(report, self._alone_slots)
        self._member.take_alone(grants.slots)
        return grants

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(self._timeout):
                await self._client.hdel(self._keys[0], self.replica)
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(self._timeout):
                await self._client.aclose()


def keys(namespace: str, replica: str) -> list[str]:
    """The keys of one exchange; the tag in braces keeps them in one slot of a cluster."""
    tag = f"{{quorate:{namespace}}}"
    return [f"{tag}:members", f"{tag}:served", f"{tag}:idle", f"{tag}:batch:{replica}"]


def encode(message: Message) -> bytes:
    """The message as the script reads it."""
    return orjson.dumps(
        {
            "replica": message.replica,
            "sequence": message.sequence,
            "claims": {
                name: {
                    "capacity": claim.load.capacity,
                    "demand": claim.load.demand,
                    "in_use": claim.load.in_use,
                    "tenants": _listed(claim.load.tenants),
                    "held": claim.held,
                }
                for name, claim in message.claims.items()
            },
            "batch": message.batch,
            "served": {
                label(pool, tenant): count for pool, each in message.served.items() for tenant, count in each.items()
            },
            "pressures": {
                pool: {
                    "value": pressure.value,
                    "demand": pressure.demand,
                    "slots": pressure.slots,
                    "tenants": _listed(pressure.tenants),
                }
                for pool, pressure in message.pressures.items()
            },
            "down": sorted(message.down),
        }
    )


def _listed(tenants: Wants) -> dict[str, tuple[int, int, float]]:
    return {name: (want.waiting, want.running, want.weight) for name, want in tenants.items()}


def _others(told: Mapping[str, Any]) -> Others:
    wants = {name: Want(int(each[0]), int(each[1]), float(each[2])) for name, each in told["tenants"].items()}
    return Others(int(told["slots"]), wants)


def decode(reply: Mapping[str, Any]) -> Grants:
    """The grants in the script's answer."""
    served: dict[str, dict[str, int]] = {}
    for text, total in reply["served"].items():
        pool, tenant = unlabel(text)
        served.setdefault(pool, {})[tenant] = int(total)
    return Grants(
        slots={name: int(slots) for name, slots in reply["slots"].items()},
        served=served,
        prices={pool: float(price) for pool, price in reply["prices"].items()},
        down=frozenset(reply["down"]),
        replicas=int(reply["replicas"]),
        settling=reply["settling"],
        others={pool: _others(told) for pool, told in reply["others"].items()},
    )
