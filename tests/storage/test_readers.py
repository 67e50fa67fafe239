"""Queries from another process while everything that changes the lake goes on."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Final

import pytest

from config.exporters import CompactionSettings, RetentionSettings
from storage.environment import Environment
from storage.erasure import Condition, find
from storage.rewrite import StoredData
from storage.sql import run_query
from tests.storage.batches import BASE_US, make_batch
from tests.storage.reader import Reader, queries
from tests.storage.recording import RecordingTelemetry
from tests.storage.store import Store, lake_settings

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.storage.reader"])
HOUR_US: Final = 3_600_000_000
NOW_S: Final = BASE_US / 1e6 + 60
# Longer than any query takes here, shorter than the work, so that files do go away.
GRACE_S: Final = 3.0
QUERIES: Final = 1000
# Half of the spans of the present hour; the other half is erased, the older hours expire.
LASTING: Final = f"duration_ns % 2 = 1 AND start_time_unix_nano >= {BASE_US}000"
ERASED: Final = f"duration_ns % 2 = 0 AND start_time_unix_nano >= {BASE_US}000"
SETTINGS: Final = lake_settings(
    unlink_grace=GRACE_S,
    retention=RetentionSettings(max_age=2.5 * 3600, max_bytes=0),
    compaction=CompactionSettings(min_files=3),
)


def live(path: Path, first_seed: int) -> None:
    """Write, flush, merge, and let hours expire that are too old already."""
    store = Store(path, SETTINGS, Environment(now=lambda: NOW_S))
    for seed in range(first_seed, first_seed + 8):
        store.store(make_batch(40, seed))
        store.store(make_batch(40, seed + 500_000, BASE_US - (2 + seed % 4) * HOUR_US))
        assert store.lake.flush()
        if seed % 2:
            store.lake.maintain()
    store.abandon()


def erase(path: Path) -> int:
    """Erase half of the spans; return how many these were."""
    with StoredData(path, GRACE_S, RecordingTelemetry()) as stored:
        erased = find([stored], Condition(where=ERASED))
        for segment in stored.segments:
            stored.rewrite_segment(segment, erased)
        for entry in stored.files:
            stored.rewrite_file(entry, erased)
    return len(erased)


def busy(path: Path, reader: Reader) -> int:
    """Live and erase until enough queries were made; return how many rounds that took."""
    rounds = 0
    while reader.queries < QUERIES:
        rounds += 1
        live(path, rounds * 100)
        assert erase(path) > 0
    return rounds


@pytest.mark.timeout(300)
def test_readers_see_whole_moments(tmp_path: Path) -> None:
    """Scenario: 1,000 queries of another process during flushes, merges, expiry, and erasure.

    Guarantees: no query fails, none sees a span twice, and spans that nobody removes never become
    fewer; those that are removed are gone in the end.
    """
    path = tmp_path / "data"
    live(path, 0)
    with queries(CONTEXT, path, LASTING) as reader:
        rounds = busy(path, reader)
    assert reader.problems == ()
    assert reader.queries >= QUERIES
    assert rounds > 2
    left = run_query(path, f"SELECT count(*) FILTER ({ERASED}) AS e, count(*) AS n FROM spans")
    assert left.table.to_pylist()[0]["e"] == 0
    assert left.table.to_pylist()[0]["n"] > 0
