"""Who may ask: every route of the API asks for the client's key first, before a byte of a body is read."""

from fastapi import Request

from server.gateway import Gateway
from server.tenants import Tenant


def admitted(request: Request) -> Tenant:
    """The tenant whose request this is. Raises `InvalidKey` where only tenants are served."""
    gateway: Gateway = request.app.state.gateway
    return gateway.tenants.of(request.headers.get("authorization"))
