"""How the lake does with ten million spans: written, merged, asked; beside SQLite and JSON lines.

Run: ``python -m tests.bench.lake_scale [--spans N] [--directory DIR]``; 10 M spans take some
twenty minutes and 15 GB. The spans are ten hours of a shop (``scale_spans``), given to the real
lake 8,190 a flush with a clock that runs as fast as they come, so that merges happen as in ten
hours. CPU is that of the process, all threads; query times are wall clock, the page cache warm.
Ends with 1 when a budget is missed.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import pyarrow as pa

from collector.model import schema as s
from config.exporters import LakeSettings, PromotedAttribute, RetentionSettings
from storage.environment import Environment
from storage.lake import Lake
from storage.sql import connect, run_query, run_statements
from tests.bench.scale_rivals import Rival, json_of, sqlite_of
from tests.bench.scale_spans import TENANTS, TRACE_SPANS, ShopSpans
from tests.storage.recording import RecordingTelemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Q = TypeVar("Q")

HOURS: Final = 10
TRACES_A_FLUSH: Final = 819
START_US: Final = 1_767_225_600_000_000  # 2026-01-01 00:00 UTC
HOUR_US: Final = 3_600_000_000
BUDGETS_MS: Final = {"trace": 30.0, "group_by": 150.0, "tenant": 100.0}
QUESTIONS: Final = {
    "trace": "all columns of one trace",
    "group_by": "`GROUP BY service_name, name`, p95, one hour",
    "tenant": "filter on a promoted column, all hours",
}


@dataclass(slots=True)
class Written:
    """What writing took, and traces to look up."""

    spans: int = 0
    flush_s: float = 0.0
    merge_s: float = 0.0
    files: int = 0
    size_bytes: int = 0
    trace_ids: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Times:
    """Wall clock of one question asked many times, ms."""

    p50: float
    p95: float

    def __str__(self) -> str:
        """Return both."""
        return f"{_ms(self.p50)} / {_ms(self.p95)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, ask, print; return 1 when the lake missed a budget."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--spans", type=int, default=10_000_000)
    parser.add_argument("--directory", type=Path, help="where to write; deleted afterwards")
    parser.add_argument("--json-spans", type=int, default=500_000)
    parser.add_argument("--only-lake", action="store_true", help="neither SQLite nor JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="lake-scale-") as directory:
        data = Path(directory) / "data"
        written = write_lake(data, options.spans)
        rows, missed = lake_rows(data, written)
        _print_table(rows)
        if not options.only_lake:
            kept = min(options.json_spans, written.spans)
            rows.append(rival_row(sqlite_of(data, Path(directory) / "spans.sqlite"), written))
            rows.append(rival_row(json_of(data, Path(directory) / "spans.json", kept), written))
            _print_table(rows)
    for question in missed:
        print(f"MISSED: {QUESTIONS[question]}: budget p95 {BUDGETS_MS[question]:.0f} ms")
    return 1 if missed else 0


def write_lake(data: Path, spans: int) -> Written:
    """Write about so many spans into a new lake, ten hours of them, and merge as time goes by."""
    clock = [START_US / 1e6]
    settings = LakeSettings(
        promote=(
            PromotedAttribute(key="tenant.id", column="tenant"),
            PromotedAttribute(key="app.retries", column="retries", type="int"),
        ),
        retention=RetentionSettings(max_age=0, max_bytes=0),
        unlink_grace=0,
        max_pending_bytes=2**40,
    )
    environment = Environment(now=lambda: clock[0], monotonic=lambda: clock[0])
    lake = Lake(data, settings, RecordingTelemetry(), _forget, environment=environment)
    made, written = ShopSpans(1, lake.source_id), Written()
    flushes = max(HOURS, spans // (TRACES_A_FLUSH * TRACE_SPANS))
    step_us = HOURS * HOUR_US / flushes
    for number in range(flushes):
        first_us = START_US + int(number * step_us)
        batch = made.batch(TRACES_A_FLUSH, first_us, first_us + int(step_us))
        clock[0] += step_us / 1e6
        written.trace_ids.append(batch.column(s.TRACE_ID)[number % len(batch)].as_py())
        written.spans += len(batch)
        written.flush_s += _cpu(lambda b=batch, n=number: _flush(lake, b, n + 1))
        written.merge_s += _cpu(lake.maintain)
        if sys.stderr.isatty() and number % 20 == 0:
            sys.stderr.write(f"\r{written.spans:,} spans written")
    clock[0] += HOUR_US / 1e6
    written.merge_s += _cpu(lake.maintain)
    entries = lake._files()
    written.files, written.size_bytes = len(entries), sum(entry.bytes for entry in entries)
    lake.close()
    pa.default_memory_pool().release_unused()
    return written


def lake_rows(data: Path, written: Written) -> tuple[list[list[str]], list[str]]:
    """Ask in one open session, and in a new one each time; return both rows and what was missed."""
    rng = np.random.default_rng(7)
    hours = START_US // HOUR_US + np.arange(HOURS)
    asked = {
        "trace": [f"FROM trace('{one.hex()}')" for one in _sample(rng, written.trace_ids, 100)],
        "group_by": [_group_by(int(hour)) for hour in [*hours, *hours]],
        "tenant": [
            "SELECT service_name, count(*), avg(duration_ns) FROM spans"
            f" WHERE tenant = 'tenant-{number:04}' GROUP BY 1"
            for number in rng.integers(0, TENANTS, 100)
        ],
    }
    with connect(data, is_session=True) as connection:
        for one in written.trace_ids[:: max(1, len(written.trace_ids) // (4 * HOURS))]:
            run_statements(connection, f"FROM trace('{one.hex()}')")  # every footer is read by then
        warm = {
            name: timed(lambda sql: run_statements(connection, sql), queries)
            for name, queries in asked.items()
        }
    new = {
        name: timed(lambda sql: run_query(data, sql), queries[:20])
        for name, queries in asked.items()
    }
    flush, merge = (t / written.spans * 1e6 for t in (written.flush_s, written.merge_s))
    size = f"{written.size_bytes / written.spans:.0f}"
    cpu = f"{flush:.1f} + {merge:.1f}"
    spans = f"{written.spans:,} in {written.files} files"
    rows = [
        ["**clearspan**, open session", spans, *map(str, warm.values()), size, cpu],
        ["clearspan, a new session each", spans, *map(str, new.values()), size, cpu],
    ]
    return rows, [name for name, budget in BUDGETS_MS.items() if warm[name].p95 > budget]


def rival_row(rival: Rival, written: Written) -> list[str]:
    """Ask another store the same questions, fewer times where it is slow."""
    rng = np.random.default_rng(7)
    few = 20 if rival.spans == written.spans else 3
    nanos = [(START_US + hour * HOUR_US) * 1000 for hour in range(HOURS)][:few]
    tenants = [f"tenant-{number:04}" for number in rng.integers(0, TENANTS, few)]
    times = (
        timed(rival.trace, _sample(rng, written.trace_ids, 5 * few)),
        timed(rival.group_by, nanos if few > len(nanos) else nanos[:1] * few),
        timed(rival.tenant, tenants),
    )
    size = f"{rival.size_bytes / rival.spans:.0f}"
    spans = f"{rival.spans:,}"
    return [rival.name, spans, *map(str, times), size, f"{rival.cpu_s / rival.spans * 1e6:.1f}"]


def timed(ask: Callable[[Q], object], questions: Iterable[Q]) -> Times:
    """Ask each once, after the first of them once more for warmth."""
    questions = list(questions)
    ask(questions[0])
    gc.collect()
    taken = []
    for question in questions:
        started = time.perf_counter()
        ask(question)
        taken.append((time.perf_counter() - started) * 1e3)
    return Times(float(np.percentile(taken, 50)), float(np.percentile(taken, 95)))


def _group_by(hour: int) -> str:
    start = f"to_timestamp({hour * 3600})"
    return (
        "SELECT service_name, name, count(*), quantile_disc(duration_ns, 0.95) FROM spans"
        f" WHERE start_time >= {start} AND start_time < {start} + INTERVAL 1 HOUR GROUP BY ALL"
    )


def _sample(rng: np.random.Generator, values: list[bytes], count: int) -> list[bytes]:
    return [values[place] for place in rng.integers(0, len(values), count)]


def _flush(lake: Lake, batch: object, seq: int) -> None:
    lake.append(batch, seq)
    assert lake.flush()


def _forget(_seq: int) -> None:
    """Take the place of the journal."""


def _cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _print_table(rows: list[list[str]]) -> None:
    head = [
        "",
        "spans",
        *(f"{text}, ms" for text in QUESTIONS.values()),
        "B a span",
        "CPU µs a span",
    ]
    print()
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    sys.exit(main())
