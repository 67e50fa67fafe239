"""Bad input gets the exact error; the process lives and requests beside it are stored."""

from __future__ import annotations

import gzip
import socket
import subprocess
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.otlp_client import (
    NUMBERED_SQL,
    GrpcClient,
    Load,
    Reply,
    numbered_spans,
    post,
)
from tests.e2e.sidecar import COMMAND, HTTP_OK, Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MALFORMED = b"\x0a\xff\xff\xff\xff\x0f truncated"
CONFIG_ERROR = 2
TOO_LARGE = 413


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
    shared_cache: Path,
) -> Iterator[Sidecar]:
    """Give one sidecar to all of this module: each test must leave it well for the next."""
    with Sidecar(tmp_path_factory.mktemp("bad-input"), cache_dir=shared_cache) as sidecar:
        yield sidecar
        assert sidecar.sigterm() == 0, sidecar.log[-4000:]


@pytest.fixture
def neighbours(running: Sidecar) -> Iterator[Load]:
    """Send good batches during the test; afterwards all were accepted and are stored once."""
    with Load(running.grpc_endpoint, clients=1, batch=5) as load:
        load.await_that(lambda ledger: bool(ledger.acked))
        yield load
        seen = len(load.ledger.acked)
        load.await_that(lambda ledger: len(ledger.acked) > seen)
    assert running.health("/live") == HTTP_OK
    assert not load.ledger.refusals
    own = f"FROM ({NUMBERED_SQL}) WHERE starts_with(client, '{load.name}')"
    verdict = load.ledger.compare(running.query_until(own, rows=len(load.ledger.acked)))
    assert (verdict.lost, verdict.twice, verdict.phantom) == (0, 0, 0), verdict


def _by_grpc(running: Sidecar, payload: bytes) -> Reply:
    with GrpcClient(running.grpc_endpoint) as client:
        return client.export(payload)


@pytest.mark.usefixtures("neighbours")
def test_malformed_protobuf(running: Sidecar) -> None:
    """Scenario: bytes that are no message. Guarantees: INVALID_ARGUMENT, 400; never retryable."""
    assert _by_grpc(running, MALFORMED).code is grpc.StatusCode.INVALID_ARGUMENT
    assert post(running.http_endpoint, MALFORMED).code == 400


@pytest.mark.usefixtures("neighbours")
def test_broken_compression(running: Sidecar) -> None:
    """Scenario: gzip cut short, no gzip at all, a coding nobody knows. Guarantees: 400, 400, 415.

    The whole body, sent right, is accepted: it was the damage that was refused.
    """
    whole = gzip.compress(numbered_spans("gzip", 0, 100))
    for damaged in (whole[: len(whole) // 2], b"no gzip at all"):
        assert post(running.http_endpoint, damaged, content_encoding="gzip").code == 400
    assert post(running.http_endpoint, whole, content_encoding="br").code == 415
    assert post(running.http_endpoint, whole, content_encoding="gzip").ok


@pytest.mark.usefixtures("neighbours")
def test_message_of_64_mb(running: Sidecar) -> None:
    """Scenario: 64 MB as they are, and as a gzip bomb of some kB. Guarantees: refused at the limit.

    RESOURCE_EXHAUSTED without RetryInfo (sending it again cannot help), 413.
    """
    payload = numbered_spans("large", 0, 1, filler="x" * 64 * 2**20)
    with GrpcClient(running.grpc_endpoint) as client:
        for compression in (None, grpc.Compression.Gzip):
            reply = client.export(payload, compression=compression)
            assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reply.retry_delay_s is None
    assert post(running.http_endpoint, payload).code == TOO_LARGE
    bomb = gzip.compress(payload)
    assert post(running.http_endpoint, bomb, content_encoding="gzip").code == TOO_LARGE


@pytest.mark.usefixtures("neighbours")
def test_millions_of_empty_spans(running: Sidecar) -> None:
    """Scenario: 4 MB of spans of two bytes each, which parsing would make a third of a GB of.

    Guarantees: refused by their number before they are decoded; memory stays where it was.
    """
    spans = b"\x12\x00" * 2_000_000
    payload = _field(1, _field(2, spans))
    before = running.metric("otelcol_process_memory_rss_bytes")
    assert _by_grpc(running, payload).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert post(running.http_endpoint, payload).code == TOO_LARGE
    assert running.metric("otelcol_process_memory_rss_bytes") - before < 100_000_000


@pytest.mark.usefixtures("neighbours")
def test_spans_with_bad_ids_are_rejected_alone(running: Sidecar) -> None:
    """Scenario: zero ids, short ids and no ids among good spans, by gRPC and by HTTP.

    Guarantees: a partial success with their number; the good spans are stored, they are not.
    """
    good = 4
    for send in (_by_grpc, lambda it, payload: post(it.http_endpoint, payload)):
        request = ExportTraceServiceRequest.FromString(numbered_spans("ids", 0, good))
        spans = request.resource_spans[0].scope_spans[0].spans
        bad = (b"\0" * 16, b"\1" * 8), (b"\1" * 16, b"\0" * 8), (b"\1" * 15, b"\1" * 8), (b"", b"")
        for trace_id, span_id in bad:
            spans.add(trace_id=trace_id, span_id=span_id, name="bad id")
        reply = send(running, request.SerializeToString())
        assert reply.ok
        assert reply.rejected == len(bad)
        assert reply.message
    sql = "SELECT * FROM spans WHERE attributes['client'] = 'ids'"
    assert len(running.query_until(sql, rows=2 * good)) == 2 * good
    assert running.query("SELECT * FROM spans WHERE name = 'bad id'") == []


@pytest.mark.usefixtures("neighbours")
def test_invalid_utf_8_is_kept_with_replacement_characters(running: Sidecar) -> None:
    """Scenario: a string that is no UTF-8. Guarantees: the span is kept, the damage shown."""
    payload = numbered_spans("utf8", 0, 1, broken="left-MARK-right").replace(
        b"MARK", b"\xff\xfe\xc3A"
    )
    assert _by_grpc(running, payload).ok
    sql = "SELECT attributes['broken'] AS broken FROM spans WHERE attributes['client'] = 'utf8'"
    (row,) = running.query_until(sql, rows=1)
    assert row["broken"].startswith("left-\N{REPLACEMENT CHARACTER}")
    assert row["broken"].endswith("A-right")


@pytest.mark.usefixtures("neighbours")
def test_value_nested_1000_deep_loses_nobody_else(running: Sidecar) -> None:
    """Scenario: an array in an array, 1,000 times, in the first of five spans.

    Guarantees: the request is accepted and the other four are stored.
    """
    value = _field(1, b"deep")
    for _ in range(1000):
        value = _field(5, _field(1, value))  # AnyValue.array_value, ArrayValue.values
    request = ExportTraceServiceRequest.FromString(numbered_spans("deep", 0, 5))
    spans = request.resource_spans[0].scope_spans[0].spans
    deep = spans[0].SerializeToString() + _field(9, _field(1, b"nested") + _field(2, value))
    others = b"".join(_field(2, span.SerializeToString()) for span in spans[1:])
    payload = _field(1, _field(2, _field(2, deep) + others))
    assert _by_grpc(running, payload).ok
    sql = "SELECT * FROM spans WHERE attributes['client'] = 'deep' AND attributes['sequence'] > '0'"
    assert len(running.query_until(sql, rows=4)) == 4


@pytest.mark.usefixtures("neighbours")
def test_keys_that_collide_do_not_poison_the_lake(running: Sidecar) -> None:
    """Scenario: a key given twice, and two keys that redaction makes the same, on every map.

    DuckDB refuses a whole result with a map whose keys are not unique.
    Guarantees: the spans are stored, and all maps of all spans can be selected.
    """
    request = ExportTraceServiceRequest.FromString(numbered_spans("keys", 0, 1))
    resource_spans = request.resource_spans[0]
    span = resource_spans.scope_spans[0].spans[0]
    for attributes in (
        span.attributes,
        resource_spans.resource.attributes,
        resource_spans.scope_spans[0].scope.attributes,
        span.events.add(name="event").attributes,
        span.links.add(trace_id=b"\1" * 16, span_id=b"\1" * 8).attributes,
    ):
        for key in ("same", "same", "ann@example.com", "bob@example.com"):
            attributes.add(key=key).value.int_value = 1
    assert _by_grpc(running, request.SerializeToString()).ok
    where = "attributes['client'] = 'keys'"
    (row,) = running.query_until(f"SELECT * FROM spans WHERE {where}", rows=1)
    assert "same" in row["attributes"]
    assert "example.com" not in str(row)
    (event,) = running.query("SELECT * FROM span_events WHERE name = 'event'")
    assert "same" in event["attributes"]


@pytest.mark.parametrize(
    "setting",
    [
        "receivers.otlp.protocols.grpc.endpoint",
        "receivers.otlp.protocols.http.endpoint",
        "exporters.prometheus.endpoint",
        "extensions.health_check.endpoint",
    ],
)
def test_port_in_use(tmp_path: Path, shared_cache: Path, setting: str) -> None:
    """Scenario: somebody listens there. Guarantees: exit 2, one line that names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        sidecar = Sidecar(tmp_path, f"{setting}={endpoint}", cache_dir=shared_cache)
        assert endpoint in _one_line_of_refusal(sidecar)


def test_data_directory_that_cannot_be_made(tmp_path: Path, shared_cache: Path) -> None:
    """Scenario: the path leads through a file, which stops root as well.

    Guarantees: exit 2, one line that names the path.
    """
    (tmp_path / "file").touch()
    data_dir = tmp_path / "file" / "data"
    sidecar = Sidecar(tmp_path, data_dir=data_dir, cache_dir=shared_cache)
    assert str(data_dir) in _one_line_of_refusal(sidecar)


def test_config_with_a_typo(tmp_path: Path) -> None:
    """Scenario: a misspelt key. Guarantees: exit 2, one line: file, line, path, nearest key."""
    config = tmp_path / "clearspan.yaml"
    config.write_text("exporters:\n  lake:\n    paht: ./data\n")
    for verb in ("run", "validate"):
        done = subprocess.run(
            [str(COMMAND), verb, "--config", str(config)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == CONFIG_ERROR
        (line,) = (done.stdout + done.stderr).strip().splitlines()
        assert f"{config}:3" in line
        assert "exporters.lake.paht" in line
        assert "path" in line.replace("paht", "")


def _one_line_of_refusal(sidecar: Sidecar) -> str:
    """Start it, expect exit 2, and return the only line it wrote."""
    sidecar.start(await_ready=False)
    assert sidecar.wait() == CONFIG_ERROR
    (line,) = sidecar.log.strip().splitlines()
    return line


def _field(number: int, content: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
