"""Listeners as a whole: ports, what stands in the way of them, draining."""

from __future__ import annotations

import contextlib
import resource
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest

from collector.model.errors import StartupError
from collector.receivers.answers import TRACES
from collector.receivers.descriptors import allow_connections
from collector.receivers.serving import Listeners
from config.settings import GrpcSettings, HttpSettings, OtlpProtocols
from tests.receivers.conftest import FREE, free_protocols, start
from tests.receivers.fakes import WAIT_S, FakeIntake, FakeTelemetry
from tests.receivers.test_grpc import EXPORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

NONE = OtlpProtocols(grpc=None, http=None)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the path."""
    del receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def listeners(protocols: OtlpProtocols, *apps: tuple[str, str]) -> Listeners:
    """Make listeners with ``hello`` as every app."""
    with_app = [(name, endpoint, hello) for name, endpoint in apps]
    return Listeners(protocols, {TRACES: FakeIntake()}, FakeTelemetry(), apps=with_app)


@pytest.fixture
def taken() -> Iterator[str]:
    """An endpoint that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_everything_listens_where_it_says() -> None:
    """Scenario: both protocols and two apps on port 0.

    Guarantees: the returned addresses are real and each leads to its own.
    """
    under_test = listeners(free_protocols(), ("health", FREE), ("metrics", FREE))
    listening = under_test.start()
    assert set(listening) == {"otlp_grpc", "otlp_http", "health", "metrics"}
    for name in ("health", "metrics"):
        response = httpx.get(f"http://{listening[name]}/{name}", trust_env=False)
        assert response.text == f"/{name}"
    with grpc.insecure_channel(listening["otlp_grpc"]) as channel:
        channel.unary_unary(EXPORT)(b"", timeout=WAIT_S)
    assert httpx.get(f"http://{listening['otlp_http']}", trust_env=False).status_code == 404
    under_test.stop(1)
    for address in listening.values():
        host, port = address.split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))


def test_ipv6_and_names_are_endpoints() -> None:
    """Scenario: an IPv6 address in brackets and a host name.

    Guarantees: both listen, and the IPv6 address comes back in brackets.
    """
    protocols = OtlpProtocols(
        grpc=GrpcSettings(endpoint="[::1]:0"), http=HttpSettings(endpoint="localhost:0")
    )
    under_test = listeners(protocols, ("health", "[::1]:0"))
    listening = under_test.start()
    assert listening["otlp_grpc"].startswith("[::1]:")
    assert httpx.get(f"http://{listening['health']}/x", trust_env=False).text == "/x"
    assert httpx.get(f"http://{listening['otlp_http']}", trust_env=False).status_code == 404
    with grpc.insecure_channel(f"ipv6:{listening['otlp_grpc']}") as channel:
        channel.unary_unary(EXPORT)(b"", timeout=WAIT_S)
    under_test.stop(0)


@pytest.mark.parametrize("what", ["otlp_grpc", "otlp_http", "health"])
def test_a_port_in_use_is_named(taken: str, what: str) -> None:
    """Scenario: another process listens on a configured port.

    Guarantees: StartupError names what, where and why; what had been bound is free again.
    """
    protocols = OtlpProtocols(
        grpc=GrpcSettings(endpoint=taken if what == "otlp_grpc" else FREE),
        http=HttpSettings(endpoint=taken if what == "otlp_http" else FREE),
    )
    under_test = listeners(protocols, ("health", taken if what == "health" else FREE))
    with pytest.raises(StartupError, match=rf"{what} cannot listen on {taken}: .*in use"):
        under_test.start()
    assert not under_test._thread.is_alive()
    under_test.stop(0)


def test_two_sidecars_do_not_share_a_port() -> None:
    """Scenario: a second clearspan is started with the ports of the first.

    Guarantees: it fails (gRPC would by default share the port and take half of the requests).
    """
    first = start()
    second = listeners(OtlpProtocols(grpc=GrpcSettings(endpoint=first.grpc), http=None))
    with pytest.raises(StartupError, match="in use"):
        second.start()
    first.listeners.stop(0)


def test_an_address_of_another_host_is_named() -> None:
    """Scenario: an address and a name that this machine does not have.

    Guarantees: StartupError names them.
    """
    for endpoint in ("192.0.2.1:0", "no-such-host.invalid:0"):
        with pytest.raises(StartupError, match=f"health cannot listen on {endpoint}"):
            listeners(NONE, ("health", endpoint)).start()


def test_stop_lets_begun_requests_finish() -> None:
    """Scenario: requests of both protocols are worked on when the listeners are stopped.

    Guarantees: no new connection is taken, both get their answers, and then stop returns.
    """
    served = start()
    served.intake.gate.clear()
    with ThreadPoolExecutor(3) as pool, grpc.insecure_channel(served.grpc) as channel:
        by_grpc = channel.unary_unary(EXPORT).future(b"grpc", timeout=WAIT_S)
        by_http = pool.submit(
            httpx.post,
            f"http://{served.http}/v1/traces",
            content=b"http",
            headers={"content-type": "application/x-protobuf"},
            trust_env=False,
        )
        served.intake.wait_for_submit()
        served.intake.wait_for_submit()
        stopping = pool.submit(served.listeners.stop, WAIT_S)
        while True:  # until the listening socket is closed
            try:
                served.connect().close()
            except ConnectionError:
                break
        assert not stopping.done()
        served.intake.gate.set()
        assert by_grpc.result(WAIT_S) == b""
        assert by_http.result(WAIT_S).status_code == 200
        stopping.result(WAIT_S)


def test_stop_hangs_up_when_the_grace_is_over(caplog: pytest.LogCaptureFixture) -> None:
    """Scenario: a request of each protocol is never answered, another is never sent to its end.

    Guarantees: stop returns all the same, the clients see the end of their connections, and the
    log holds no traceback of it.
    """
    served = start()
    served.intake.gate.clear()
    head = b"POST /v1/traces HTTP/1.1\r\ncontent-type: application/x-protobuf\r\n"
    with (
        served.connect() as half_sent,
        served.connect() as stuck,
        grpc.insecure_channel(served.grpc) as channel,
    ):
        half_sent.sendall(head)
        stuck.sendall(head + b"content-length: 0\r\n\r\n")
        call = channel.unary_unary(EXPORT).future(b"stuck", timeout=WAIT_S)
        served.intake.wait_for_submit()
        served.intake.wait_for_submit()
        served.listeners.stop(0.05)
        assert half_sent.recv(100) == b""
        with contextlib.suppress(ConnectionResetError):
            assert stuck.recv(100) == b""
        assert call.exception(WAIT_S) is not None
    assert caplog.records == []
    served.intake.gate.set()


def test_a_second_stop_returns_at_once() -> None:
    """Scenario: stop is called again, while the first is waiting and after it, and before start.

    Guarantees: neither waits nor fails.
    """
    served = start()
    served.intake.gate.clear()
    with ThreadPoolExecutor(1) as pool, grpc.insecure_channel(served.grpc) as channel:
        call = channel.unary_unary(EXPORT).future(b"x", timeout=WAIT_S)
        served.intake.wait_for_submit()
        first = pool.submit(served.listeners.stop, WAIT_S)
        while True:  # until the first has begun
            try:
                served.connect().close()
            except ConnectionError:
                break
        served.listeners.stop(WAIT_S)
        assert not first.done()
        served.intake.gate.set()
        first.result(WAIT_S)
        call.result(WAIT_S)
    served.listeners.stop(WAIT_S)
    listeners(NONE).stop(WAIT_S)


def test_as_many_connections_as_the_system_allows() -> None:
    """Scenario: a soft limit of descriptors below the hard one, as containers often have it.

    Guarantees: the soft limit is the hard one then; at 1,024 a thousand slow clients kept all
    others from connecting.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        allow_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
