"""OTLP/HTTP with a real client: every status of the issue, its body and its headers."""

from __future__ import annotations

import asyncio
import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from collector.model import errors
from collector.model.contracts import Outcome
from collector.receivers.compression import PlainBody
from collector.receivers.otlp_http import OtlpHttp
from collector.receivers.timeouts import Timeouts
from tests.receivers.conftest import LIMIT, Served, start
from tests.receivers.fakes import WAIT_S, FakeTelemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
REQUEST = b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "checkout"}]}]}]}'
GZIP = {"content-encoding": "gzip"}


def post(
    served: Served,
    content: bytes | Iterator[bytes],
    headers: dict[str, str] | None = None,
    content_type: str = PROTOBUF,
) -> httpx.Response:
    """Send one request on a connection of its own."""
    return httpx.post(
        f"http://{served.http}/v1/traces",
        content=content,
        headers={"content-type": content_type, **(headers or {})},
        timeout=WAIT_S,
        trust_env=False,
    )


def status_of(response: httpx.Response) -> Status:
    """Return the Status in a protobuf error body."""
    assert response.headers["content-type"] == PROTOBUF
    return Status.FromString(response.content)


@pytest.mark.parametrize(
    "content_type",
    [PROTOBUF, "application/x-protobuf; charset=utf-8", "Application/X-Protobuf;v=1"],
)
def test_full_success_leaves_partial_success_unset(served: Served, content_type: str) -> None:
    """Scenario: a request that is taken whole, its media type with and without parameters.

    Guarantees: 200 with an empty protobuf response; the pipeline got exactly the bytes sent.
    """
    response = post(served, b"any bytes \x00\xff", content_type=content_type)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == PROTOBUF
    assert served.intake.received == [b"any bytes \x00\xff"]
    assert served.intake.transports == ["http"]
    assert served.telemetry.refused == {}


def test_partial_success_says_how_many_and_why(served: Served) -> None:
    """Scenario: some spans of a request are rejected.

    Guarantees: 200 with both fields of partial_success, and no error is counted.
    """
    served.intake.outcome = Outcome(3, "3 spans have no valid id")
    response = post(served, b"x")
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert response.status_code == 200
    assert (partial.rejected_spans, partial.error_message) == (3, "3 spans have no valid id")
    assert served.telemetry.refused == {}


ERRORS = [
    (errors.InvalidPayload("broken"), 400, 3, None, "invalid"),
    (errors.PayloadTooLarge("max_spans"), 413, 8, None, "too_large"),
    (errors.Overloaded("full", retry_after_s=2.5), 429, 8, "3", "overloaded"),
    (errors.Overloaded("full", retry_after_s=0.01), 429, 8, "1", "overloaded"),
    (errors.StorageUnavailable("disk"), 503, 14, "1", "storage"),
    (errors.RedactionUnavailable("rules"), 503, 14, "1", "redaction"),
    (errors.ShuttingDown("bye"), 503, 14, "1", "shutting_down"),
]


@pytest.mark.parametrize("when", ["admission", "later"])
@pytest.mark.parametrize(("error", "status", "code", "retry_after", "reason"), ERRORS)
def test_each_error_has_its_status(  # noqa: PLR0913, PLR0917 - a table of expectations
    served: Served,
    error: errors.ClearspanError,
    status: int,
    code: int,
    retry_after: str | None,
    reason: str,
    when: str,
) -> None:
    """Scenario: the pipeline refuses at once, or after the request was admitted.

    Guarantees: the status of the contract, Retry-After in whole seconds and RetryInfo if and only
    if trying again can help, a Status as body, counted.
    """
    if when == "admission":
        served.intake.refusal = error
    else:
        served.intake.outcome = error
    response = post(served, b"x")
    told = status_of(response)
    assert (response.status_code, told.code, told.message) == (status, code, str(error))
    assert response.headers.get("retry-after") == retry_after
    assert [detail.Is(RetryInfo.DESCRIPTOR) for detail in told.details] == [True] * bool(
        retry_after
    )
    assert served.telemetry.refused == {("otlp_http", reason): 1}


def test_an_unforeseen_error_tells_nothing(served: Served) -> None:
    """Scenario: a fault in the pipeline whose text holds a value.

    Guarantees: 500 with a fixed text, counted, and the next request is served.
    """
    served.intake.outcome = ValueError("alice@example.com")
    response = post(served, b"x")
    assert response.status_code == 500
    assert status_of(response).message == "internal error"
    assert served.telemetry.refused == {("otlp_http", "internal"): 1}
    served.intake.outcome = Outcome()
    assert post(served, b"next").status_code == 200


@pytest.mark.parametrize("path", ["/", "/v1/logs", "/v1/metrics", "/v1/traces/", "/v1/%74races2"])
def test_other_paths_are_not_found(served: Served, path: str) -> None:
    """Scenario: paths that are not served (yet).

    Guarantees: 404 with a Status, counted.
    """
    response = httpx.post(
        f"http://{served.http}{path}",
        content=b"x",
        headers={"content-type": PROTOBUF},
        trust_env=False,
    )
    assert response.status_code == 404
    assert status_of(response).message == "no such path"
    assert served.telemetry.refused == {("otlp_http", "not_found"): 1}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(served: Served, method: str) -> None:
    """Scenario: any method but POST, without a body.

    Guarantees: 405 that names POST, as text since nothing said protobuf, counted.
    """
    response = httpx.request(method, f"http://{served.http}/v1/traces", trust_env=False)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.headers["content-type"].startswith("text/plain")
    assert served.telemetry.refused == {("otlp_http", "method"): 1}


@pytest.mark.parametrize("content_type", ["application/jsonl", "text/plain", "", "x-protobuf"])
def test_other_media_types_are_unsupported(served: Served, content_type: str) -> None:
    """Scenario: what is neither protobuf nor JSON.

    Guarantees: 415 as text, counted; the pipeline sees nothing.
    """
    response = post(served, b"{}", content_type=content_type)
    assert response.status_code == 415
    assert response.headers["content-type"].startswith("text/plain")
    assert served.intake.received == []
    assert served.telemetry.refused == {("otlp_http", "media_type"): 1}


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip"])
def test_other_encodings_are_unsupported(served: Served, encoding: str) -> None:
    """Scenario: encodings that are not taken.

    Guarantees: 415 with a Status, counted; the pipeline sees nothing.
    """
    response = post(served, b"x", {"content-encoding": encoding})
    assert response.status_code == 415
    assert "gzip" in status_of(response).message
    assert served.intake.received == []
    assert served.telemetry.refused == {("otlp_http", "encoding"): 1}


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=utf-8"])
@pytest.mark.parametrize("how", ["plain", "gzip"])
def test_json_is_taken_and_answered_in_json(served: Served, content_type: str, how: str) -> None:
    """Scenario: a request in JSON that is taken whole, then one of which spans are rejected.

    Guarantees: the pipeline gets it as protobuf; 200 with ``{}``, then with ``partialSuccess``.
    """
    body = gzip.compress(REQUEST) if how == "gzip" else REQUEST
    headers = GZIP if how == "gzip" else {}
    response = post(served, body, headers, content_type)
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-type"] == JSON
    [payload] = served.intake.received
    request = ExportTraceServiceRequest.FromString(payload)
    assert request.resource_spans[0].scope_spans[0].spans[0].name == "checkout"
    assert served.intake.transports == ["http"]
    served.intake.outcome = Outcome(3, "3 spans have no valid id")
    partial = {"rejectedSpans": "3", "errorMessage": "3 spans have no valid id"}
    assert post(served, body, headers, content_type).json() == {"partialSuccess": partial}
    assert served.telemetry.refused == {}


@pytest.mark.parametrize(("error", "status", "code", "retry_after", "reason"), ERRORS)
def test_each_error_has_its_status_in_json(  # noqa: PLR0913, PLR0917 - a table of expectations
    served: Served,
    error: errors.ClearspanError,
    status: int,
    code: int,
    retry_after: str | None,
    reason: str,
) -> None:
    """Scenario: the pipeline refuses a request in JSON. Guarantees: as for protobuf, in JSON."""
    served.intake.refusal = error
    response = post(served, REQUEST, content_type=JSON)
    told = response.json()
    assert (response.status_code, told["code"], told["message"]) == (status, code, str(error))
    assert response.headers["content-type"] == JSON
    assert response.headers.get("retry-after") == retry_after
    types = [detail["@type"] for detail in told.get("details", [])]
    assert types == ["type.googleapis.com/google.rpc.RetryInfo"] * bool(retry_after)
    assert served.telemetry.refused == {("otlp_http", reason): 1}


def test_what_is_no_request_in_json_is_a_bad_request(served: Served) -> None:
    """Scenario: JSON with a wrong type, beside good requests on the same connection.

    Guarantees: 400 that names the place, counted; the good ones are taken.
    """
    bad = REQUEST.replace(b'"checkout"', b"5")
    with httpx.Client(base_url=f"http://{served.http}", trust_env=False) as client:
        answers = [
            client.post("/v1/traces", content=body, headers={"content-type": JSON})
            for body in (REQUEST, bad, b"{", REQUEST)
        ]
    assert [answer.status_code for answer in answers] == [200, 400, 400, 200]
    assert "`$.resourceSpans[0].scopeSpans[0].spans[0].name`" in answers[1].json()["message"]
    assert len(served.intake.received) == 2
    assert served.telemetry.refused == {("otlp_http", "invalid"): 2}


def test_json_that_waits_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: more JSON waits to be translated, one after the other, than may be held together.

    Guarantees: the one that goes over gets 429 with Retry-After, the others their answers, and the
    room is given back.
    """
    is_open, at_work = threading.Event(), []
    translate = served.intake.from_json

    def wait(text: bytes) -> bytes:
        at_work.append(1)
        assert is_open.wait(WAIT_S)
        assert at_work == [1]  # one at a time
        at_work.clear()
        return translate(text)

    monkeypatch.setattr(served.intake, "from_json", wait)
    body = REQUEST + b" " * (LIMIT - len(REQUEST))
    with ThreadPoolExecutor(5) as clients:
        answers = [clients.submit(post, served, body, content_type=JSON) for _ in range(5)]
        served.telemetry.wait_for("otlp_http", "overloaded")
        is_open.set()
        responses = [answer.result(WAIT_S) for answer in answers]
    assert sorted(response.status_code for response in responses) == [200] * 4 + [429]
    assert [one.headers.get("retry-after") for one in responses if one.is_error] == ["1"]
    assert post(served, body, content_type=JSON).status_code == 200


def in_pieces(content: bytes) -> Iterator[bytes]:
    """Give the content without its length, so that it is sent chunked."""
    for first in range(0, len(content), 1000):
        yield content[first : first + 1000]


@pytest.mark.parametrize("how", ["plain", "identity", "chunked", "gzip", "chunked gzip"])
@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
def test_takes_bodies_up_to_the_limit(served: Served, how: str, size: int) -> None:
    """Scenario: sizes up to the limit, with and without a length, plain and gzip.

    Guarantees: the pipeline gets the bytes unpacked.
    """
    content = b"x" * size
    body = gzip.compress(content) if "gzip" in how else content
    headers = GZIP if "gzip" in how else {"content-encoding": "identity"} if how[0] == "i" else {}
    response = post(served, in_pieces(body) if "chunked" in how else body, headers)
    assert response.status_code == 200
    assert served.intake.received == [content]


@pytest.mark.parametrize("how", ["plain", "chunked", "gzip", "chunked gzip"])
@pytest.mark.parametrize("size", [LIMIT + 1, 64 * 2**20])
def test_refuses_bodies_over_the_limit(served: Served, how: str, size: int) -> None:
    """Scenario: one byte more than the limit and 64 MB, with and without a length, plain and gzip.

    Guarantees: 413 without Retry-After, which the client gets although it is still sending;
    counted; the pipeline sees nothing.
    """
    content = b"x" * size
    body = gzip.compress(content, 1) if "gzip" in how else content
    headers = GZIP if "gzip" in how else {}
    response = post(served, in_pieces(body) if "chunked" in how else body, headers)
    assert response.status_code == 413
    assert status_of(response).code == 8
    assert "retry-after" not in response.headers
    assert served.intake.received == []
    assert served.telemetry.refused == {("otlp_http", "too_large"): 1}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not gzip",
        gzip.compress(b"x" * 999, mtime=0)[:-9],
        gzip.compress(b"one", mtime=0) + b"and more",
        gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0)[:-1],
    ],
)
def test_what_is_not_the_gzip_it_claims_is_a_bad_request(served: Served, body: bytes) -> None:
    """Scenario: an empty body, none at all, truncated gzip, gzip with rubbish behind it.

    Guarantees: 400 with a Status, counted; the pipeline sees nothing.
    """
    response = post(served, body, GZIP)
    assert response.status_code == 400
    assert "gzip" in status_of(response).message
    assert served.intake.received == []
    assert served.telemetry.refused == {("otlp_http", "invalid"): 1}


def test_gzip_of_several_members_is_taken(served: Served) -> None:
    """Scenario: members after each other, which is one gzip file, cut anywhere in transit.

    Guarantees: all of them are unpacked.
    """
    body = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two")
    response = post(served, (bytes([byte]) for byte in body), {"content-encoding": "GZIP"})
    assert response.status_code == 200
    assert served.intake.received == [b"onetwo"]


def test_a_connection_outlives_errors(served: Served) -> None:
    """Scenario: refused and accepted requests after each other with one keep-alive client.

    Guarantees: the body of a refused request is never taken for the next request.
    """
    with httpx.Client(base_url=f"http://{served.http}", trust_env=False) as client:
        headers = {"content-type": PROTOBUF}
        codes = [
            client.post(path, content=b"x" * size, headers=headers).status_code
            for path, size in [
                ("/v1/traces", 10),
                ("/v1/logs", 50_000),
                ("/v1/traces", LIMIT + 1),
                ("/v1/traces", LIMIT),
            ]
        ]
    assert codes == [200, 404, 413, 200]


def test_too_much_at_once_is_overload(served: Served) -> None:
    """Scenario: more half-received bytes than may be held together.

    Guarantees: the one that goes over gets 429 with Retry-After, and the held room is given back.
    """
    head = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\n"
    request = f"{head}content-length: {LIMIT}\r\n\r\n".encode() + b"x" * (LIMIT - 1)
    connections = [served.connect() for _ in range(5)]
    for connection in connections:
        connection.sendall(request)
    served.telemetry.wait_for("otlp_http", "overloaded")
    for connection in connections:
        connection.sendall(b"x")
    answers = [connection.recv(65536) for connection in connections]
    for connection in connections:
        connection.close()
    assert sum(b" 429 " in answer and b"retry-after: 1" in answer for answer in answers) == 1
    assert sum(b" 200 " in answer for answer in answers) == 4
    assert post(served, b"x" * LIMIT).status_code == 200


def test_stalled_bodies_give_way() -> None:
    """Scenario: five bodies that stop short of their end need all the room there is, and more.

    Guarantees: the oldest are told to come again, so that there is room for those that come later.
    """
    served = start(Timeouts(slow_s=0.0))
    head = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\n"
    request = f"{head}content-length: {LIMIT}\r\n\r\n".encode() + b"x" * (LIMIT - 1)
    connections = [served.connect() for _ in range(5)]
    for connection in connections:
        connection.sendall(request)
    served.telemetry.wait_for("otlp_http", "overloaded")  # four are left, and their room is taken
    assert post(served, b"y" * LIMIT).status_code == 200
    served.telemetry.wait_for("otlp_http", "overloaded", count=2)
    for connection in connections:
        connection.close()
    served.listeners.stop(0)


def test_many_requests_wait_at_once(served: Served) -> None:
    """Scenario: 50 requests are in the pipeline before any is answered.

    Guarantees: all were admitted and each gets its answer.
    """
    served.intake.gate.clear()
    with ThreadPoolExecutor(50) as clients:
        answers = [clients.submit(post, served, b"%d" % n) for n in range(50)]
        for _ in answers:
            served.intake.wait_for_submit()
        served.intake.gate.set()
        assert {answer.result(WAIT_S).status_code for answer in answers} == {200}
    assert sorted(map(int, served.intake.received)) == list(range(50))


def test_several_who_need_room_at_once() -> None:
    """Scenario: four stalled bodies hold all room while four whole ones come, each a moment later.

    Guarantees: all four are read, those too that need room while a body is just giving way.
    """

    async def read(app: OtlpHttp, moments: int, *, is_whole: bool) -> bytes:
        messages = [{"type": "http.request", "body": b"x" * LIMIT, "more_body": not is_whole}]

        async def receive() -> dict[str, object]:
            for _ in range(moments):
                await asyncio.sleep(0)
            while not messages:
                await asyncio.Event().wait()
            return messages.pop()

        return await app._read(PlainBody(LIMIT), receive)  # type: ignore[arg-type]

    async def run() -> list[bytes]:
        app = OtlpHttp({}, FakeTelemetry(), LIMIT, slow_s=0.0)
        stalled = [asyncio.create_task(read(app, 0, is_whole=False)) for _ in range(4)]
        await asyncio.sleep(0)
        whole = await asyncio.gather(*(read(app, moments, is_whole=True) for moments in range(4)))
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)
        return whole

    assert asyncio.run(run()) == [b"x" * LIMIT] * 4
