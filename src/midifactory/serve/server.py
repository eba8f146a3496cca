"""The process: it binds a port, ends in good order on a signal, and at once on a second one."""

import asyncio
import contextlib
import ipaddress
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from midifactory.errors import UserError


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that binds to `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_host(host: str, token: str | None, open_to_all: bool) -> None:
    """Raise UserError for a server that strangers could reach, unless they need a token or that is what is wanted."""
    if not is_loopback(host) and token is None and not open_to_all:
        raise UserError(
            f"host={host}: everybody who reaches this machine could ask; set a token (MIDIFACTORY_TOKEN or "
            "token_file), or open_to_all=true"
        )


class Server(uvicorn.Server):
    """A uvicorn server whose first signal lets all requests be answered, and whose second one does not wait."""

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        on_ready: Callable[[str], None],
        on_signal: Callable[[bool], None],
        minutes: float | None = None,
    ):
        """on_ready: told the URL. on_signal: told of each signal, whether it is the second one. minutes: how long."""
        super().__init__(
            uvicorn.Config(
                app, host, port, log_level="warning", access_log=False, lifespan="on", server_header=False, ws="none"
            )
        )
        self._on_ready, self._on_signal, self._minutes = on_ready, on_signal, minutes

    async def startup(self, sockets: Any = None) -> None:
        """Bind, and say where."""
        await super().startup(sockets)
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            if self._minutes is not None:
                asyncio.get_running_loop().call_later(self._minutes * 60, setattr, self, "should_exit", True)
            self._on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends the server in good order, the second at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._on_signal(self.force_exit)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while the server runs, and leave with none of them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(server: Server) -> None:
    """Serve until a signal. Raises UserError where the port cannot be bound."""
    try:
        asyncio.run(server.serve())
    except SystemExit as error:  # uvicorn has logged why
        config = server.config
        raise UserError(
            f"port={config.port}: {config.host} cannot be bound; choose another port, or 0 for any"
        ) from error
