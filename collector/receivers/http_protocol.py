"""HTTP/1.1 connections that cannot be held open or filled for nothing.

uvicorn's httptools protocol has no limit on heads and trailers, nor on the time they take; it
also hangs up on a client that closes its sending side before the answer.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.receivers.cors import Cors
    from collector.receivers.timeouts import Timeouts

# Bytes that bring a request no further: an unfinished head, chunk extensions, trailers.
_MOST_IDLE_BYTES: Final = 64 * 1024

HALF_CLOSED: Final = "clearspan.half_closed"
"""An ASGI extension, an ``asyncio.Event``: the client will send no more.

Whether it still waits for the answer cannot be told before there is one; for a costly answer an app
may take it for gone.
"""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection; ``guard`` must be called once before it is given data."""

    def guard(
        self,
        timeouts: Timeouts,
        on_refused: Callable[[str], None],
        on_closed: Callable[[], None],
        cors: Cors | None = None,
    ) -> BoundedHttpProtocol:
        """Set the limits and who is told of requests refused here and of the end; return self.

        ``cors`` says what the refusals tell a browser.
        """
        self._timeouts = timeouts
        self.timeout_keep_alive = timeouts.idle_s  # type: ignore[assignment]
        self._on_refused = on_refused
        self._on_closed = on_closed
        self._cors = cors
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_bytes = 0
        self._is_in_head = True
        self._is_in_body = False
        return self

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time for the first head."""
        super().connection_made(transport)
        self._expect_within(self._timeouts.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        self._stop_waiting()
        self._unset_keepalive_if_required()
        if self._is_in_body and not self.cycle.response_complete:
            self._on_refused("disconnected")
        super().connection_lost(exc)
        self._on_closed()

    def data_received(self, data: bytes) -> None:
        """Parse; refuse what goes on without getting anywhere."""
        if not self._is_in_body and self._deadline is None:
            self._is_in_head = True
            self._expect_within(self._timeouts.head_s)
        self._idle_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._refuse("not_http", 400)
        if self._idle_bytes > _MOST_IDLE_BYTES and not self.transport.is_closing():
            self._refuse("head_too_large", 431)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection for the answer if the request is complete (RFC 9112, 9.6)."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not is_answering or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        half_closed: Any = self.cycle.scope["extensions"][HALF_CLOSED]
        half_closed.set()
        return True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are read and forgotten."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Begin a head: the first, or one that follows a request at once."""
        self._is_in_head = True
        super().on_message_begin()
        extensions: dict[str, Any] = {HALF_CLOSED: asyncio.Event()}
        self.scope["extensions"] = extensions

    def on_headers_complete(self) -> None:
        """Start the time for the body."""
        if self.parser.should_upgrade():
            return
        self._is_in_head = False
        self._is_in_body = True
        self._idle_bytes = 0
        self._renew_date()
        self._expect_within(self._timeouts.body_s)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for nothing more while the request is worked on."""
        if self.parser.should_upgrade():
            return
        self._idle_bytes = 0
        self._is_in_body = False
        self._stop_waiting()
        super().on_message_complete()

    def _decline(self, rest: bytes) -> None:
        """Parse the head again without the offer to upgrade (RFC 9110, 7.8 allows to ignore it).

        httptools takes what follows such a head for another protocol and would drop the body.
        Java clients offer h2c with their first request.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse("not_http", 400)
            return
        lines = [b"%b %b HTTP/1.1" % (method, self.url)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _expect_within(self, seconds: float) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(seconds, self._on_deadline)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        self._refuse("timeout", 408)

    def _refuse(self, reason: str, status: int) -> None:
        """Close, with an answer if the request being read is the one to be answered next."""
        if self.transport.is_closing():
            return
        is_owed = self.cycle is not None and not self.cycle.response_complete
        if self._is_in_body:
            is_next = is_owed and not self.cycle.response_started and not self.pipeline
        else:
            is_next = self.scope is not None and not is_owed
        if is_next:
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            if self._cors is not None:
                headers += self._cors.answer(dict(self.headers))
            lines = [b"%b: %b\r\n" % header for header in headers]
            self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n"]))
            self._on_refused(reason)
        self._is_in_body = False
        self._stop_waiting()
        self.transport.close()

    def _renew_date(self) -> None:
        now = int(time.time())
        state: Any = self.server_state
        if getattr(state, "date_s", None) != now:
            state.date_s = now
            state.default_headers = [(b"date", formatdate(now, usegmt=True).encode())]
