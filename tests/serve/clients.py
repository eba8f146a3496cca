"""What tests of the server ask, and how they read what comes."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from midifactory.serve.server import Server

PROBLEM = "application/problem+json"


@asynccontextmanager
async def asking(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client for many requests at once, in this event loop."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server", timeout=600) as client,
    ):
        yield client


@contextmanager
def serving(app: FastAPI) -> Iterator[tuple[Server, str]]:
    """A real server on a port of its own, in a thread; with its URL."""
    ready, urls = threading.Event(), list[str]()

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    server = Server(app, "127.0.0.1", 0, on_ready, lambda again: app.state.shelf.close(abort=True) if again else None)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    assert ready.wait(60), "the server did not start"
    try:
        yield server, urls[0]
    finally:
        server.should_exit = server.force_exit = True
        thread.join(30)


def events(text: str) -> list[tuple[str, Any]]:
    """Names and data of server-sent events."""
    found = []
    for part in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in part.splitlines() if not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def told(notes: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Notes as values that can be compared: in the answer, or in the events of a stream."""
    return sorted(
        (n["program"], n["pitch"], n["velocity"], round(n["onset_beats"], 3), round(n["duration_beats"], 3))
        for n in notes
    )


class Call:
    """One request, as its server sees it."""

    def __init__(self, app: FastAPI, method: str, path: str, body: bytes, headers: dict[str, str]):
        self.status, self.parts = 0, list[bytes]()
        self.left, self.may_read = asyncio.Event(), asyncio.Event()
        self.may_read.set()
        self._told = False
        self._body = body
        names = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(key.encode(), value.encode()) for key, value in names.items()],
            "client": ("127.0.0.1", 1),
            "server": ("server", 80),
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._told:
            self._told = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        await self.may_read.wait()
        self.parts.append(message.get("body", b""))

    async def until(self, found: bytes) -> None:
        """Wait until the answer has this in it."""
        while found not in b"".join(self.parts):
            if self.task.done():
                raise AssertionError(f"{found!r} did not come: {b''.join(self.parts)[-500:]!r}")
            await asyncio.sleep(0.01)
