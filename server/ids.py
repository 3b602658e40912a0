"""The names of one client request: ours, and the one it goes by, which is the client's where it sent a fit one."""

import re
import uuid

from fastapi import Request

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""Nothing that could break a log line or a header."""


def own_id(request: Request) -> str:
    """Our name of this request, the same each time it is asked for. No two requests share one."""
    if not hasattr(request.state, "own_id"):
        request.state.own_id = uuid.uuid4().hex
    return str(request.state.own_id)


def request_id(request: Request) -> str:
    """The `x-request-id` of every answer to this request, errors included. Clients may use one twice."""
    wanted = request.headers.get("x-request-id", "")
    return wanted if REQUEST_ID.fullmatch(wanted) else own_id(request)
