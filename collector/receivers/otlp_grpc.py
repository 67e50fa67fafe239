"""OTLP/gRPC: ``Export`` of ``TraceService`` and ``LogsService`` on grpc.aio, with raw bytes.

CPU of the server process for one RPC (100 spans in 58 kB, 512 spans in 303 kB; 1 / 16 clients at
once, two measurements): grpc.aio 368-375 / 222-240 us and 382-470 / 343-380 us; grpc.server with
32 threads 269-303 / 232-250 us and 398-405 / 445-523 us. A thread would be held by every RPC that
waits for its micro-batch, so grpc.aio it is. Reading the message in the handler (``stream_unary``
on the server's side, the same bytes on the wire) costs nothing measurable.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio
import structlog

from collector.model.errors import Overloaded
from collector.model.telemetry import REFUSED_REQUESTS
from collector.receivers.answers import NotReceived, export, refusal
from collector.receivers.compression import GzipBody
from collector.receivers.slots import Slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from collector.model.contracts import Intake
    from collector.model.telemetry import Telemetry
    from collector.receivers.answers import Service
    from collector.receivers.timeouts import Timeouts

RECEIVER: Final = "otlp_grpc"
STATUS_DETAILS: Final = "grpc-status-details-bin"

# No protobuf request starts like this: 0x1f would be field 3 of wire type 7, which does not exist.
_GZIP_MAGIC: Final = b"\x1f\x8b"
# A message has no known length before it is there, nor can be told whether any of it is, so what is
# being received is bounded by 16 messages at once; those that wait are held back by HTTP/2 flow
# control at 64 KiB each.
_MOST_RECEIVING: Final = 16
_UNPACK_BYTES: Final = 64 * 1024

_log = structlog.get_logger("clearspan")


def make_server(
    intakes: Mapping[Service, Intake], telemetry: Telemetry, most_bytes: int, timeouts: Timeouts
) -> grpc.aio.Server:
    """Return a server that is not bound to a port yet; call it on the loop that will run it."""
    server = grpc.aio.server(
        options=(
            # With it a second process would bind the same port and take half the requests.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", most_bytes),
            # gRPC answers damaged or multi-member gzip with INTERNAL, which reaches no handler
            # and no counter; so messages come packed and are unpacked here.
            ("grpc.per_message_decompression", 0),
            # Identity and gzip: what is told to clients, and all that is taken.
            ("grpc.compression_enabled_algorithms_bitset", 0b101),
            # Without it the windows of all calls grow with the connection's speed: messages that
            # wait for a place were taken in whole (48 of 16 MiB took 1.5 GiB).
            ("grpc.http2.bdp_probe", 0),
            # By default pings without calls are answered with "too_many_pings" and a closed
            # connection (gRFC A8).
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", int(timeouts.ping_s * 1000)),
        )
    )
    exports = _Exports(intakes, telemetry, most_bytes, timeouts)
    server.add_generic_rpc_handlers((exports,))
    return server


class _Exports(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    def __init__(
        self,
        intakes: Mapping[Service, Intake],
        telemetry: Telemetry,
        most_bytes: int,
        timeouts: Timeouts,
    ) -> None:
        self._telemetry = telemetry
        self._most_bytes = most_bytes
        self._receive_timeout_s = timeouts.body_s
        self._slots = Slots(_MOST_RECEIVING, timeouts.slow_s)
        self._handlers = {
            service.method: grpc.stream_unary_rpc_method_handler(
                partial(self._export, service, intake)
            )
            for service, intake in intakes.items()
        }

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        handler = self._handlers.get(details.method)
        if handler is None:
            self._count("unimplemented")
        return handler

    async def _export(
        self,
        service: Service,
        intake: Intake,
        _messages: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[bytes, bytes],
    ) -> bytes:
        try:
            payload = await self._receive(context)
            return await export(service, intake, payload, "grpc")
        except Exception as error:  # noqa: BLE001 - the process's edge
            answer = refusal(error)
            self._count(answer.reason)
            if answer.reason == "internal":
                _log.error("request failed", receiver=RECEIVER, error=type(error).__name__)
            details: tuple[tuple[str, bytes], ...] = ()
            if answer.retry_after_s is not None:
                details = ((STATUS_DETAILS, answer.status()),)
        await context.abort(answer.code, answer.message, details)
        raise AssertionError  # abort always raises

    async def _receive(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        is_reading = False
        try:
            async with (
                asyncio.timeout(self._receive_timeout_s),
                self._slots.place(context.peer()),
            ):
                is_reading = True
                message = await context.read()
        except TimeoutError as error:
            if not is_reading:
                raise Overloaded("too many requests are being received") from error
            raise NotReceived(
                "timeout",
                "the request did not arrive in time",
                grpc.StatusCode.DEADLINE_EXCEEDED,
                408,
            ) from error
        if message is grpc.aio.EOF:  # type: ignore[attr-defined]
            # Over the limit, reset, or ended too early: which of them gRPC does not tell. It has
            # answered the first itself, so this answer only ever reaches a sender of the last.
            raise NotReceived(
                "not_received",
                "the request is not one whole message",
                grpc.StatusCode.INVALID_ARGUMENT,
                400,
            )
        return await self._unpacked(message)

    async def _unpacked(self, message: bytes) -> bytes:
        if not message.startswith(_GZIP_MAGIC):
            return message
        body = GzipBody(self._most_bytes)
        for start in range(0, len(message), _UNPACK_BYTES):
            body.feed(message[start : start + _UNPACK_BYTES])
            await asyncio.sleep(0)  # 16 MiB take 50 ms: others have their turn meanwhile
        return body.finish()

    def _count(self, reason: str) -> None:
        self._telemetry.add(REFUSED_REQUESTS, 1, RECEIVER, reason)
