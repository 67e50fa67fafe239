"""What queries cost ingestion: time to acknowledge with and without hostile SQL beside it.

Run: ``python -m tests.bench.sql_beside_ingestion [--seconds S] [--rounds N]``. Each round starts a
sidecar twice: idle endpoint, then clients that send the hostile list and runaway queries for as
long as the open loop of 10,000 spans/s lasts. Printed is the p99 of each, and the ratio of their
medians over the rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
from rich.console import Console

from tests.bench.proc import machine
from tests.bench.receivers import free_endpoints, run_clearspan
from tests.bench.report import print_machine
from tests.bench.runs import measure, prepare, warm_up_s
from tests.sql.hostile_sql import HOSTILE

if TYPE_CHECKING:
    from tests.bench.runs import Run

RATIO_BUDGET: Final = 1.5
CLIENTS: Final = 2
TIMEOUT_S: Final = 2
_BEARER: Final = "of-the-benchmark.0123456789"
_PLACES: Final = {"{lake}": "/nowhere", "{secret}": "/etc/passwd", "{table}": "x.parquet"}
RUNAWAYS: Final = (
    "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000) b",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
    "SELECT levenshtein(repeat('ab', 200000), repeat('ba', 200000))",
    "SELECT list(range) FROM range(100000000)",
    "SELECT a.name, count(*) FROM spans a, spans b GROUP BY ALL",
    "SELECT service_name, name, count(*), max(duration_ns) FROM spans GROUP BY ALL",
)


def main(arguments: list[str]) -> int:
    """Measure, print, and return 1 when a span was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sql_beside_ingestion")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured window of each run")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    print_machine(console, machine())
    p99: dict[bool, list[float]] = {False: [], True: []}
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="clearspan-bench-") as name:
        for number in range(options.rounds):
            for hostile in (False, True):
                directory = Path(name) / f"{number}-{hostile}"
                outcomes: Counter[int] = Counter()
                run = _measure(directory, options.seconds, outcomes, hostile=hostile)
                p99[hostile].append(run.load.latency_p99_ms)
                problems += run.problems
                console.print(_line(run, outcomes, hostile=hostile))
    idle, busy = (statistics.median(p99[hostile]) for hostile in (False, True))
    mark = "ok" if busy <= RATIO_BUDGET * idle else "OVER"
    console.print(
        f"{mark} p99 ack, medians: idle {idle:.1f} ms, beside hostile SQL {busy:.1f} ms,"
        f" ratio {busy / idle:.2f} (budget {RATIO_BUDGET:g})"
    )
    for problem in problems:
        console.print(problem, style="bold red", markup=False)
    return 1 if problems else 0


def _measure(directory: Path, seconds: float, outcomes: Counter[int], *, hostile: bool) -> Run:
    (endpoint,) = free_endpoints(1)
    settings = (
        "extensions.sql.enabled=true",
        f"extensions.sql.endpoint={endpoint}",
        f"extensions.sql.token={_BEARER}",
        f"extensions.sql.timeout={TIMEOUT_S}s",
    )
    templates = prepare(directory.parent, "llm", "open")
    with run_clearspan(directory, settings) as receiver:
        # to the end of the load: measure() then waits until the sidecar has nothing to do
        until = time.monotonic() + warm_up_s(seconds) + seconds
        clients = [
            threading.Thread(target=_ask_until, args=(until, endpoint, number, outcomes))
            for number in range(CLIENTS if hostile else 0)
        ]
        for client in clients:
            client.start()
        run = measure(receiver, "llm", "open", templates, seconds)
        for client in clients:
            client.join()
        return run


def _ask_until(until: float, endpoint: str, number: int, outcomes: Counter[int]) -> None:
    """Send every second statement of the list over and over; count the statuses of the answers."""
    hostile = [_placed(sql) for sql, _ in HOSTILE.values()]
    statements = [*RUNAWAYS, *hostile][number::CLIENTS]
    headers = {"authorization": f"Bearer {_BEARER}", "content-type": "application/json"}
    with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
        for sql in itertools.cycle(statements):
            if time.monotonic() > until:
                return
            reply = client.post(f"http://{endpoint}/v1/sql", content=json.dumps({"sql": sql}))
            outcomes[reply.status_code] += 1


def _placed(sql: str) -> str:
    for name, path in _PLACES.items():
        sql = sql.replace(name, path)
    return sql


def _line(run: Run, outcomes: Counter[int], *, hostile: bool) -> str:
    what = "beside hostile SQL" if hostile else "idle endpoint"
    asked = f", queries by status {dict(sorted(outcomes.items()))}" if hostile else ""
    load = run.load
    return (
        f"{what}: ack p50 {load.latency_p50_ms:.1f}, p99 {load.latency_p99_ms:.1f}, max"
        f" {load.latency_max_ms:.0f} ms, {run.spans_per_s:,.0f} spans/s{asked}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
