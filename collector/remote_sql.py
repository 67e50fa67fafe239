"""``POST /v1/sql``: read-only SQL over HTTP, answered by processes of its own.

Here is the request: who asks, what, how large, how many at once. What the SQL may do is decided
where it runs (``storage.sql_guard``); this process only passes the answer on.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

import structlog

from collector.model import errors
from collector.model import telemetry as t
from collector.model.contracts import QueryFormat
from collector.receivers.http_protocol import HALF_CLOSED

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from collector.model.contracts import QueryRunner, RunningQuery
    from collector.model.telemetry import Telemetry
    from config.extensions import SqlSettings

PATH: Final = "/v1/sql"
JSON: Final = b"application/json"
ARROW: Final = b"application/vnd.apache.arrow.stream"
_TYPES: Final[dict[QueryFormat, bytes]] = {"json": JSON, "arrow": ARROW}
_OUTCOMES: Final[tuple[tuple[type[errors.QueryError], str, int], ...]] = (
    (errors.QueryRefused, "refused", 403),
    (errors.QueryOverLimit, "over_limit", 400),
    (errors.QueryTimeout, "timeout", 504),
    (errors.QueryAborted, "aborted", 500),
    (errors.QueryUnavailable, "unavailable", 503),
    (errors.QueryError, "invalid", 400),
)
_RETRY: Final = ((b"retry-after", b"1"),)
_SEND_BYTES: Final = 256 * 1024

_log = structlog.get_logger("clearspan")


class _RequestError(Exception):
    """A request that is answered without a query; stays in this module."""

    def __init__(
        self,
        status: int,
        message: str,
        outcome: str = "bad_request",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.outcome = outcome
        self.headers = headers


class _DisconnectedError(Exception):
    """The client has gone; stays in this module."""


@dataclass(frozen=True, slots=True)
class _Query:
    sql: str
    form: QueryFormat


def sql_app(settings: SqlSettings, runner: QueryRunner, telemetry: Telemetry) -> ASGIApp:
    """Return an ASGI app that answers with rows as JSON or as an Arrow IPC stream.

    Every error is ``{"error": text}``: 400, 401, 403 (the SQL names what is not allowed), 404, 405,
    413, 415, 500 (the query's process ended), 503 with Retry-After, 504. ``settings`` must hold a
    token.
    """
    return _RemoteSql(settings, runner, telemetry)


class _RemoteSql:
    def __init__(self, settings: SqlSettings, runner: QueryRunner, telemetry: Telemetry) -> None:
        if settings.token is None:
            raise errors.ConfigError("extensions.sql.token: is needed where it is enabled")
        self._token = settings.token.get_secret_value().encode()
        self._settings = settings
        self._runner = runner
        self._telemetry = telemetry
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens is an answer, never an exception."""
        try:
            query = await self._request(scope, receive)
            self._take_slot()
            try:
                answer = await self._run(query, scope, receive)
                outcome = "answered"
                # A client that reads slowly holds a slot, or the answers would fill the memory.
                async with asyncio.timeout(self._settings.timeout):
                    await _send(send, 200, answer, ((b"content-type", _TYPES[query.form]),))
            finally:
                self._running -= 1
        except (_DisconnectedError, asyncio.CancelledError, TimeoutError):
            outcome = "disconnected"  # nobody is there, or does not read
        except Exception as error:  # noqa: BLE001 - the process's edge
            refusal = _refusal(error)
            outcome = refusal.outcome
            body = json.dumps({"error": str(refusal)}).encode()
            headers = ((b"content-type", JSON), *refusal.headers)
            if b"expect" in dict(scope["headers"]):
                # The body was perhaps never asked for: what comes next here is uncertain.
                headers += ((b"connection", b"close"),)
            await _send(send, refusal.status, body, headers)
        self._telemetry.add(t.SQL_REQUESTS, 1, outcome)

    async def _request(self, scope: Scope, receive: Receive) -> _Query:
        headers = dict(scope["headers"])
        if scope["path"] != PATH:
            raise _RequestError(404, f"there is only {PATH}")
        if scope["method"] != "POST":
            raise _RequestError(405, "only POST is allowed", headers=((b"allow", b"POST"),))
        self._check_token(headers.get(b"authorization", b""))
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media_type != JSON:
            raise _RequestError(415, f"the content type must be {JSON.decode()}")
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise _RequestError(415, "the content encoding must be identity")
        body = await self._body(receive, int(headers.get(b"content-length", b"0")))
        return _parsed(body, headers.get(b"accept", b""))

    def _check_token(self, given: bytes) -> None:
        scheme, _, token = given.partition(b" ")
        # compare_digest takes as long for any token of the right length
        is_right = hmac.compare_digest(token.strip(), self._token)
        if scheme.lower() != b"bearer" or not is_right:
            challenge = ((b"www-authenticate", b"Bearer"),)
            text = "send the header Authorization: Bearer with the token of extensions.sql.token"
            raise _RequestError(401, text, "unauthorized", challenge)

    async def _body(self, receive: Receive, announced: int) -> bytes:
        most = self._settings.max_request_body_size
        body = b""
        more = announced <= most
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _DisconnectedError
            body += message.get("body", b"")
            more = message.get("more_body", False) and len(body) <= most
        if max(announced, len(body)) > most:
            raise _RequestError(413, f"the request is larger than {most} bytes")
        return body

    def _take_slot(self) -> None:
        if self._running >= self._settings.max_concurrent_queries:
            limit = "which is the most (extensions.sql.max_concurrent_queries)"
            raise _RequestError(
                503, f"{self._running} queries are running, {limit}", "busy", _RETRY
            )
        self._running += 1

    async def _run(self, query: _Query, scope: Scope, receive: Receive) -> bytes:
        """Wait for the answer as long as the client does."""
        started = time.perf_counter()
        running = self._runner.submit(query.sql, query.form)
        events = {
            asyncio.create_task(_finished(running)),
            asyncio.create_task(_disconnected(receive)),
            # one that only sends no more is let go too: it looks like one that was interrupted
            asyncio.create_task(scope["extensions"][HALF_CLOSED].wait()),
        }
        try:
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
            if not running.done.done():
                raise _DisconnectedError
            return running.done.result()
        finally:
            running.cancel()
            for event in events:
                event.cancel()
            self._telemetry.observe(t.SQL_SECONDS, time.perf_counter() - started)


def _refusal(error: Exception) -> _RequestError:
    """Return the answer to an error; one that is not foreseen gets a fixed text."""
    if isinstance(error, _RequestError):
        return error
    for kind, outcome, status in _OUTCOMES:
        if isinstance(error, kind):
            headers = _RETRY if status == 503 else ()  # noqa: PLR2004 - RFC 9110, 15.6.4
            return _RequestError(status, str(error), outcome, headers)
    _log.error("query failed", error=type(error).__name__)
    return _RequestError(500, "internal error", "internal")


def _parsed(body: bytes, accept: bytes) -> _Query:
    try:
        request: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _RequestError(400, 'the body is not JSON like {"sql": "SELECT 1"}') from error
    if not isinstance(request, dict) or not isinstance(request.get("sql"), str):
        raise _RequestError(400, 'the body must be an object with the text "sql"')
    unknown = request.keys() - {"sql", "format"}
    if unknown:
        name = min(unknown)
        raise _RequestError(400, f"unknown key {name!r:.80}: there are 'sql' and 'format'")
    form = request.get("format", "arrow" if ARROW in accept.lower() else "json")
    if form not in get_args(QueryFormat):
        raise _RequestError(400, "the format must be 'json' or 'arrow'")
    try:
        request["sql"].encode()
    except UnicodeEncodeError as error:
        raise _RequestError(400, "the SQL holds half of a surrogate pair") from error
    return _Query(request["sql"], form)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _finished(running: RunningQuery) -> None:
    loop = asyncio.get_running_loop()
    finished = asyncio.Event()

    def wake(_future: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finished.set)

    running.done.add_done_callback(wake)
    await finished.wait()


async def _send(
    send: Send, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    length = (b"content-length", str(len(body)).encode())
    head = [*headers, length, (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    for start in range(0, len(body), _SEND_BYTES):
        part = body[start : start + _SEND_BYTES]
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
