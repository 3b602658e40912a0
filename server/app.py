"""The ASGI application: routes, error envelopes, lifespan."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from math import ceil

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from core.errors import BackendUnavailable, NoAnswer, Overloaded, QuorateError
from server import admin, chat, health, models
from server.backends.base import Backend
from server.bodies import REQUEST_TIMEOUT
from server.gateway import opened
from server.ids import request_id
from server.openapi import error_responses, install
from server.schemas import ChatRequest
from server.settings import Settings
from server.versions import version

log = logging.getLogger("quorate.app")
UNAUTHORIZED = 401
CODES: Mapping[int, str] = {404: "not_found", 405: "method_not_allowed"}


def create_app(
    settings: Settings,
    *,
    backends: Mapping[str, Backend] | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
) -> FastAPI:
    """The gateway as an application. Tests pass their own backends and clock."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings, clock, backends) as gateway:
            app.state.gateway = gateway
            yield

    app = FastAPI(
        title="Quorate",
        version=version(),
        description="OpenAI-compatible test-time-compute gateway.",
        lifespan=lifespan,
        responses=error_responses(),
        redirect_slashes=False,
        docs_url=None,  # these pages load scripts from elsewhere; the document itself is served
        redoc_url=None,
    )
    for routes in (chat, models, health):
        app.include_router(routes.router)
    if settings.admin_key is not None:
        app.include_router(admin.router)
    app.add_exception_handler(QuorateError, known_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unknown_error)
    install(app, ChatRequest)
    return app


async def known_error(request: Request, error: Exception) -> JSONResponse:
    """An error of our tree, under its own status."""
    assert isinstance(error, QuorateError), "registered for QuorateError"
    headers = {"x-request-id": request_id(request), **retry_headers(error)}
    if error.status == UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    if error.status == REQUEST_TIMEOUT:
        headers["connection"] = "close"  # the rest of the body may still come, and is no next request
    return JSONResponse(error.envelope(), status_code=error.status, headers=headers)


def retry_headers(error: QuorateError) -> dict[str, str]:
    """Whether OpenAI's clients should try again by themselves: a repeated fan-out is paid for again."""
    if isinstance(error, Overloaded):
        return {
            "retry-after": str(max(1, ceil(error.retry_after))),
            "retry-after-ms": str(max(1, ceil(error.retry_after * 1000))),
            "x-should-retry": "true",
        }
    cause = error.cause if isinstance(error, NoAnswer) else error
    worth_it = isinstance(cause, BackendUnavailable)
    return {"x-should-retry": "true" if worth_it else "false"} if error.status >= 500 else {}


async def gone(request: Request, error: Exception) -> Response:
    """The client left while its body was read."""
    return Response(status_code=chat.CLIENT_CLOSED)


async def http_error(request: Request, error: Exception) -> JSONResponse:
    """The router's own errors (unknown path, wrong method) in the same envelope."""
    assert isinstance(error, HTTPException), "registered for HTTPException"
    wrapped = QuorateError(str(error.detail), code=CODES.get(error.status_code))
    body = wrapped.envelope()
    body["error"]["type"] = "invalid_request_error" if error.status_code < 500 else "server_error"
    headers = {"x-request-id": request_id(request), **(error.headers or {})}
    return JSONResponse(body, status_code=error.status_code, headers=headers)


async def unknown_error(request: Request, error: Exception) -> JSONResponse:
    """A bug of ours: logged whole, told without details."""
    log.error("unhandled error in %s %s", request.method, request.url.path, exc_info=error)
    headers = {"x-request-id": request_id(request)}
    return JSONResponse(QuorateError("Internal failure.").envelope(), status_code=500, headers=headers)
