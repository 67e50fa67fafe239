"""Erasure: nothing is left of what was asked for, and nothing else is touched."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from storage.erasure import Condition
from storage.erasure import find as find_spans
from storage.live_data import LiveData
from storage.live_erasure import ask
from tests.e2e.leak_search import find
from tests.e2e.otlp_client import NUMBERED_SQL, GrpcClient, Load

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.sidecar import Sidecar

KEY = "processors.redaction.hmac_key=a key of the tests, 32 bytes long"
TAIL = (
    "service.pipelines.traces.processors=[redaction, tail_sampling]",
    "processors.tail_sampling.policies=[{name: all, type: always_sample}]",
    "processors.tail_sampling.decision_wait=1h",
)
HOUR_NS = 3_600_000_000_000
START_NS = 1_790_000_000 * 1_000_000_000
FACTS = """
    SELECT count(*) AS spans, count(DISTINCT trace_id) AS traces, sum(duration_ns)::BIGINT AS ns,
           (SELECT count(*) FROM span_events
            WHERE trace_id NOT LIKE '%03' AND trace_id NOT LIKE '%0d') AS events,
           bit_xor(hash(span_id, name, attributes::VARCHAR))::VARCHAR AS sums
    FROM spans
"""
LEFT = f"{FACTS} WHERE attributes['number'] NOT IN ('3', '13')"


def traces(first: int, count: int) -> bytes:
    """Return traces of three spans, numbered, a user each, an event each, a link to the next."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    request.resource_spans[0].resource.attributes.add(key="service.name").value.string_value = "s"
    for number in range(first, first + count):
        for part in range(3):
            start = START_NS + number % 3 * HOUR_NS + number
            span = scope.spans.add(
                trace_id=trace_id(number),
                span_id=bytes([1, part, *number.to_bytes(6, "big")]),
                name=f"part {part}",
                start_time_unix_nano=start,
                end_time_unix_nano=start + 1000 + number,
            )
            span.attributes.add(key="number").value.string_value = str(number)
            if part == 1:
                span.attributes.add(key="user.email").value.string_value = user(number)
                span.attributes.add(key="note").value.string_value = f"asked by unique{number}x"
            span.events.add(time_unix_nano=start, name=f"event of unique{number}x")
            span.links.add(trace_id=trace_id(number + 1), span_id=bytes([2] * 8))
    return request.SerializeToString()


def trace_id(number: int) -> bytes:
    """Return the id of a numbered trace."""
    return bytes([7] * 8) + number.to_bytes(8, "big")


def user(number: int) -> str:
    """Return the user of a numbered trace; every tenth is the same."""
    return f"user.{number % 10}@example.com"


def filled(sidecar: Callable[..., Sidecar]) -> Sidecar:
    """Return a stopped sidecar with ten traces in its lake and ten in its journal."""
    first = sidecar(KEY)
    with GrpcClient(first.grpc_endpoint) as client:
        assert client.export(traces(0, 10)).ok
    first.query_until("SELECT 1 FROM spans", rows=30)
    assert first.sigterm() == 0
    second = sidecar(KEY, *TAIL)
    with GrpcClient(second.grpc_endpoint) as client:
        assert client.export(traces(10, 10)).ok
    assert second.sigterm() == 0
    return second


def test_a_user_is_erased_from_lake_and_journal(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: a user with a trace in the lake and one in the journal, stored as a token.

    Guarantees: first only foretold; then no byte of the traces is anywhere, links to them are
    empty, the receipt holds no value; all other rows are the same, also those of the journal.
    """
    stopped = filled(sidecar)
    before = stopped.query(LEFT)
    told = stopped.command("erase", "--user", "User.3@example.com")
    assert (told.returncode, "2 traces, 6 rows in " in told.stdout) == (0, True), told
    assert find("unique3x", stopped.data_dir, {})
    done = stopped.command("erase", "--user", "User.3@example.com", "--no-grace", "--yes")
    assert (done.returncode, done.stderr) == (0, ""), done
    receipt: dict[str, Any] = json.loads(done.stdout)
    assert "3@example" not in done.stdout
    assert (receipt["spans"], receipt["events"], receipt["journalled_spans"]) == (3, 3, 3)
    assert (receipt["traces"], receipt["still_found"], receipt["hits"]) == (2, 0, [])
    for gone in ("unique3x", "unique13x", trace_id(3).hex(), trace_id(13).hex()):
        assert find(gone, stopped.data_dir, {}) == []
    assert stopped.query(FACTS) == before
    assert find("unique14x", stopped.data_dir, {})
    again = stopped.command("erase", "--user", "User.3@example.com", "--yes", "--no-grace")
    assert json.loads(again.stdout)["traces"] == 0
    restarted = sidecar(KEY)
    rows = restarted.query_until("SELECT attributes['number'] AS n FROM spans", rows=54)
    assert sorted({row["n"] for row in rows}, key=int) == [
        str(number) for number in range(20) if number not in {3, 13}
    ]
    assert len(rows) == 54


def test_spans_are_erased_by_sql_and_by_trace(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: spans by a condition, then a trace by its id. Guarantees: those go and only those;
    what is wrong in the question is said, and exit codes tell.
    """  # noqa: D205 - the scenario needs two lines
    stopped = filled(sidecar)
    done = stopped.command("erase", "--where", "name = 'part 2'", "--yes", "--no-grace")
    assert done.returncode == 0, done
    counts = "SELECT name, count(*) AS n FROM spans GROUP BY ALL ORDER BY name"
    assert stopped.query(counts) == [{"name": "part 0", "n": 10}, {"name": "part 1", "n": 10}]
    events = stopped.query("SELECT count(*) AS n FROM span_events")
    assert events == [{"n": 20}]
    done = stopped.command("erase", "--trace-id", trace_id(5).hex(), "--yes", "--no-grace")
    assert done.returncode == 0, done
    assert find(trace_id(5).hex(), stopped.data_dir, {}) == []
    assert stopped.query("SELECT count(*) AS n FROM spans") == [{"n": 18}]
    for arguments, code, says in (
        ((), 2, "erase what?"),
        (("--trace-id", "xyz"), 2, "'xyz' is not 32 hexadecimal digits"),
        (("--where", "no_such_column = 1"), 1, "no_such_column"),
        (("--where", "name ="), 1, "syntax error"),
    ):
        refused = stopped.command("erase", *arguments)
        assert (refused.returncode, says in refused.stderr) == (code, True), refused


LIVE = (
    KEY,
    "service.pipelines.traces.processors=[redaction, tail_sampling]",
    "processors.tail_sampling.policies=[{name: all, type: always_sample}]",
    "processors.tail_sampling.decision_wait=8s",
    "exporters.lake.flush_interval=200ms",
    "exporters.lake.retention.max_age=0",
    "exporters.lake.compaction.interval=300ms",
    "exporters.lake.compaction.min_files=2",
)
NOT_LOAD = "attributes['number'] IS NOT NULL"


def await_that(holds: Callable[[], bool]) -> None:
    """Return when it is so; what is waited for takes seconds."""
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.05)


def test_a_user_is_erased_while_the_sidecar_works(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: ten traces in the lake, ten that wait for their sampling decision, and others
    coming all the time; a user of both is erased, then another one whose sidecar is killed.

    Guarantees: no byte of the user is left, in files, journal or memory; all else is stored, once;
    the receipt counts what went where; a killed sidecar goes on with it at its next start.
    """  # noqa: D205 - the scenario needs two lines
    running = sidecar(*LIVE)
    with GrpcClient(running.grpc_endpoint) as client:
        assert client.export(traces(0, 10)).ok
        running.query_until(f"SELECT 1 FROM spans WHERE {NOT_LOAD}", rows=30)
        with Load(running.grpc_endpoint) as load:
            load.await_that(lambda ledger: len(ledger.acked) > 500)
            assert client.export(traces(10, 10)).ok
            told = running.command("erase", "--user", "user.3@example.com")
            assert told.stdout.startswith("2 traces, "), told.stdout
            done = running.command("erase", "--user", "user.3@example.com", "--yes", "--no-grace")
            assert (done.returncode, done.stderr) == (0, ""), done
            receipt: dict[str, Any] = json.loads(done.stdout)
            assert (receipt["problems"], receipt["traces"]) == ([], 2)
            # on a slow machine the sampler has decided before the erasure
            assert receipt["spans"] == receipt["events"] in {3, 6}
            assert receipt["rows_that_stay"] > 0
            for gone in ("unique3x", "unique13x", trace_id(3).hex(), trace_id(13).hex()):
                assert find(gone, running.data_dir, {}) == []
            acked = len(load.ledger.acked)
            load.await_that(lambda ledger: len(ledger.acked) > acked)
    await_that(lambda: running.metric("clearspan_spans_pending") == 0)
    rows = running.query_until(
        f"SELECT attributes['number'] AS n, span_id FROM spans WHERE {NOT_LOAD}", rows=54
    )
    assert {row["n"] for row in rows} == {str(n) for n in range(20) if n not in {3, 13}}
    assert len({row["span_id"] for row in rows}) == len(rows) == 54
    dropped = running.metric("clearspan_spans_dropped_total", reason="erased")
    assert dropped + receipt["spans"] == 6
    verdict = load.ledger.compare(running.query(NUMBERED_SQL))
    assert (verdict.lost, verdict.twice, verdict.phantom) == (0, 0, 0)
    assert "unique13x" not in running.log
    condition = Condition(trace_ids=(trace_id(4),), whole_traces=True)
    erased = find_spans([LiveData(running.data_dir)], condition)
    answer = ask(running.data_dir, erased, no_grace=True)
    running.sigkill()
    running.start()
    await_that(answer.exists)
    assert json.loads(answer.read_text())["problems"] == []
    assert find(trace_id(4).hex(), running.data_dir, {}) == []
    assert running.query(f"SELECT count(*) AS n FROM spans WHERE {NOT_LOAD}") == [{"n": 51}]
    assert running.sigterm() == 0


def test_a_request_that_is_none(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: a request nobody can read. Guarantees: it is answered and does no harm."""
    running = sidecar(KEY)
    directory = running.data_dir / "erase"
    directory.mkdir()
    (directory / "bad.arrow").write_bytes(b"no such thing")
    answer = directory / "bad.json"
    await_that(answer.exists)
    assert "cannot be read" in json.loads(answer.read_text())["problems"][0]
    assert not (directory / "bad.arrow").exists()
    assert running.sigterm() == 0
