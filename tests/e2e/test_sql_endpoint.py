"""The SQL endpoint of a real sidecar: what was sent is found, and nothing of it hurts the rest."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.e2e.otlp_client import LOGS, Load, numbered_log_records, post
from tests.ports import hold_port
from tests.sql.hostile_sql import HOSTILE
from tests.sql.sql_endpoint import ENDLESS, WAIT_S, await_that, query_processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.sidecar import Sidecar

BEARER = "from-a-file.0123456789abcdef"
COUNT = "SELECT count(*) AS n FROM spans WHERE name = 'numbered'"


def test_spans_come_in_while_hostile_and_endless_queries_run(
    sidecar: Callable[..., Sidecar], tmp_path: Path
) -> None:
    """Scenario: clients send spans; another one sends the hostile list, beside an endless query.

    Guarantees: no span is refused, all are found by SQL over HTTP, and log records too; outcomes
    are counted; the token, which came from a file, is in no log and not in print-config; when the
    sidecar is killed no query process is left.
    """
    file = tmp_path / "token"
    file.write_text(f"{BEARER}\n", encoding="ascii")
    held = hold_port()
    port = held.getsockname()[1]
    running = sidecar(
        "extensions.sql.enabled=true",
        f"extensions.sql.endpoint=127.0.0.1:{port}",
        f"extensions.sql.token=${{file:{file}}}",
        "extensions.sql.timeout=3s",
        "exporters.lake.flush_interval=200ms",
    )
    url = f"http://127.0.0.1:{port}/v1/sql"
    headers = {"authorization": f"Bearer {BEARER}"}
    with held, httpx.Client(headers=headers, timeout=WAIT_S, trust_env=False) as client:

        def ask(sql: str) -> httpx.Response:
            return client.post(url, json={"sql": sql})

        with Load(running.grpc_endpoint) as load:
            endless = threading.Thread(target=ask, args=(ENDLESS,))
            endless.start()
            hostile = [sql for sql, _ in HOSTILE.values() if len(sql) < 500]
            assert {ask(sql).status_code for sql in hostile} == {400, 403}
            endless.join()
        assert not load.ledger.refusals
        acked = len(load.ledger.acked)
        assert acked > 1_000
        await_that(lambda: ask(COUNT).json() == [{"n": acked}])
        assert post(running.http_endpoint, numbered_log_records("a", 0, 7), LOGS).ok
        await_that(lambda: ask("SELECT count(*) AS n FROM logs").json() == [{"n": 7}])
        assert ask(f"FROM trace_logs('{'0' * 32}')").json() == []
        assert running.metric("clearspan_sql_requests_total", outcome="timeout") == 1
        assert running.metric("clearspan_sql_requests_total", outcome="refused") > 60
        assert BEARER not in running.command("print-config").stdout + running.log
        with ThreadPoolExecutor(1) as background:
            asked = background.submit(ask, ENDLESS)
            processes = query_processes(running.pid)
            running.sigkill()
            assert isinstance(asked.exception(WAIT_S), httpx.HTTPError)
        assert processes
        await_that(lambda: not any(map(_is_running, processes)))


def _is_running(pid: int) -> bool:
    """Return whether a process of that id is there, of which something is left to run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
