"""One HTTP endpoint on the running loop: binds, serves an ASGI app, drains."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.server import ServerState

from collector.model.errors import StartupError
from collector.receivers.http_protocol import BoundedHttpProtocol
from config.types import split_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from collector.receivers.cors import Cors
    from collector.receivers.timeouts import Timeouts

_BACKLOG: Final = 1024


def bind(name: str, endpoint: str) -> socket.socket:
    """Return a socket bound to ``host:port``.

    Raises:
        StartupError: The address cannot be had; says which and why.
    """
    host, port = split_endpoint(endpoint)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise cannot_listen(name, endpoint, error.strerror or str(error)) from error
    return bound


def cannot_listen(name: str, endpoint: str, why: str) -> StartupError:
    """Return the error that names what cannot listen where."""
    return StartupError(f"{name} cannot listen on {endpoint}: {why}")


def shown(address: Any) -> str:
    """Return a socket's address as ``host:port``."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class HttpListener:
    """Serves one app; every method is called on the loop."""

    def __init__(
        self,
        app: ASGIApp,
        timeouts: Timeouts,
        on_refused: Callable[[str], None] | None = None,
        cors: Cors | None = None,
    ) -> None:
        """Serve ``app``; ``on_refused`` is told why a request never reached it.

        ``cors`` says what a browser is told then; what the app answers is its own.
        """
        self._config = uvicorn.Config(
            app,
            http=BoundedHttpProtocol,
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="error",  # malformed requests are counted, not logged one by one
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._config.load()
        self._state = ServerState()
        self._timeouts = timeouts
        self._on_refused = on_refused or (lambda _reason: None)
        self._cors = cors
        self._is_empty = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self, bound: socket.socket) -> str:
        """Listen on the socket, which now belongs to this object; return ``host:port``."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, sock=bound, backlog=_BACKLOG)
        return shown(bound.getsockname())

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, give begun requests up to the grace, then hang up."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        self._on_closed()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_empty.wait(), grace_s)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the connections learn that they are lost
        for task in list(self._state.tasks):
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)

    def _connection(self) -> asyncio.Protocol:
        protocol = BoundedHttpProtocol(self._config, self._state, {})
        return protocol.guard(self._timeouts, self._on_refused, self._on_closed, self._cors)

    def _on_closed(self) -> None:
        if not self._state.connections:
            self._is_empty.set()
        else:
            self._is_empty.clear()
