"""The HTTP routes of the simulated server."""

import time
from asyncio import Transport
from typing import cast
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

from cli.simulated.asking import Refused, Rules, asked
from cli.simulated.service import Call, Service
from cli.simulated.wire import Chunks, metrics, models, refusal, whole

JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
LARGEST_BODY = 1 << 26
"""Bytes of a request."""


class Routes:
    """What the server answers, by path.

    Args:
        service: The engine in real time.
        rules: What requests are checked against.
    """

    def __init__(self, service: Service, rules: Rules) -> None:
        self._service = service
        self._rules = rules
        self._created = int(time.time())

    def app(self) -> web.Application:
        """The application; what it does not know is answered in the words of vLLM's router."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_detailed])
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/health", self.health)
        app.router.add_get("/ping", self.health)
        app.router.add_get("/version", self.version)
        app.router.add_get("/metrics", self.metrics)
        return app

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/chat/completions`. A client that leaves cancels this, and with it the call."""
        try:
            if request.content_type != JSON:
                message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
                raise Refused(400, message, "Bad Request")
            given = request.headers.get("x-request-id") or uuid4().hex[:16]
            call = self._service.start(asked(await request.read(), self._rules, given))
        except Refused as error:
            return web.Response(body=refusal(error), status=error.status, content_type=JSON)
        try:
            return await (self._streamed(request, call) if call.asked.stream else _plain(call))
        except ConnectionResetError:  # the client left before the head was sent, and nobody reads this
            return web.Response()
        finally:
            self._service.leave(call)

    async def models(self, _: web.Request) -> web.Response:
        """`GET /v1/models`."""
        body = models(self._rules.model, self._created, self._rules.max_model_len)
        return web.Response(body=body, content_type=JSON)

    async def health(self, _: web.Request) -> web.Response:
        """`GET /health`."""
        return web.Response()

    async def version(self, _: web.Request) -> web.Response:
        """`GET /version`."""
        return web.json_response({"version": "0.32.0"})

    async def metrics(self, _: web.Request) -> web.Response:
        """`GET /metrics`."""
        text = metrics(self._rules.model, self._service.gauges(), self._service.ended)
        return web.Response(text=text, content_type="text/plain")

    async def _streamed(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Send the head; the service writes the text to the connection as it is made, and wakes this at the end."""
        response = web.StreamResponse(headers={"Content-Type": EVENTS})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._service.stream(call, Chunks(call.asked, int(time.time())), cast(Transport, request.transport))
        await call.over
        await response.write_eof()
        return response


async def _plain(call: Call) -> web.Response:
    end = await call.over
    body = whole(call.asked, int(time.time()), call.text(end.completion), end)
    return web.Response(body=body, content_type=JSON)


@web.middleware
async def _detailed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The router's own refusals, as vLLM words them: 404, 405, and a body that is too large."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return web.json_response({"detail": error.reason}, status=error.status)
