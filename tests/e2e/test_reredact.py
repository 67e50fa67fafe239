"""Rules get stricter: what is stored already follows, in the lake and in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.e2e.leak_search import find
from tests.e2e.otlp_client import LOGS, GrpcClient
from tests.e2e.planting import Canary

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.sidecar import Sidecar

KEY = "processors.redaction.hmac_key=a key of the tests, 32 bytes long"
LAX = "processors.redaction.entities=[CREDIT_CARD]"
TAIL = (
    "service.pipelines.traces.processors=[redaction, tail_sampling]",
    "processors.tail_sampling.policies=[{name: all, type: always_sample}]",
    "processors.tail_sampling.decision_wait=1h",
)
CONTROL = "nothing that anybody cuts"
FACTS = """
    SELECT hex(sum(hash(trace_id, span_id, start_time_unix_nano, duration_ns, kind, flags))::HUGEINT
               ::VARCHAR::BLOB) AS sums, count(*) AS spans, sum(len(links)) AS links,
           min(attributes['control']) AS control,
           (SELECT count(*) FROM span_events) AS events,
           (SELECT sum(event_idx) FROM span_events) AS numbers
    FROM spans
"""


def send(running: Sidecar, canary: Canary, requests: int) -> None:
    """Send spans with an e-mail address in every field."""
    with GrpcClient(running.grpc_endpoint) as client:
        for _ in range(requests):
            assert client.export(canary.request("email", CONTROL)).ok


def send_logs(running: Sidecar, canary: Canary, requests: int) -> None:
    """Send four log records a request with an e-mail address in every field."""
    with GrpcClient(running.grpc_endpoint, LOGS) as client:
        for _ in range(requests):
            assert client.export(canary.logs_request("email", CONTROL)).ok


def test_what_is_stored_follows_stricter_rules(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: e-mails in every field, stored while nobody looked for e-mails; in the lake, and
    in the journal for a sampling decision that has not been made.

    Guarantees: a dry run changes no byte; afterwards no file holds any of them; ids, times,
    counts, numbers of links and events are the same; doing it again has nothing to do.
    """  # noqa: D205 - the scenario needs two lines
    canary = Canary()
    first = sidecar(KEY, LAX)
    send(first, canary, 3)
    first.query_until("SELECT 1 FROM spans", rows=3)
    assert first.sigterm() == 0
    lax = sidecar(KEY, LAX, *TAIL)
    send(lax, canary, 2)
    assert lax.sigterm() == 0
    assert find(canary.marker, lax.data_dir, {})
    before = lax.query(FACTS)
    strict = sidecar_like(lax, KEY)
    files = contents(lax)
    dry = strict("reredact", "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "nothing was changed" in dry.stdout
    assert {name for name, data in contents(lax).items() if files.get(name) != data} <= STATE
    done = strict("reredact", "--no-grace")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 journalled rows were rewritten" in done.stdout
    assert find(canary.marker, lax.data_dir, {}) == []
    assert lax.query(FACTS) == before
    again = strict("reredact", "--no-grace")
    assert again.stdout.startswith("0 files with 0 rows were rewritten; 0 strings")


def test_journalled_spans_follow_stricter_rules_at_start(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: a sidecar killed with spans in its journal starts again with stricter rules.

    Guarantees: all spans come back, with nothing of the planted values in lake or metrics.
    """
    canary = Canary()
    lax = sidecar(KEY, LAX, *TAIL)
    send(lax, canary, 3)
    lax.sigkill()
    strict = sidecar(KEY)
    assert len(strict.query_until("SELECT 1 FROM spans", rows=3)) == 3
    assert strict.metric("clearspan_spans_replayed_total") == 3
    assert strict.sigterm() == 0
    assert find(canary.marker, strict.data_dir, {"metrics": b""}) == []


def test_log_records_follow_stricter_rules(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: e-mails in every field of log records, in the lake and in the journal.

    Guarantees: a dry run changes no byte; afterwards no file holds any of them, and every record
    is there with its type of body; a start redacts what is left in the journal.
    """
    canary = Canary()
    lax = sidecar(KEY, LAX)
    send_logs(lax, canary, 3)
    assert lax.sigterm() == 0
    killed = sidecar(KEY, LAX, "exporters.lake.flush_interval=1h")
    send_logs(killed, canary, 2)
    killed.sigkill()
    facts = "SELECT body_type, count(*) AS records FROM logs GROUP BY ALL ORDER BY ALL"
    before = killed.query(facts)
    strict = sidecar_like(killed, KEY)
    files = contents(killed)
    dry = strict("reredact", "--dry-run")
    assert "and 8 journalled rows would be rewritten" in dry.stdout, dry
    assert {name for name, data in contents(killed).items() if files.get(name) != data} <= STATE
    assert find(canary.marker, killed.data_dir, {})
    done = strict("reredact", "--no-grace")
    assert (done.returncode, done.stderr) == (0, "")
    assert "and 8 journalled rows were rewritten" in done.stdout
    assert find(canary.marker, killed.data_dir, {}) == []
    assert killed.query(facts) == before
    send_by = sidecar(KEY, LAX, "exporters.lake.flush_interval=1h")
    send_logs(send_by, canary, 1)
    send_by.sigkill()
    last = sidecar(KEY)
    assert last.metric("clearspan_log_records_replayed_total") == 12
    assert last.sigterm() == 0
    assert find(canary.marker, last.data_dir, {}) == []
    assert sum(row["records"] for row in last.query(facts)) == 24


def test_it_says_why_it_cannot(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: no key, a dry-run configuration, a running sidecar, no lake.

    Guarantees: exit code 2 and one line that names option or holder; nothing is written.
    """
    running = sidecar(KEY)
    refused = running.command("reredact")
    assert (refused.returncode, f"in use by process {running.pid}" in refused.stderr) == (2, True)
    running.sigkill()
    for wrong, says in (
        ("processors.redaction.hmac_key=null", "hmac_key is not set"),
        ("processors.redaction.dry_run={enabled: true, i_understand: true}", "dry_run is enabled"),
        (f"exporters.lake.path={running.root / 'nowhere'}", "there is no lake in"),
    ):
        refused = running.command("reredact", "--set", wrong)
        assert (refused.returncode, says in refused.stderr) == (2, True), refused.stderr
        assert refused.stderr.count("\n") == 1
    assert not (running.root / "nowhere").exists()


STATE = {
    f"{signal}{name}"
    for signal in ("", "logs/")
    for name in ("LOCK", "lake/_manifest.json", "lake/_manifest.copy.json")
}


def contents(running: Sidecar) -> dict[str, bytes]:
    """Return every file of the data directory."""
    files = [path for path in running.data_dir.rglob("*") if path.is_file()]
    return {str(path.relative_to(running.data_dir)): path.read_bytes() for path in files}


def sidecar_like(running: Sidecar, *overrides: str) -> Any:
    """Return what runs verbs on the sidecar's data with other options."""
    plain = "processors.redaction.entities=[EMAIL_ADDRESS, SECRET]"
    return lambda verb, *more: running.command(
        verb, *(part for item in (plain, *overrides) for part in ("--set", item)), *more
    )
