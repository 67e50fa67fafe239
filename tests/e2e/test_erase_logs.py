"""Erasure of log records: those of erased traces go with them, from files, journal and memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.e2e.leak_search import find
from tests.e2e.otlp_client import LOGS, NUMBERED_LOGS_SQL, GrpcClient, Load
from tests.e2e.test_erase import KEY, START_NS, trace_id, traces, user

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.sidecar import Sidecar

NOT_LOAD = "attributes['number'] IS NOT NULL"
BODIES = f"SELECT body FROM logs WHERE {NOT_LOAD} ORDER BY body"
LIVE = (
    KEY,
    "exporters.lake.flush_interval=200ms",
    "exporters.lake.retention.max_age=0",
    "exporters.lake.compaction.interval=300ms",
    "exporters.lake.compaction.min_files=2",
)


def log_records(first: int, count: int) -> bytes:
    """Return for each trace of ``traces`` three records, and one by its user without a trace."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for number in range(first, first + count):
        for part in range(4):
            record = scope.log_records.add(time_unix_nano=START_NS)
            record.body.string_value = f"line {part} of unique{number}x"
            record.attributes.add(key="number").value.string_value = str(number)
            if part < 3:
                record.trace_id = trace_id(number)
                record.span_id = bytes([1, part, *number.to_bytes(6, "big")])
            else:
                record.attributes.add(key="user.email").value.string_value = user(number)
    return request.SerializeToString()


def send(running: Sidecar, first: int, count: int) -> None:
    """Send traces and their log records."""
    with GrpcClient(running.grpc_endpoint) as client:
        assert client.export(traces(first, count)).ok
    with GrpcClient(running.grpc_endpoint, LOGS) as client:
        assert client.export(log_records(first, count)).ok


def filled(sidecar: Callable[..., Sidecar]) -> Sidecar:
    """Return a killed sidecar with ten traces' records in its lake and ten in its journal."""
    first = sidecar(KEY)
    send(first, 0, 10)
    assert first.sigterm() == 0
    second = sidecar(KEY, "exporters.lake.flush_interval=1h")
    send(second, 10, 10)
    second.sigkill()
    return second


def expected(*gone: int, parts: int = 4) -> list[str]:
    """Return the bodies that are left in the lake."""
    return sorted(
        f"line {part} of unique{number}x"
        for number in range(10)
        for part in range(4)
        if number not in gone or part >= parts
    )


def test_a_users_log_records_are_erased(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: a user with traces and log records in lake and journal, some without a trace.

    Guarantees: no byte of the traces and of the user's own records is in any file, also of
    ``logs``; all else is there, and the journal's rest comes back at the next start.
    """
    stopped = filled(sidecar)
    assert [where for where in find("unique3x", stopped.data_dir, {}) if "logs/lake" in where]
    assert [where for where in find("unique13x", stopped.data_dir, {}) if "logs/journal" in where]
    done = stopped.command("erase", "--user", "User.3@example.com", "--no-grace", "--yes")
    assert (done.returncode, done.stderr) == (0, ""), done
    receipt: dict[str, Any] = json.loads(done.stdout)
    assert (receipt["log_records"], receipt["journalled_log_records"]) == (4, 4)
    assert (receipt["spans"], receipt["journalled_spans"]) == (3, 3)
    assert (receipt["traces"], receipt["still_found"], receipt["hits"]) == (2, 0, [])
    for gone in ("unique3x", "unique13x", trace_id(3).hex(), trace_id(13).hex()):
        assert find(gone, stopped.data_dir, {}) == []
    assert [row["body"] for row in stopped.query(BODIES)] == expected(3)
    stopped.start()
    assert stopped.sigterm() == 0
    assert len(stopped.query(BODIES)) == 18 * 4


def test_log_records_of_single_spans_are_erased(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: a span by its name, and a whole trace by its id.

    Guarantees: of the span its own record goes, of the trace all of them; records without a trace
    stay.
    """
    stopped = filled(sidecar)
    where = "name = 'part 1' AND attributes['number'] = '2'"
    done = stopped.command("erase", "--where", where, "--no-grace", "--yes")
    assert (done.returncode, json.loads(done.stdout)["log_records"]) == (0, 1), done
    done = stopped.command("erase", "--trace-id", trace_id(5).hex(), "--no-grace", "--yes")
    assert (done.returncode, json.loads(done.stdout)["log_records"]) == (0, 3), done
    left = [body for body in expected(5, parts=3) if body != "line 1 of unique2x"]
    assert [row["body"] for row in stopped.query(BODIES)] == left


def test_log_records_are_erased_while_the_sidecar_works(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: log records keep coming while a user's are erased.

    Guarantees: no byte of the user's is left, all else is stored once, the receipt counts it.
    """
    running = sidecar(*LIVE)
    send(running, 0, 10)
    running.query_until(BODIES, rows=40)
    with Load(running.grpc_endpoint, LOGS) as load:
        load.await_that(lambda ledger: len(ledger.acked) > 500)
        done = running.command("erase", "--user", "user.3@example.com", "--yes", "--no-grace")
        assert (done.returncode, done.stderr) == (0, ""), done
        receipt: dict[str, Any] = json.loads(done.stdout)
        for gone in ("unique3x", trace_id(3).hex()):
            assert find(gone, running.data_dir, {}) == []
        acked = len(load.ledger.acked)
        load.await_that(lambda ledger: len(ledger.acked) > acked)
    assert (receipt["problems"], receipt["spans"], receipt["log_records"]) == ([], 3, 4)
    assert running.sigterm() == 0
    assert [row["body"] for row in running.query(BODIES)] == expected(3)
    verdict = load.ledger.compare(running.query(NUMBERED_LOGS_SQL))
    assert (verdict.lost, verdict.twice, verdict.phantom) == (0, 0, 0)
