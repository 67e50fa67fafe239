"""HTTP connections by plain sockets: half-closed, reset, slow, endless, upgraded, pipelined."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time

import pytest

from tests.receivers.conftest import LIMIT, Served
from tests.receivers.fakes import WAIT_S

HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"


def whole(body: bytes, headers: bytes = b"") -> bytes:
    """Return a complete request."""
    return HEAD + headers + b"content-length: %d\r\n\r\n" % len(body) + body


def read_to_end(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes; a reset counts as closed."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def test_a_half_closed_client_gets_its_answer(served: Served) -> None:
    """Scenario: a client closes its sending side while its request is worked on.

    Guarantees: it gets its 200, then the connection ends.
    """
    served.intake.gate.clear()
    with served.connect() as connection:
        connection.sendall(whole(b"half"))
        connection.shutdown(socket.SHUT_WR)
        served.intake.wait_for_submit()
        served.intake.gate.set()
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")
    assert served.intake.received == [b"half"]


def test_half_closing_in_the_body_ends_the_request(served: Served) -> None:
    """Scenario: a client closes its sending side in the middle of the body.

    Guarantees: the connection ends, the pipeline sees nothing, it is counted.
    """
    with served.connect() as connection:
        connection.sendall(whole(b"x" * 100)[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == b""
    served.telemetry.wait_for("otlp_http", "disconnected")
    assert served.intake.received == []


def test_a_reset_in_the_body_ends_the_request(served: Served) -> None:
    """Scenario: the client's host resets the connection in the middle of the body.

    Guarantees: it is counted, the pipeline sees nothing, and service goes on.
    """
    with served.connect() as connection:
        connection.sendall(whole(b"x" * 1000)[:-500])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    served.telemetry.wait_for("otlp_http", "disconnected")
    with served.connect() as connection:
        connection.sendall(whole(b"next", b"connection: close\r\n"))
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")
    assert served.intake.received == [b"next"]


def test_a_reset_while_it_is_worked_on_abandons_the_future(served: Served) -> None:
    """Scenario: the client is gone before its admitted request is answered.

    Guarantees: the pipeline's future is neither cancelled nor lost.
    """
    served.intake.gate.clear()
    with served.connect() as connection:
        connection.sendall(whole(b"gone"))
        served.intake.wait_for_submit()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    served.intake.gate.set()
    assert served.intake.futures[0].result(WAIT_S).rejected == 0


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"POST /v1/tra", b"HTTP/1.1 408 "),
        (HEAD, b"HTTP/1.1 408 "),
        (HEAD + b"content-length: 9\r\n\r\nx", b"HTTP/1.1 408 "),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nab", b"HTTP/1.1 408 "),
        (whole(b"done"), b"HTTP/1.1 200 "),
        (whole(b"done") + b"\r\n", b"HTTP/1.1 200 "),
    ],
)
def test_who_stops_sending_is_hung_up_on(impatient: Served, sent: bytes, answer: bytes) -> None:
    """Scenario: silence from the start, in the head, in the body, and after a request.

    Guarantees: 408 where something was begun; in each case the connection ends by itself.
    """
    with impatient.connect() as connection:
        connection.sendall(sent)
        assert read_to_end(connection).startswith(answer)


def test_silence_in_the_body_is_counted_once(impatient: Served) -> None:
    """Scenario: a client stops in the middle of the body and is hung up on.

    Guarantees: one refused request: a timeout, and not the lost connection as well.
    """
    impatient.telemetry.reset()
    with impatient.connect() as connection:
        connection.sendall(whole(b"x" * 100)[:-1])
        read_to_end(connection)
    with impatient.connect() as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        read_to_end(connection)
    assert impatient.telemetry.refused == {
        ("otlp_http", "timeout"): 1,
        ("otlp_http", "not_found"): 1,
    }


def test_rubbish_behind_a_request_does_not_answer_it(served: Served) -> None:
    """Scenario: what follows a request that is still being worked on is not HTTP.

    Guarantees: the connection ends without a 400 that the client would take for the first one's.
    """
    served.intake.gate.clear()
    with served.connect() as connection:
        connection.sendall(whole(b"first"))
        served.intake.wait_for_submit()
        connection.sendall(b"rubbish\r\n\r\n")
        assert read_to_end(connection) == b""
    served.intake.gate.set()
    assert served.intake.received == [b"first"]


def test_a_trickle_does_not_keep_a_connection(impatient: Served) -> None:
    """Scenario: slowloris: a head that grows by a byte at a time and never ends.

    Guarantees: the time is for the whole head, so it ends in spite of the bytes; counted.
    """
    with impatient.connect() as connection:
        connection.sendall(HEAD)
        connection.settimeout(0.02)
        end = time.monotonic() + WAIT_S
        received = b""
        while not received and time.monotonic() < end:
            connection.sendall(b"a")
            try:
                received = connection.recv(100)
            except TimeoutError:
                continue
    assert received.startswith(b"HTTP/1.1 408 ")
    impatient.telemetry.wait_for("otlp_http", "timeout")


@pytest.mark.parametrize(
    "begin",
    [
        HEAD + b"x: ",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5;x=",
        HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx: ",
    ],
)
def test_an_endless_head_or_trailer_is_cut_off(served: Served, begin: bytes) -> None:
    """Scenario: a header, a chunk extension, a trailer that never ends.

    Guarantees: 431 after 64 KiB that bring the request no further (not after the time is up), or
    the connection is gone before the answer could be read; counted; the pipeline sees nothing.
    """
    with served.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(begin)
        for _ in range(100):
            connection.sendall(b"y" * 70_000)
    served.telemetry.wait_for("otlp_http", "head_too_large")
    assert served.intake.received == []


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS ClientHello
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"alice@example.com\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nx",
        HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_is_a_bad_request(served: Served, rubbish: bytes) -> None:
    """Scenario: TLS and HTTP/2 to the plain port, rubbish, lengths that contradict each other.

    Guarantees: 400 that quotes nothing, the connection ends, counted.
    """
    with served.connect() as connection:
        connection.sendall(rubbish)
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"alice" not in answer
    served.telemetry.wait_for("otlp_http", "not_http")
    assert served.intake.received == []


def test_an_offer_to_upgrade_is_declined(served: Served) -> None:
    """Scenario: a Java client offers h2c along with its request.

    Guarantees: answered as HTTP/1.1 with the body taken, cut anywhere; the connection goes on.
    """
    offer = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    request = whole(b"offered", offer)
    with served.connect() as connection:
        for pieces in ([request], [request[:-3], request[-3:]], [request[:-7], request[-7:]]):
            for piece in pieces:
                connection.sendall(piece)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert served.intake.received == [b"offered"] * 3


def test_a_tunnel_is_refused(served: Served) -> None:
    """Scenario: a client takes the receiver for a proxy.

    Guarantees: 400 and the connection ends.
    """
    with served.connect() as connection:
        connection.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    """Scenario: three requests in one packet.

    Guarantees: three answers in order.
    """
    get = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    requests = whole(b"1") + get + whole(b"2", b"connection: close\r\n")
    with served.connect() as connection:
        connection.sendall(requests)
        answers = read_to_end(connection)
    codes = re.findall(rb"HTTP/1.1 (\d+)", answers)
    assert codes == [b"200", b"404", b"200"]
    assert served.intake.received == [b"1", b"2"]


def test_expect_100_continue_is_asked_for_or_declined(served: Served) -> None:
    """Scenario: a client asks before it sends, once within the limit and once over it.

    Guarantees: 100 then 200; or 413 at once, without a byte of the body.
    """
    head = HEAD + b"expect: 100-continue\r\n"
    with served.connect() as connection:
        connection.sendall(head + b"content-length: 2\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"ok")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    with served.connect() as connection:
        connection.sendall(head + b"content-length: %d\r\n\r\n" % (LIMIT + 1))
        assert read_to_end(connection).startswith(b"HTTP/1.1 413 ")
