"""OTLP/HTTP: ``POST /v1/traces`` and ``/v1/logs`` as a bare ASGI app, unpacked up to its limit.

Bodies are protobuf or JSON, which is made protobuf here: what comes behind knows only that.

CPU of the server process for one request (100 spans in 58 kB, 512 spans in 303 kB; 1 / 16 clients
at once): uvicorn with httptools 108 / 75 us and 200 / 217 us, with h11 183 / 125 and 275 / 300,
with Starlette's routing 129 / 92 and 208 / 250; aiohttp 117 / 92 and 175 / 150, but it serves no
ASGI apps; granian 288 / 133 and 592 / 342; hypercorn 288 / 167 and 408 / 350.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import grpc
import structlog
from google.protobuf import json_format
from google.rpc.status_pb2 import Status

from collector.model.errors import ClearspanError, Overloaded
from collector.model.telemetry import REFUSED_REQUESTS
from collector.receivers.answers import NotReceived, Refusal, export, refusal
from collector.receivers.compression import Body, GzipBody, PlainBody, too_large

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message
    from starlette.types import Receive, Scope, Send

    from collector.model.contracts import Intake
    from collector.model.telemetry import Telemetry
    from collector.receivers.answers import Service

RECEIVER: Final = "otlp_http"
PROTOBUF: Final = b"application/x-protobuf"
JSON: Final = b"application/json"
_TEXT: Final = b"text/plain; charset=utf-8"
# Requests of the largest size that may be half received at once.
_MOST_RECEIVING: Final = 4

_log = structlog.get_logger("clearspan")


class OtlpHttp:
    """The ASGI app of the receiver."""

    def __init__(
        self,
        intakes: Mapping[Service, Intake],
        telemetry: Telemetry,
        most_bytes: int,
        slow_s: float,
    ) -> None:
        """Take bodies of up to ``most_bytes`` after decompression; ``slow_s``: see ``Timeouts``."""
        self._services = {service.path: (service, intake) for service, intake in intakes.items()}
        self._telemetry = telemetry
        self._most_bytes = most_bytes
        self._room_bytes = most_bytes * _MOST_RECEIVING
        self._slow_s = slow_s
        self._arriving: list[_Arrival] = []  # the oldest first
        self._translating = asyncio.Lock()

    def count(self, reason: str) -> None:
        """Count a request that was answered with an error."""
        self._telemetry.add(REFUSED_REQUESTS, 1, RECEIVER, reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens is an answer, never an exception."""
        headers = dict(scope["headers"])
        try:
            body = self._admit(scope, headers)
            payload = await self._read(body, receive)
            del body
            service, intake = self._services[scope["path"]]
            is_json = _media_type(headers) == JSON
            if is_json:
                payload = await self._translated(payload, intake)
            answer = await export(service, intake, payload, "http")
        except (_Disconnected, asyncio.CancelledError):
            return  # hung up on, by the client or at the end of the grace: nobody is there
        except Exception as error:  # noqa: BLE001 - the process's edge
            told = refusal(error)
            self.count(told.reason)
            if told.reason == "internal":
                _log.error("request failed", receiver=RECEIVER, error=type(error).__name__)
            await _refuse(told, headers, send)
        else:
            content = _json(answer, service.response) if is_json else answer
            await _send(send, 200, content, [(b"content-type", JSON if is_json else PROTOBUF)])

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> Body:
        """Judge by the head and return an empty body to fill."""
        if scope["path"] not in self._services:
            raise _refused("not_found", "no such path", grpc.StatusCode.UNIMPLEMENTED, 404)
        if scope["method"] != "POST":
            raise _refused("method", "only POST is allowed", grpc.StatusCode.UNIMPLEMENTED, 405)
        if _media_type(headers) not in {PROTOBUF, JSON}:
            text = f"the content type must be {PROTOBUF.decode()} or {JSON.decode()}"
            raise _refused("media_type", text, grpc.StatusCode.INVALID_ARGUMENT, 415)
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding == b"gzip":
            return GzipBody(self._most_bytes)
        if encoding not in {b"", b"identity"}:
            text = "the content encoding must be gzip or identity"
            raise _refused("encoding", text, grpc.StatusCode.INVALID_ARGUMENT, 415)
        if int(headers.get(b"content-length", b"0")) > self._most_bytes:
            raise too_large(self._most_bytes)
        return PlainBody(self._most_bytes)

    async def _read(self, body: Body, receive: Receive) -> bytes:
        arrival = _Arrival(asyncio.get_running_loop().time())
        self._arriving.append(arrival)
        held_bytes = 0
        try:
            async with arrival.patience:
                more = True
                while more:  # chunks of up to 256 KiB as they come from the socket
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Disconnected
                    body.feed(message.get("body", b""))
                    more = message.get("more_body", False)
                    self._room_bytes -= body.size_bytes - held_bytes
                    held_bytes = body.size_bytes
                    await self._make_room(arrival)
            return body.finish()
        except TimeoutError as error:
            raise Overloaded("others waited while the request did not arrive") from error
        finally:
            self._room_bytes += held_bytes
            self._arriving.remove(arrival)
            arrival.is_over.set()

    async def _translated(self, text: bytes, intake: Intake) -> bytes:
        """Return a JSON body as protobuf, made in a thread, one at a time: 15 us a span."""
        self._room_bytes -= len(text)
        try:
            async with self._translating:
                return await asyncio.to_thread(intake.from_json, text)
        finally:
            self._room_bytes += len(text)

    async def _make_room(self, needy: _Arrival) -> None:
        """Interrupt slow requests, the oldest first, until there is room."""
        now_s = asyncio.get_running_loop().time()
        while self._room_bytes < 0:
            oldest = self._arriving[0]
            if oldest is needy or now_s - oldest.since_s < self._slow_s:
                raise Overloaded("too much is being received at once")
            if not oldest.patience.expired():  # by another that needs room
                oldest.patience.reschedule(now_s)
            await oldest.is_over.wait()


@dataclass(frozen=True, slots=True, eq=False)
class _Arrival:
    """A request whose body comes in since a time of the loop's clock."""

    since_s: float
    patience: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    is_over: asyncio.Event = field(default_factory=asyncio.Event)


class _Disconnected(ClearspanError):
    """The request ended before it was complete, which the connection counts."""


def _refused(reason: str, text: str, code: grpc.StatusCode, http_status: int) -> NotReceived:
    return NotReceived(reason, text, code, http_status)


def _media_type(headers: dict[bytes, bytes]) -> bytes:
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


async def _refuse(told: Refusal, headers: dict[bytes, bytes], send: Send) -> None:
    """Answer in the request's own format: a Status for protobuf and JSON, text for all else."""
    more: list[tuple[bytes, bytes]] = []
    retry_after = told.retry_after()
    if retry_after is not None:
        more.append((b"retry-after", retry_after))
    if told.http_status == 405:  # noqa: PLR2004 - RFC 9110, 15.5.6 demands the list
        more.append((b"allow", b"POST"))
    if b"expect" in headers:
        # The body was perhaps never asked for: what comes next on this connection is uncertain.
        more.append((b"connection", b"close"))
    kind = _media_type(headers)
    if kind == PROTOBUF:
        content = told.status()
    elif kind == JSON:
        content = _json(told.status(), Status)
    else:
        kind, content = _TEXT, told.message.encode()
    await _send(send, told.http_status, content, [(b"content-type", kind), *more])


def _json(serialized: bytes, kind: type[Message]) -> bytes:
    """Return a serialized answer as JSON."""
    text: str = json_format.MessageToJson(kind.FromString(serialized), indent=None)
    return text.encode()


async def _send(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
