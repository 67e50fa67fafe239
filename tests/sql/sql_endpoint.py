"""The SQL endpoint over a real socket with real query processes, without the rest of a sidecar."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from collector.metrics.telemetry import PrometheusTelemetry
from collector.receivers.serving import Listeners
from collector.remote_sql import sql_app
from config.extensions import SqlSettings
from config.settings import OtlpProtocols
from storage.query_processes import QueryProcesses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BEARER = "an-endpoints-token.0123456789"
ENDLESS = "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000) b"
WAIT_S = 30
MAX_ROWS = 1_000
"""Of the fixture ``limited``."""


@dataclass(frozen=True, slots=True)
class SqlEndpoint:
    """A running endpoint: ask it, and look at what belongs to it."""

    address: str
    telemetry: PrometheusTelemetry
    client: httpx.Client
    others: frozenset[int]

    @property
    def url(self) -> str:
        """Return where to post."""
        return f"http://{self.address}/v1/sql"

    def post(self, body: object, **headers: str) -> httpx.Response:
        """Send a request with the token; header names have underscores for hyphens."""
        named = {"authorization": f"Bearer {BEARER}"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(self.url, json=body, headers=named)

    def ask(self, sql: str, **headers: str) -> httpx.Response:
        """Send SQL."""
        return self.post({"sql": sql}, **headers)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Return a query's rows; fails when it is not answered."""
        reply = self.ask(sql)
        assert reply.status_code == 200, reply.text
        rows: list[dict[str, Any]] = reply.json()
        return rows

    def processes(self) -> set[int]:
        """Return the ids of its query processes."""
        return query_processes() - self.others

    def outcomes(self, outcome: str) -> float:
        """Return how many requests ended so."""
        labels = {"outcome": outcome}
        name = "clearspan_sql_requests_total"
        return self.telemetry.registry.get_sample_value(name, labels) or 0


@contextmanager
def serve(data: Path, **settings: Any) -> Iterator[SqlEndpoint]:
    """Serve the lake of a data directory; nothing of it is left afterwards."""
    sql = SqlSettings(enabled=True, endpoint="127.0.0.1:0", token=BEARER, **settings)
    telemetry = PrometheusTelemetry()
    queries = QueryProcesses(sql, data)
    listeners = Listeners(
        OtlpProtocols(grpc=None, http=None),
        {},
        telemetry,
        apps=[("sql", sql.endpoint, sql_app(sql, queries, telemetry))],
    )
    before = frozenset(query_processes())
    try:
        with httpx.Client(timeout=WAIT_S, trust_env=False) as client:
            yield SqlEndpoint(listeners.start()["sql"], telemetry, client, before)
    finally:
        listeners.stop(0)
        queries.close()
        assert query_processes() <= before


def query_processes(parent: int | None = None) -> set[int]:
    """Return the ids of the query processes of a process, by default this one."""
    found = set()
    for task in Path(f"/proc/{parent or os.getpid()}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread or a child has just ended
            for child in (task / "children").read_text(encoding="ascii").split():
                with suppress(FileNotFoundError, ProcessLookupError):
                    if b"storage.query_worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.add(int(child))
    return found


def await_that(holds: Callable[[], bool]) -> None:
    """Return when it holds; fail when it does not in time."""
    limit = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < limit
        threading.Event().wait(0.02)
