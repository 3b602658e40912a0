"""From the operator's settings to the scheduler's policy."""

from collections.abc import Mapping

from scheduler.policy import Policy
from server.settings import Settings


def policy_of(settings: Settings) -> Policy:
    """What the operator chose about the scheduler."""
    chosen = settings.scheduling
    return Policy(
        order=chosen.order,
        max_waiting=settings.limits.max_waiting,
        starving_seconds=chosen.starving_seconds,
        patience_seconds=chosen.patience_seconds,
        shed=chosen.shed,
        admit_late=chosen.admit_late,
        spend_idle=chosen.spend_idle,
        retries=chosen.retries,
        hedge=chosen.hedge,
        weights={tenant.name: tenant.weight for tenant in settings.tenants},
        reserved={tenant.name: tenant.reserved_slots for tenant in settings.tenants if tenant.reserved_slots},
    )


def orders_of(settings: Settings) -> Mapping[tuple[str, ...], str]:
    """Orders of their own, by the backends of the models that have one."""
    return {model.places: model.order for model in settings.models if model.order is not None}


def slots_of(settings: Settings) -> Mapping[str, int]:
    """Requests that each backend may get at once, by the operator's word."""
    return {backend.name: backend.slots for backend in settings.backends}
