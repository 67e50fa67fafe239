"""What a sender is told: outcomes and errors in the words of gRPC and of HTTP.

https://opentelemetry.io/docs/specs/otlp/ (failures, throttling, partial success).
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from collector.model import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from google.protobuf.message import Message

    from collector.model.contracts import Intake, Outcome, Transport


@dataclass(frozen=True, slots=True)
class Refusal:
    """One error answer; ``reason`` is for the metric, ``retry_after_s`` None means never again."""

    reason: str
    code: grpc.StatusCode
    http_status: int
    message: str
    retry_after_s: float | None = None

    def status(self) -> bytes:
        """Return the serialized ``google.rpc.Status``, with RetryInfo if it may be tried again."""
        status = Status(code=self.code.value[0], message=self.message)
        if self.retry_after_s is not None:
            delay = Duration()
            delay.FromNanoseconds(int(self.retry_after_s * 1e9))
            detail = AnyMessage()
            detail.Pack(RetryInfo(retry_delay=delay))
            status.details.append(detail)
        return bytes(status.SerializeToString())

    def retry_after(self) -> bytes | None:
        """Return the value of ``Retry-After``: whole seconds, at least one."""
        if self.retry_after_s is None:
            return None
        return str(max(1, math.ceil(self.retry_after_s))).encode()


class NotReceived(errors.PermanentError):
    """The request did not arrive in time or not as a whole, or the protocol forbids it.

    Stays inside the receivers: it is raised where bytes come in and answered right there.
    """

    def __init__(self, reason: str, message: str, code: grpc.StatusCode, http_status: int) -> None:
        """Keep the whole answer."""
        super().__init__(message)
        self.refusal = Refusal(reason, code, http_status, message)


_Row = tuple[type[errors.ClearspanError], str, grpc.StatusCode, int]
# The first match counts, so a class stands before those it derives from.
_ANSWERS: Final[tuple[_Row, ...]] = (
    (errors.PayloadTooLarge, "too_large", grpc.StatusCode.RESOURCE_EXHAUSTED, 413),
    (errors.PermanentError, "invalid", grpc.StatusCode.INVALID_ARGUMENT, 400),
    (errors.Overloaded, "overloaded", grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
    (errors.StorageUnavailable, "storage", grpc.StatusCode.UNAVAILABLE, 503),
    (errors.RedactionUnavailable, "redaction", grpc.StatusCode.UNAVAILABLE, 503),
    (errors.ShuttingDown, "shutting_down", grpc.StatusCode.UNAVAILABLE, 503),
    (errors.RetryableError, "unavailable", grpc.StatusCode.UNAVAILABLE, 503),
)
# Of an error nobody foresaw nothing is told: its text might hold a value.
_INTERNAL: Final = Refusal("internal", grpc.StatusCode.INTERNAL, 500, "internal error")


def refusal(error: Exception) -> Refusal:
    """Return the answer to an error; one that is not foreseen gets a fixed text."""
    if isinstance(error, NotReceived):
        return error.refusal
    for kind, reason, code, http_status in _ANSWERS:
        if isinstance(error, kind):
            retry_after_s = getattr(error, "retry_after_s", None)
            return Refusal(reason, code, http_status, str(error), retry_after_s)
    return _INTERNAL


@dataclass(frozen=True, slots=True)
class Service:
    """What of OTLP differs by signal: the gRPC method, the HTTP path, the response."""

    method: str
    path: str
    response: type[Message]
    partial: Callable[[int, str], bytes]

    def success(self, outcome: Outcome) -> bytes:
        """Return the serialized response: empty when all was taken."""
        if not outcome.rejected and not outcome.message:
            return b""
        return self.partial(outcome.rejected, outcome.message)


def _partial_traces(rejected: int, message: str) -> bytes:
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    return bytes(ExportTraceServiceResponse(partial_success=partial).SerializeToString())


def _partial_logs(rejected: int, message: str) -> bytes:
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    return bytes(ExportLogsServiceResponse(partial_success=partial).SerializeToString())


TRACES: Final = Service(
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/v1/traces",
    ExportTraceServiceResponse,
    _partial_traces,
)
LOGS: Final = Service(
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/v1/logs",
    ExportLogsServiceResponse,
    _partial_logs,
)


async def export(service: Service, intake: Intake, payload: bytes, transport: Transport) -> bytes:
    """Hand the request over and wait for what becomes of it; return the serialized response.

    A cancelled caller abandons the future: unlike ``asyncio.wrap_future`` this never cancels it,
    for the pipeline owns it.

    Raises:
        ClearspanError: The request is refused.
    """
    future = intake.submit(payload, transport)
    del payload  # the pipeline holds it as long as it needs it
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def wake(_future: Future[Outcome]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(wake)
    await done.wait()
    return service.success(future.result())
