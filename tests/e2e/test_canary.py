"""No secret comes out anywhere: not in a file, a log line, a metric, a reply or an answer."""

from __future__ import annotations

import gzip
import json
import resource
import secrets
import threading
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.leak_search import find
from tests.e2e.otlp_client import LOGS, GrpcClient, Reply, post
from tests.e2e.planting import SHAPES, VARIANTS, Canary, fields_with_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.sidecar import Sidecar

RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
VIEWS = ("spans", "span_events", "logs", "traces", "feedback", "otel_traces")


@pytest.fixture
def control() -> str:
    """Give harmless text that has to be found wherever a secret could be."""
    return f"harmless {secrets.token_hex(4).translate(str.maketrans('0123456789', 'ghijklmnop'))}"


def test_planted_secret_is_nowhere(
    sidecar: Callable[..., Sidecar],
    tmp_path: Path,
    control: str,
) -> None:
    """Scenario: secrets in every string field, by gRPC and HTTP, and on every path that errs.

    Malformed, cut short, not UTF-8, wrong path and coding, storage that fails, SIGKILL while the
    spans are in the journal only, replay, a clean end, SQL over all of it.
    Guarantees: 0 hits in all files, logs, metrics, replies and answers. The same search finds
    harmless text from the same spans in the journal, in Parquet and in the answers, and the
    secrets in what was sent.
    """
    canary = Canary()
    running = sidecar("exporters.lake.flush_interval=1h", cache_dir=tmp_path / "cache")
    sent, texts = _send_planted(running, canary, control)
    assert canary.fields == fields_with_text(ExportTraceServiceRequest.DESCRIPTOR)
    logged, more = _send_planted_logs(running, canary, control)
    texts |= more
    assert canary.fields >= fields_with_text(ExportLogsServiceRequest.DESCRIPTOR)
    texts |= _send_bad(running, canary)
    texts |= _send_while_storage_fails(running, canary, control)
    texts |= _read_endpoints(running)
    assert running.metric("clearspan_redactions_total") > 0
    running.sigkill()
    journals = [where for where in find(control, tmp_path, {}) if ".wal" in where]
    assert {where.startswith("data/logs/journal/") for where in journals} == {True, False}
    assert find(canary.marker, tmp_path, texts) == []

    running.start()
    assert running.metric("clearspan_spans_replayed_total") >= sent
    assert running.metric("clearspan_log_records_replayed_total") == logged
    texts |= {f"restarted {name}": body for name, body in _read_endpoints(running).items()}
    assert running.sigterm() == 0, running.log[-4000:]
    answers = {view: json.dumps(running.query(f"FROM {view}")).encode() for view in VIEWS}
    places = find(control, tmp_path, answers)
    assert [where for where in places if ".parquet (values)" in where]
    assert {"spans", "logs"} <= set(places)
    assert len(running.query("SELECT 1 AS one FROM logs WHERE redaction_count > 0")) == logged
    assert len(running.query("SELECT 1 AS one FROM spans WHERE redaction_count > 0")) >= sent
    assert find(canary.marker, tmp_path, texts | answers) == []


def test_search_finds_what_is_there(tmp_path: Path, control: str) -> None:
    """Scenario: requests as they are sent, raw and compressed, in files and in memory.

    Guarantees: the search sees through them, in either case and in base64.
    """
    canary = Canary()
    for shape in SHAPES:
        (tmp_path / shape).write_bytes(canary.request(shape, control))
        packed = gzip.compress(canary.request(shape, control))
        (tmp_path / f"{shape}.gz").write_bytes(b"before" + packed + b"after")
    found = find(canary.marker, tmp_path, {"memory": canary.secret().encode()})
    assert {*SHAPES, *(f"{shape}.gz (gzip)" for shape in SHAPES), "memory"} <= set(found)
    assert find("notthere" + canary.marker, tmp_path, {}) == []


def _send_planted(running: Sidecar, canary: Canary, control: str) -> tuple[int, dict[str, bytes]]:
    replies: dict[str, Reply] = {}
    with GrpcClient(running.grpc_endpoint) as client:
        for shape in SHAPES:
            replies[f"grpc {shape}"] = client.export(canary.request(shape, control))
            payload = canary.request(shape, control)
            replies[f"http {shape}"] = post(running.http_endpoint, payload)
        broken = canary.request("email", control + " MARK").replace(b"MARK", b"\xff\xfe!!")
        replies["not UTF-8"] = client.export(broken)
    assert all(reply.ok for reply in replies.values()), replies
    return len(replies), {name: reply.raw for name, reply in replies.items()}


def _send_planted_logs(
    running: Sidecar, canary: Canary, control: str
) -> tuple[int, dict[str, bytes]]:
    """Send log records, good and refused; return how many are stored, and all that came back."""
    replies: list[Reply] = []
    with GrpcClient(running.grpc_endpoint, LOGS) as client:
        for shape in SHAPES:
            replies.append(client.export(canary.logs_request(shape, control)))
            replies.append(post(running.http_endpoint, canary.logs_request(shape, control), LOGS))
        broken = canary.logs_request("email", control + " MARK").replace(b"MARK", b"\xff\xfe!!")
        replies.append(client.export(broken))
        assert all(reply.ok for reply in replies), replies
        payload = canary.logs_request("email", "")
        refused = [
            client.export(payload[:-7]),
            post(running.http_endpoint, payload[:-7], LOGS),
            post(running.http_endpoint, payload, LOGS, content_encoding="gzip"),
        ]
    assert not any(reply.ok for reply in refused)
    texts = {f"logs {number}": reply.raw for number, reply in enumerate([*replies, *refused])}
    return len(replies) * len(VARIANTS), texts


def _send_bad(running: Sidecar, canary: Canary) -> dict[str, bytes]:
    """Send what is refused, with secrets in it and around it; return all that came back."""
    payload = canary.request("email", "")
    address = f"http://{running.http_endpoint}"
    with GrpcClient(running.grpc_endpoint) as client:
        replies = [
            client.export(payload[:-7]),
            client.export(b"\xff" + canary.secret().encode()),
            post(running.http_endpoint, payload[:-7]),
            post(running.http_endpoint, payload, content_encoding="gzip"),
            post(running.http_endpoint, gzip.compress(payload)[:-20], content_encoding="gzip"),
        ]
    assert not any(reply.ok for reply in replies)
    answers = [
        httpx.get(f"{address}/{canary.secret('payment_key')}"),
        httpx.post(f"{address}/v1/traces?token={canary.secret('payment_key')}", content=payload),
        httpx.post(f"{address}/v1/traces", headers={"content-type": canary.secret()}),
        httpx.post(f"{address}/v1/traces", headers={"content-encoding": canary.secret()}),
        httpx.get(running.metrics_url, params={"name[]": canary.secret()}),
        httpx.get(f"{running.health_url}/{canary.secret()}"),
    ]
    bodies = [answer.content + repr(answer.headers).encode() for answer in answers]
    bodies += [reply.raw for reply in replies]
    bodies.append(_call_unknown_method(running, canary))
    return {f"refusal {number}": body for number, body in enumerate(bodies)}


def _call_unknown_method(running: Sidecar, canary: Canary) -> bytes:
    with grpc.insecure_channel(running.grpc_endpoint) as channel:
        call = channel.unary_unary(f"/service/{canary.secret('payment_key')}")
        metadata = (("authorization", f"Bearer {canary.secret('payment_key')}"),)
        with pytest.raises(grpc.RpcError) as caught:
            call(canary.secret().encode(), metadata=metadata, timeout=10)
        return repr((caught.value.details(), caught.value.trailing_metadata())).encode()


def _send_while_storage_fails(
    running: Sidecar,
    canary: Canary,
    control: str,
) -> dict[str, bytes]:
    """Let every write to a file fail with EFBIG for a while; return the replies of that time."""
    soft, hard = resource.prlimit(running.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        payload = canary.request("email", control)
        with GrpcClient(running.grpc_endpoint) as client:
            by_grpc = client.export(payload)
        by_http = post(running.http_endpoint, payload)
    finally:
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert by_grpc.code in RETRYABLE
    assert by_http.code in {429, 503}
    pause = threading.Event()
    for _ in range(300):
        again = post(running.http_endpoint, payload)
        if again.ok:
            return {"failing grpc": by_grpc.raw, "failing http": by_http.raw, "again": again.raw}
        pause.wait(0.1)
    raise AssertionError(f"storage did not come back: {again.code}")


def _read_endpoints(running: Sidecar) -> dict[str, bytes]:
    return {
        "metrics": running.scrape().encode(),
        "openmetrics": running.scrape("application/openmetrics-text").encode(),
        "health": str(running.health("/ready")).encode(),
    }
