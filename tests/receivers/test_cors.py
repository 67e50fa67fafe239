"""Cross-origin requests to OTLP/HTTP: what a browser is told, by real answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from collector.model import errors
from collector.receivers.answers import LOGS, TRACES
from collector.receivers.timeouts import Timeouts
from config.settings import CorsSettings
from tests.receivers.conftest import LIMIT, Served, start
from tests.receivers.fakes import WAIT_S

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

SHOP = "https://shop.example.com"
PREVIEW = "https://pr-17.preview.example.com"
OTHER = "https://evil.example.org"
CORS = CorsSettings(
    allowed_origins=(SHOP, "https://*.preview.example.com"),
    allowed_headers=("X-Tenant",),
    max_age=7200,
)
JSON = {"content-type": "application/json"}
REQUEST = b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "click"}]}]}]}'
ASKING = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,x-tenant",
}
HEADERS = "accept, accept-language, content-language, content-encoding, content-type"


@pytest.fixture(scope="module")
def _for_pages() -> Iterator[Served]:
    served = start(cors=CORS, services=(TRACES, LOGS))
    yield served
    served.intake.gate.set()
    served.listeners.stop(1)


@pytest.fixture
def for_pages(_for_pages: Served) -> Served:
    """Running listeners for both signals that pages of some origins may send to, empty fakes."""
    _for_pages.intake.reset()
    _for_pages.telemetry.reset()
    return _for_pages


def ask(
    served: Served,
    method: str,
    path: str = "/v1/traces",
    content: bytes = b"",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Send one request on a connection of its own."""
    return httpx.request(
        method,
        f"http://{served.http}{path}",
        content=content,
        headers=headers,
        timeout=WAIT_S,
        trust_env=False,
    )


def told(response: httpx.Response) -> dict[str, str]:
    """Return what an answer tells a browser about origins."""
    return {
        name: value
        for name, value in response.headers.items()
        if name.startswith("access-control-") or name == "vary"
    }


def told_raw(answer: bytes) -> dict[str, str]:
    """Return the same of an answer as it came from a socket."""
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return told(httpx.Response(200, headers=[tuple(line.split(": ", 1)) for line in lines]))


def answer_for(origin: str | None) -> dict[str, str]:
    """Return what every answer to an origin's request has to tell."""
    if origin not in {SHOP, PREVIEW}:
        return {"vary": "origin"}
    credentials = {"access-control-allow-credentials": "true"} if origin == SHOP else {}
    return {
        "access-control-allow-origin": origin,
        **credentials,
        "access-control-expose-headers": "retry-after",
        "vary": "origin",
    }


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
@pytest.mark.parametrize("origin", [SHOP, PREVIEW])
def test_a_preflight_of_an_allowed_origin(for_pages: Served, path: str, origin: str) -> None:
    """Scenario: a browser asks, without credentials, before its page sends JSON.

    Guarantees: 204 without a body that allows the origin, POST and the headers, for as long as
    configured; nothing reaches the pipeline and nothing is counted.
    """
    response = ask(for_pages, "OPTIONS", path, headers={"origin": origin, **ASKING})
    assert (response.status_code, response.content) == (204, b"")
    assert "content-length" not in response.headers
    assert "transfer-encoding" not in response.headers
    expected = {
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": f"{HEADERS}, x-tenant",
        "access-control-max-age": "7200",
        "vary": "origin, access-control-request-method, access-control-request-headers",
    }
    allowed = answer_for(origin)
    del allowed["access-control-expose-headers"]  # a page cannot read the answer to a preflight
    assert told(response) == allowed | expected
    assert for_pages.intake.received == []
    assert for_pages.telemetry.refused == {}


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        "",
        "http://shop.example.com",
        f"{SHOP}:8443",
        f"{SHOP}.evil.example.org",
        "https://preview.example.com",
        "https://evil.example.org/.preview.example.com",
    ],
)
def test_a_preflight_of_another_origin(for_pages: Served, origin: str) -> None:
    """Scenario: a page that may not send, some almost of an allowed origin.

    Guarantees: 403 that allows nothing and says which option decides, counted.
    """
    response = ask(for_pages, "OPTIONS", headers={"origin": origin, **ASKING})
    assert response.status_code == 403
    assert told(response) == {
        "vary": "origin, access-control-request-method, access-control-request-headers"
    }
    assert "cors.allowed_origins" in response.text
    assert for_pages.telemetry.refused == {("otlp_http", "origin"): 1}


def test_a_page_sends(for_pages: Served) -> None:
    """Scenario: preflight and request on one connection, as a browser sends them.

    Guarantees: the request is taken and its answer is for the page.
    """
    with httpx.Client(base_url=f"http://{for_pages.http}", trust_env=False) as client:
        client.options("/v1/traces", headers={"origin": SHOP, **ASKING})
        response = client.post("/v1/traces", content=REQUEST, headers={"origin": SHOP, **JSON})
    assert (response.status_code, response.json()) == (200, {})
    assert told(response) == answer_for(SHOP)
    assert len(for_pages.intake.received) == 1


ANSWERS = [
    (200, "POST", "/v1/traces", REQUEST, {}),
    (400, "POST", "/v1/traces", b"{", {}),
    (404, "POST", "/v1/metrics", b"", {}),
    (404, "OPTIONS", "/v1/metrics", b"", ASKING),
    (405, "GET", "/v1/traces", b"", {}),
    (405, "OPTIONS", "/v1/traces", b"", {}),
    (413, "POST", "/v1/traces", b" " * (LIMIT + 1), {}),
    (415, "POST", "/v1/traces", REQUEST, {"content-type": "text/plain"}),
    (415, "POST", "/v1/traces", REQUEST, {"content-encoding": "br"}),
]


@pytest.mark.parametrize("origin", [SHOP, PREVIEW, OTHER, None])
@pytest.mark.parametrize(("status", "method", "path", "content", "headers"), ANSWERS)
def test_every_answer_tells_it(  # noqa: PLR0913, PLR0917 - a table of expectations
    for_pages: Served,
    status: int,
    method: str,
    path: str,
    content: bytes,
    headers: dict[str, str],
    origin: str | None,
) -> None:
    """Scenario: requests that are taken and that are refused by their head or body.

    Guarantees: the same status for every origin; pages of allowed ones may read it, and only they.
    """
    of_page = {} if origin is None else {"origin": origin}
    response = ask(for_pages, method, path, content, {**JSON, **headers, **of_page})
    assert response.status_code == status
    assert told(response) == answer_for(origin)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (errors.Overloaded("full", retry_after_s=3), 429, "3"),
        (errors.StorageUnavailable("disk"), 503, "1"),
        (ValueError("unforeseen"), 500, None),
    ],
)
def test_an_exporter_learns_when_to_come_again(
    for_pages: Served, error: Exception, status: int, retry_after: str | None
) -> None:
    """Scenario: the pipeline cannot take a page's request.

    Guarantees: the page may read the status and, where there is one, Retry-After.
    """
    for_pages.intake.outcome = error
    response = ask(for_pages, "POST", content=REQUEST, headers={**JSON, "origin": SHOP})
    assert (response.status_code, response.headers.get("retry-after")) == (status, retry_after)
    assert told(response) == answer_for(SHOP)


def connect_and_send(served: Served, *pieces: bytes) -> socket.socket:
    """Return a plain connection with something sent."""
    connection = served.connect()
    for piece in pieces:
        connection.sendall(piece)
    return connection


def head(origin: str, more: bytes = b"") -> bytes:
    """Return the head of a page's request, without its end."""
    begin = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\norigin: " + origin.encode()
    return begin + b"\r\ncontent-type: application/json\r\n" + more


@pytest.mark.parametrize("origin", [SHOP, OTHER])
def test_too_much_at_once_tells_it(for_pages: Served, origin: str) -> None:
    """Scenario: more half-received bytes of pages than may be held together.

    Guarantees: the 429 that one gets is for its page, if that may send.
    """
    length = b"content-length: %d\r\n\r\n" % LIMIT
    begun = head(origin, length) + b" " * (LIMIT - 1)
    connections = [connect_and_send(for_pages, begun) for _ in range(5)]
    for_pages.telemetry.wait_for("otlp_http", "overloaded")
    for connection in connections:
        connection.sendall(b" ")
    answers = [connection.recv(65536) for connection in connections]
    for connection in connections:
        connection.close()
    [refused] = [answer for answer in answers if b" 429 " in answer]
    assert told_raw(refused) == answer_for(origin)


@pytest.mark.parametrize("origin", [SHOP, OTHER])
@pytest.mark.parametrize(
    ("more", "status"),
    [
        (b"", b"408"),
        (b"content-length: 9\r\n\r\n{", b"408"),
        (b"content-length: -1\r\n\r\n", b"400"),
        (b"x: " + b"y" * 70_000, b"431"),
    ],
)
def test_what_no_app_answers_tells_it(more: bytes, status: bytes, origin: str) -> None:
    """Scenario: requests that end in the head or body, are no HTTP or have an endless head.

    Guarantees: the connection's own errors are for the page too, if it may send.
    """
    served = start(Timeouts(head_s=0.2, body_s=0.2), cors=CORS)
    with connect_and_send(served, head(origin, more)) as connection:
        answer = connection.recv(65536)
    served.listeners.stop(0)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert told_raw(answer) == answer_for(origin)


def test_a_preflight_that_expects_ends_the_connection(for_pages: Served) -> None:
    """Scenario: OPTIONS with a body that is held back until it is asked for, as no browser sends.

    Guarantees: refused and hung up on, so that the next request is not taken for that body.
    """
    sent = head(SHOP, b"access-control-request-method: POST\r\nexpect: 100-continue\r\n")
    sent = sent.replace(b"POST /", b"OPTIONS /", 1) + b"content-length: 5\r\n\r\n"
    received = b""
    with connect_and_send(for_pages, sent) as connection:
        while piece := connection.recv(65536):
            received += piece
    assert received.startswith(b"HTTP/1.1 405 ")


def test_who_asks_for_no_origin_asks_in_vain(for_pages: Served) -> None:
    """Scenario: what looks like a preflight but names no origin.

    Guarantees: a method like others; it is not counted as a page's.
    """
    response = ask(for_pages, "OPTIONS", headers=ASKING)
    assert (response.status_code, told(response)) == (405, answer_for(None))
    assert for_pages.telemetry.refused == {("otlp_http", "method"): 1}


def test_without_origins_it_is_off(served: Served) -> None:
    """Scenario: the default settings, and a browser that asks and sends all the same.

    Guarantees: a preflight is a method like others, and no answer says anything of origins.
    """
    asked = ask(served, "OPTIONS", headers={"origin": SHOP, **ASKING})
    sent = ask(served, "POST", content=REQUEST, headers={"origin": SHOP, **JSON})
    assert (asked.status_code, sent.status_code) == (405, 200)
    assert told(asked) == told(sent) == {}
