"""OTLP as bytes over real sockets: what is sent is exactly what the test made, good or bad."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import grpc
import httpx
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_DETAILS = "grpc-status-details-bin"
_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    # how long an attempt to connect may take, whatever its name says: a busy machine needs a while
    ("grpc.min_reconnect_backoff_ms", 20_000),
    ("grpc.max_reconnect_backoff_ms", 100),
]


@dataclass(frozen=True, slots=True)
class Service:
    """What of OTLP differs by signal: method, path, response and where its rejected items are."""

    method: str
    path: str
    response: Any
    rejected: str


TRACES = Service(
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/v1/traces",
    ExportTraceServiceResponse,
    "rejected_spans",
)
LOGS = Service(
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/v1/logs",
    ExportLogsServiceResponse,
    "rejected_log_records",
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a sidecar answered: the gRPC code or HTTP status, and every byte of the answer."""

    code: grpc.StatusCode | int
    rejected: int = 0
    message: str = ""
    retry_delay_s: float | None = None
    raw: bytes = b""

    @property
    def ok(self) -> bool:
        """Tell whether it was accepted, wholly or partly."""
        return self.code in {grpc.StatusCode.OK, 200}


class GrpcClient:
    """One channel, as an app holds it."""

    def __init__(self, endpoint: str, service: Service = TRACES) -> None:
        """Open the channel; it connects, and reconnects, by itself."""
        self._channel = grpc.insecure_channel(endpoint, options=_OPTIONS)
        self._service = service
        self._call = self._channel.unary_unary(service.method)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the channel."""
        self._channel.close()

    def export(
        self,
        payload: bytes,
        *,
        limit_s: float = 30,
        compression: grpc.Compression | None = None,
    ) -> Reply:
        """Send one request and return the answer, whatever it is."""
        try:
            body, call = self._call.with_call(payload, timeout=limit_s, compression=compression)
        except grpc.RpcError as error:
            return _refusal(error)
        partial = self._service.response.FromString(body).partial_success
        raw = body + repr(call.trailing_metadata()).encode()
        return Reply(
            grpc.StatusCode.OK,
            getattr(partial, self._service.rejected),
            partial.error_message,
            raw=raw,
        )


def post(endpoint: str, payload: bytes, service: Service = TRACES, **headers: str) -> Reply:
    """Send one request by HTTP; header names are given with underscores for hyphens."""
    named = {"content-type": "application/x-protobuf"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"http://{endpoint}{service.path}"
    answer = httpx.post(url, content=payload, headers=named, timeout=60)
    raw = answer.content + repr(answer.headers.multi_items()).encode()
    wait = answer.headers.get("retry-after")
    if answer.status_code == httpx.codes.OK:
        partial = service.response.FromString(answer.content).partial_success
        return Reply(200, getattr(partial, service.rejected), partial.error_message, raw=raw)
    text = status_pb2.Status.FromString(answer.content).message
    return Reply(answer.status_code, 0, text, float(wait) if wait else None, raw)


def numbered_spans(client: str, first: int, count: int, **extra: str) -> bytes:
    """Return a request of ``count`` root spans, each of a trace of its own.

    Each carries the attributes ``client`` and ``sequence`` (from ``first`` on) and ``extra``.
    """
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    now = time.time_ns()
    for sequence in range(first, first + count):
        span = scope.spans.add(
            trace_id=secrets.token_bytes(16),
            span_id=secrets.token_bytes(8),
            name="numbered",
            start_time_unix_nano=now,
            end_time_unix_nano=now + 1_000_000,
        )
        attribute = span.attributes.add(key="client")
        attribute.value.string_value = client
        attribute = span.attributes.add(key="sequence")
        attribute.value.int_value = sequence
        for key, value in extra.items():
            attribute = span.attributes.add(key=key)
            attribute.value.string_value = value
    return request.SerializeToString()


def numbered_log_records(client: str, first: int, count: int) -> bytes:
    """Return a request of ``count`` log records, each with ``client`` and ``sequence``."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    now = time.time_ns()
    for sequence in range(first, first + count):
        record = scope.log_records.add(time_unix_nano=now, event_name="numbered")
        record.body.string_value = "a line"
        record.attributes.add(key="client").value.string_value = client
        record.attributes.add(key="sequence").value.int_value = sequence
    return request.SerializeToString()


NUMBERED_SQL = """
    SELECT attributes['client'] AS client, CAST(attributes['sequence'] AS BIGINT) AS sequence,
           count(*) AS copies
    FROM spans WHERE name = 'numbered' GROUP BY ALL
"""
NUMBERED_LOGS_SQL = NUMBERED_SQL.replace("spans WHERE name", "logs WHERE event_name")


@dataclass
class Ledger:
    """What was sent and what was acknowledged: (client, sequence) of every span."""

    sent: set[tuple[str, int]] = field(default_factory=set)
    acked: set[tuple[str, int]] = field(default_factory=set)
    refusals: Counter[grpc.StatusCode | int] = field(default_factory=Counter)

    def compare(self, rows: list[dict[str, object]]) -> Verdict:
        """Hold the rows of ``NUMBERED_SQL`` against the ledger."""
        copies = {(str(row["client"]), int(str(row["sequence"]))): row["copies"] for row in rows}
        return Verdict(
            sent=len(self.sent),
            acked=len(self.acked),
            stored=len(copies),
            lost=len(self.acked - copies.keys()),
            twice=sum(count != 1 for count in copies.values()),
            phantom=len(copies.keys() - self.sent),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of spans: lost is acked but absent, phantom is stored but never sent."""

    sent: int
    acked: int
    stored: int
    lost: int
    twice: int
    phantom: int


class Load:
    """Clients that send numbered spans until told to stop; a refused batch is not sent again."""

    def __init__(
        self, endpoint: str, service: Service = TRACES, *, clients: int = 2, batch: int = 25
    ) -> None:
        """Prepare the clients, whose names no other load has; nothing is sent yet."""
        self._service = service
        self._payload = numbered_spans if service is TRACES else numbered_log_records
        self.name = secrets.token_hex(4)
        self.ledger = Ledger()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._moved = threading.Condition(self._lock)
        self._threads = [
            threading.Thread(target=self._send, args=(endpoint, f"{self.name}-{number}", batch))
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        """Start sending."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop sending and wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def await_that(self, holds: Callable[[Ledger], bool], limit_s: float = 60) -> None:
        """Return when the ledger satisfies the condition, checked after each answer."""
        with self._moved:
            assert self._moved.wait_for(lambda: holds(self.ledger), limit_s), "load is stuck"

    def _send(self, endpoint: str, client: str, batch: int) -> None:
        first = 0
        with GrpcClient(endpoint, self._service) as connection:
            while not self._stop.is_set():
                spans = {(client, first + offset) for offset in range(batch)}
                payload = self._payload(client, first, batch)
                first += batch
                with self._lock:
                    self.ledger.sent |= spans
                reply = connection.export(payload, limit_s=10)
                with self._moved:
                    if reply.ok:
                        self.ledger.acked |= spans
                    else:
                        self.ledger.refusals[reply.code] += 1
                    self._moved.notify_all()
                if not reply.ok:
                    self._stop.wait(0.05)  # a refusal costs nothing: leave the processor a turn


def _refusal(error: grpc.RpcError) -> Reply:
    metadata = dict(error.trailing_metadata() or ())
    delay = None
    if details := metadata.get(_DETAILS):
        for item in status_pb2.Status.FromString(details).details:
            info = error_details_pb2.RetryInfo()
            if item.Unpack(info):
                delay = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    text = error.details() or ""
    return Reply(error.code(), 0, text, delay, (text + repr(metadata)).encode())
