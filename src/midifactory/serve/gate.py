"""What every request passes first: the token, the size and the speed of its body; and what no handler has answered."""

import asyncio
import hmac
import logging
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midifactory.serve.metrics import Metrics
from midifactory.serve.page import is_of_page
from midifactory.serve.problems import Problem
from midifactory.serve.shelf import Limits

OPEN = ("/v1/health", "/openapi.json")  # without a token, beside the page, which asks for it
log = logging.getLogger(__name__)


class Gate:
    """An ASGI middleware. token: what clients must show (`Authorization: Bearer TOKEN`); None for nothing.

    A body is read here, whole, before anything else is done for the request: one that says that it is too large is
    refused unread, one that becomes too large is read no further.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics, token: str | None = None):
        self.app, self.limits, self.metrics, self.token = app, limits, metrics, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0

        async def counted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            self._check_token(scope)
            body = await self._read(scope, receive)
            await self.app(scope, _again(body, receive), counted)
        except Problem as problem:
            if not status:
                await problem.response()(scope, receive, counted)
        except _Gone:
            self.metrics.gone.inc()
        except Exception:
            log.exception("%s %s", scope["method"], scope["path"])
            if status:
                raise
            answer = Problem(500, "the server made a mistake, which its log describes; please report it")
            await answer.response()(scope, receive, counted)
        finally:
            # Only paths that there are: others are the clients' choice, and without number.
            route = scope.get("route")
            path = getattr(route, "path", "other")
            self.metrics.requests.labels(scope["method"] if route else "other", path, status or "none").inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - begin)

    def _check_token(self, scope: Scope) -> None:
        path = scope["path"]
        if self.token is None or path in OPEN or is_of_page(path) or scope["method"] == "OPTIONS":
            return
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, shown = given.partition(b" ")
        if kind.lower() != b"bearer" or not hmac.compare_digest(shown.strip(), self.token.encode()):
            raise Problem(
                401,
                "Authorization: this server asks for a token; send Authorization: Bearer TOKEN",
                remedy="send Authorization: Bearer TOKEN",
                name="Authorization",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        most = int(self.limits.body_megabytes * 2**20)
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not said.isdigit():
            raise Problem(400, "Content-Length: it is no number; leave it to your client", name="Content-Length")
        if int(said) > most:
            raise self._too_large(int(said))
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise self._too_large(size)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError as error:
            seconds = self.limits.body_seconds
            raise Problem(
                408,
                f"the body was not there after {seconds:g} seconds; send it faster",
                size,
                seconds,
                "send it faster",
            ) from error

    def _too_large(self, size: int) -> Problem:
        limit = self.limits.body_megabytes
        return Problem(
            413,
            f"body={size} bytes: at most {limit:g} MB are read; send less",
            *(size, int(limit * 2**20), "send less", "body"),
            headers={"Connection": "close"},
        )


class _Gone(Exception):
    """The client left."""


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that has the body once, then what is still to come: that the client leaves."""
    told = False

    async def next_message() -> Message:
        nonlocal told
        if not told:
            told = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return next_message
