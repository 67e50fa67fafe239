"""OTLP/gRPC over real channels: every outcome, every error, limits to the byte."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector.model import errors
from collector.model.contracts import Outcome
from collector.receivers import otlp_grpc
from collector.receivers.timeouts import Timeouts
from tests.receivers.conftest import LIMIT, Served, start
from tests.receivers.fakes import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture
def channel(served: Served) -> Iterator[grpc.Channel]:
    """Return a channel of its own connection."""
    with grpc.insecure_channel(
        served.grpc, options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        yield channel


def export(
    channel: grpc.Channel, payload: bytes, compression: grpc.Compression | None = None
) -> bytes:
    """Send one request and return the response's bytes."""
    call = channel.unary_unary(EXPORT)
    return bytes(call(payload, timeout=WAIT_S, compression=compression))


def failure(channel: grpc.Channel, payload: bytes = b"", **options: grpc.Compression) -> grpc.Call:
    """Send one request that must fail and return what the client sees."""
    with pytest.raises(grpc.RpcError) as caught:
        export(channel, payload, **options)
    error = caught.value
    assert isinstance(error, grpc.Call)
    return error


def retry_delay_s(error: grpc.Call) -> float | None:
    """Return the delay of RetryInfo as a client reads it, None if there is none."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if details is None:
        return None
    assert isinstance(details, bytes)
    status = Status.FromString(details)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    info = RetryInfo()
    assert status.details[0].Unpack(info)
    return float(info.retry_delay.ToNanoseconds() / 1e9)


def test_full_success_leaves_partial_success_unset(served: Served, channel: grpc.Channel) -> None:
    """Scenario: a request that is taken whole.

    Guarantees: OK with an empty response, and the pipeline got exactly the bytes that were sent.
    """
    response = export(channel, b"any bytes \x00\xff")
    assert not ExportTraceServiceResponse.FromString(response).HasField("partial_success")
    assert served.intake.received == [b"any bytes \x00\xff"]
    assert served.intake.transports == ["grpc"]
    assert served.telemetry.refused == {}


def test_partial_success_says_how_many_and_why(served: Served, channel: grpc.Channel) -> None:
    """Scenario: some spans of a request are rejected.

    Guarantees: OK with both fields of partial_success, and no error is counted.
    """
    served.intake.outcome = Outcome(3, "3 spans have no valid id")
    partial = ExportTraceServiceResponse.FromString(export(channel, b"x")).partial_success
    assert (partial.rejected_spans, partial.error_message) == (3, "3 spans have no valid id")
    assert served.telemetry.refused == {}


ERRORS = [
    (errors.InvalidPayload("broken"), grpc.StatusCode.INVALID_ARGUMENT, None, "invalid"),
    (errors.PermanentError("never"), grpc.StatusCode.INVALID_ARGUMENT, None, "invalid"),
    (errors.PayloadTooLarge("max_spans"), grpc.StatusCode.RESOURCE_EXHAUSTED, None, "too_large"),
    (
        errors.Overloaded("full", retry_after_s=2.5),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        2.5,
        "overloaded",
    ),
    (errors.StorageUnavailable("disk"), grpc.StatusCode.UNAVAILABLE, 1.0, "storage"),
    (errors.RedactionUnavailable("rules"), grpc.StatusCode.UNAVAILABLE, 1.0, "redaction"),
    (errors.ShuttingDown("bye"), grpc.StatusCode.UNAVAILABLE, 1.0, "shutting_down"),
    (errors.RetryableError("later"), grpc.StatusCode.UNAVAILABLE, 1.0, "unavailable"),
]


@pytest.mark.parametrize("when", ["admission", "later"])
@pytest.mark.parametrize(("error", "code", "delay_s", "reason"), ERRORS)
def test_each_error_has_its_code(  # noqa: PLR0913, PLR0917 - a table of expectations
    served: Served,
    channel: grpc.Channel,
    error: errors.ClearspanError,
    code: grpc.StatusCode,
    delay_s: float | None,
    reason: str,
    when: str,
) -> None:
    """Scenario: the pipeline refuses at once, or after the request was admitted.

    Guarantees: the code of the contract, RetryInfo if and only if trying again can help, counted.
    """
    if when == "admission":
        served.intake.refusal = error
    else:
        served.intake.outcome = error
    seen = failure(channel)
    assert (seen.code(), seen.details()) == (code, str(error))
    assert retry_delay_s(seen) == delay_s
    assert served.telemetry.refused == {("otlp_grpc", reason): 1}


@pytest.mark.parametrize("error", [ValueError("alice@example.com"), CancelledError()])
def test_an_unforeseen_error_tells_nothing(
    served: Served, channel: grpc.Channel, error: Exception
) -> None:
    """Scenario: a fault in the pipeline whose text holds a value.

    Guarantees: INTERNAL with a fixed text, counted, and the next request is served.
    """
    served.intake.outcome = error
    seen = failure(channel)
    assert (seen.code(), seen.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert served.telemetry.refused == {("otlp_grpc", "internal"): 1}
    served.intake.outcome = Outcome()
    assert export(channel, b"next") == b""


def test_an_unknown_method_is_unimplemented(served: Served, channel: grpc.Channel) -> None:
    """Scenario: a client exports logs, which is not there yet.

    Guarantees: UNIMPLEMENTED, counted.
    """
    call = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=WAIT_S)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert served.telemetry.refused == {("otlp_grpc", "unimplemented"): 1}


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
def test_takes_messages_up_to_the_limit(
    served: Served, channel: grpc.Channel, compression: grpc.Compression, size: int
) -> None:
    """Scenario: sizes up to the limit, plain and gzip.

    Guarantees: the pipeline gets the bytes unpacked; the limit is for the unpacked size.
    """
    assert export(channel, b"x" * size, compression) == b""
    assert served.intake.received == [b"x" * size]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
@pytest.mark.parametrize("size", [LIMIT + 1, 64 * 2**20])
def test_refuses_messages_over_the_limit(
    served: Served, channel: grpc.Channel, compression: grpc.Compression, size: int
) -> None:
    """Scenario: one byte more than the limit, and 64 MB, plain and gzip.

    Guarantees: RESOURCE_EXHAUSTED without RetryInfo, counted; the pipeline sees nothing.
    """
    seen = failure(channel, b"x" * size, compression=compression)
    assert seen.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_delay_s(seen) is None
    assert served.intake.received == []
    # gRPC itself stops what is larger on the wire and does not say why it did.
    is_stopped_by_grpc = compression is grpc.Compression.NoCompression
    reason = "not_received" if is_stopped_by_grpc else "too_large"
    served.telemetry.wait_for("otlp_grpc", reason)


@pytest.mark.parametrize(
    "payload",
    [gzip.compress(b"x" * 999, mtime=0)[:-9], b"\x1f\x8b is all that is right", b"\x1f\x8b"],
)
def test_damaged_gzip_is_an_invalid_argument(
    served: Served, channel: grpc.Channel, payload: bytes
) -> None:
    """Scenario: truncated gzip, and what only starts like it.

    Guarantees: INVALID_ARGUMENT, never INTERNAL; counted; the pipeline sees nothing.
    """
    assert failure(channel, payload).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert served.intake.received == []
    assert served.telemetry.refused == {("otlp_grpc", "invalid"): 1}


def test_gzip_of_several_members_is_taken(served: Served, channel: grpc.Channel) -> None:
    """Scenario: two gzip members after each other, which is one gzip file.

    Guarantees: both are unpacked.
    """
    export(channel, gzip.compress(b"one") + gzip.compress(b"two"))
    assert served.intake.received == [b"onetwo"]


def test_deflate_is_refused_as_grpc_says(served: Served, channel: grpc.Channel) -> None:
    """Scenario: a client compresses with an algorithm that is not taken.

    Guarantees: UNIMPLEMENTED (gRPC compression spec), and the pipeline sees nothing.
    """
    seen = failure(channel, b"x" * 99, compression=grpc.Compression.Deflate)
    assert seen.code() is grpc.StatusCode.UNIMPLEMENTED
    assert served.intake.received == []


def test_a_call_without_a_message_is_invalid(served: Served, channel: grpc.Channel) -> None:
    """Scenario: a client ends the call before its message.

    Guarantees: INVALID_ARGUMENT, counted.
    """
    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(EXPORT)(iter(()), timeout=WAIT_S)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert served.telemetry.refused == {("otlp_grpc", "not_received"): 1}


def never_sent(gone: threading.Event) -> Iterator[bytes]:
    """Hold a call open without a message until the test is over."""
    gone.wait(WAIT_S)
    yield from ()


def test_a_message_that_does_not_come_is_given_up(impatient: Served) -> None:
    """Scenario: 40 calls are opened and never send, more than may be received at once.

    Guarantees: each ends with an error within its time, and a real request is then served.
    """
    gone = threading.Event()
    with grpc.insecure_channel(impatient.grpc) as channel:
        calls = [channel.stream_unary(EXPORT).future(never_sent(gone)) for _ in range(40)]
        codes = {call.exception(WAIT_S).code() for call in calls}
        gone.set()
        assert grpc.StatusCode.DEADLINE_EXCEEDED in codes
        assert codes <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        impatient.telemetry.wait_for("otlp_grpc", "timeout")
        assert export(channel, b"x") == b""


def test_no_room_to_receive_is_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: as many messages as may be are being received, and none gets done.

    Guarantees: RESOURCE_EXHAUSTED with RetryInfo: the sender of the next comes again.
    """
    monkeypatch.setattr(otlp_grpc, "_MOST_RECEIVING", 0)
    served = start(Timeouts(body_s=0.05))
    with grpc.insecure_channel(served.grpc) as channel:
        seen = failure(channel)
        assert seen.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert retry_delay_s(seen) == 1.0
    served.listeners.stop(0)


def test_a_cancelled_call_abandons_its_future(served: Served, channel: grpc.Channel) -> None:
    """Scenario: the client's deadline passes while the pipeline works on its request.

    Guarantees: the future is not cancelled (the pipeline resolves it) and service goes on.
    """
    served.intake.gate.clear()
    call = channel.unary_unary(EXPORT).future(b"slow", timeout=WAIT_S)
    served.intake.wait_for_submit()
    call.cancel()
    served.intake.gate.set()
    assert served.intake.futures[0].result(WAIT_S) == Outcome()
    assert export(channel, b"next") == b""


def test_many_requests_wait_at_once(served: Served, channel: grpc.Channel) -> None:
    """Scenario: 100 requests are in the pipeline before any is answered.

    Guarantees: waiting requests hold no place that others need: all 100 were admitted.
    """
    served.intake.gate.clear()
    with ThreadPoolExecutor(100) as clients:
        answers = [clients.submit(export, channel, b"%d" % n) for n in range(100)]
        for _ in answers:
            served.intake.wait_for_submit()
        served.intake.gate.set()
        assert [answer.result(WAIT_S) for answer in answers] == [b""] * 100
    assert sorted(map(int, served.intake.received)) == list(range(100))


def pings_answered(address: str, count: int) -> int:
    """Send HTTP/2 pings without a call, one after the other, and count those answered."""
    host, port = address.split(":")
    answered = 0
    with (
        socket.create_connection((host, int(port)), timeout=WAIT_S) as connection,
        contextlib.suppress(ConnectionError),
    ):
        frames = connection.makefile("rb")
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        while answered < count:
            connection.sendall(b"\0\0\x08\x06\0\0\0\0\0" + struct.pack(">Q", answered))
            is_answer = False
            while not is_answer and (head := frames.read(9)):
                kind, is_ack = head[3], head[4] & 1
                is_answer = kind == 6 and is_ack
                frames.read(int.from_bytes(head[:3], "big"))
            if not is_answer:
                break
            answered += 1
    return answered


def test_keepalive_pings_without_calls_are_permitted(impatient: Served) -> None:
    """Scenario: an idle client pings 20 times, no faster than allowed (any pace is, here).

    Guarantees: no "too_many_pings": gRPC's default is two hours between pings without calls.
    """
    assert pings_answered(impatient.grpc, 20) == 20


def test_a_flood_of_pings_is_not(served: Served) -> None:
    """Scenario: the same pings at once, with the product's pace of 9 s.

    Guarantees: the connection is closed; which shows that the test above can fail.
    """
    assert pings_answered(served.grpc, 20) < 20
