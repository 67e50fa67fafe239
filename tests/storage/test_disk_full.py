"""A full disk refuses and loses nothing; when space returns, everything goes on by itself."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from collector.model.errors import StorageUnavailable
from collector.model.telemetry import LAKE_COMPACTIONS, SEND_FAILED, SENT, STORED_SPANS
from config.exporters import CompactionSettings, RetentionSettings
from storage.verify import verify
from tests.storage.batches import make_batch
from tests.storage.faulty_load import Load
from tests.storage.store import Store, ids_of, lake_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.model.batch import SpanBatch

PAGE_BYTES = 4096


@pytest.fixture(params=["6m"])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Mount a tmpfs, of 6 MiB if not said otherwise."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> Path:
    """Leave no byte free and return the file that takes the space."""
    ballast = path / "ballast"
    with ballast.open("wb", buffering=0) as file:
        room = os.statvfs(path)
        if room.f_bavail:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
            file.seek(0, os.SEEK_END)
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def free(path: Path, size: int) -> None:
    """Give back some bytes of the ballast."""
    os.truncate(path, max(0, path.stat().st_size - size))


def write_until_full(store: Store) -> list[SpanBatch]:
    """Write until the journal refuses for lack of space; return what it took."""
    taken = []
    with pytest.raises(StorageUnavailable, match="No space left"):  # noqa: PT012 - which one fails
        for seed in range(10_000):
            taken.append(store.store(make_batch(200, seed)))  # noqa: PERF401 - it ends by raising
    return taken


def test_the_journal_refuses_and_recovers(small_disk: Path) -> None:
    """Scenario: the disk fills while the journal writes; then there is space; then a restart.

    Guarantee: each acknowledged batch and no refused one comes back, exactly.
    """
    store = Store(small_disk / "data")
    reserve = small_disk / "reserve"
    reserve.write_bytes(b"x" * (1 << 20))
    taken = write_until_full(store)
    with pytest.raises(StorageUnavailable):
        store.store(make_batch(200, 20_001))
    fill(small_disk)
    with pytest.raises(StorageUnavailable):
        store.store(make_batch(1, 20_002))
    reserve.unlink()
    taken.append(store.store(make_batch(200, 20_003)))
    store.abandon()
    again = list(Store(small_disk / "data").journal.replay(0))
    assert [batch.table for batch in again] == [batch.table for batch in taken]


@pytest.mark.parametrize("free_bytes", [0, 4 << 10, 32 << 10, 80 << 10, 200 << 10])
def test_a_flush_without_space_keeps_everything(small_disk: Path, free_bytes: int) -> None:
    """Scenario: a flush meets a full disk, at its first byte, inside a Parquet file, inside the
    second one, or in the manifest, depending on how much is free. Later there is space.

    Guarantee: nothing is counted as stored, no file is left behind, readers see the old state;
    then everything is stored once and the journal is emptied.
    """  # noqa: D205 - the scenario needs two lines
    store = Store(small_disk / "data")
    before = store.store(make_batch(100, 1))
    assert store.lake.flush()
    more = [store.store(make_batch(400, seed)) for seed in range(2, 6)]
    ballast = fill(small_disk)
    free(ballast, free_bytes)
    files = {path for path in (small_disk / "data/lake").rglob("*") if path.is_file()}
    ok = store.lake.flush()
    if not ok:
        assert {p for p in (small_disk / "data/lake").rglob("*") if p.is_file()} == files
        assert store.span_ids() == ids_of(before)
        assert store.telemetry.sums[STORED_SPANS.name,] == 100
        assert store.telemetry.sums[SEND_FAILED.name, "lake"] == 1600
        assert store.lake.pending_rows == 1600
    else:
        assert free_bytes >= 32 << 10
    ballast.unlink()
    assert store.lake.flush()
    assert store.span_ids() == ids_of(before, *more)
    assert store.telemetry.sums[SENT.name, "lake"] == 1700
    assert store.lake.pending_rows == store.lake.pending_bytes == 0
    assert store.journal.size_bytes == 0
    store.abandon()


def test_starting_and_compacting_on_a_full_disk(small_disk: Path) -> None:
    """Scenario: compaction meets a full disk; the process is restarted when it is full.

    Guarantee: compaction gives up without harm and is done when there is space. The start
    either works or is refused with one clear error; nothing is lost either way.
    """
    store = Store(small_disk / "data")
    kept = []
    for seed in range(6):
        kept.append(store.store(make_batch(300, seed)))
        store.lake.flush()
    ballast = fill(small_disk)
    store.lake.maintain()
    assert len(store.manifest()["files"]) == 12
    store.abandon()
    free(ballast, 64 << 10)
    store = Store(small_disk / "data")
    ballast.unlink()
    store.lake.maintain()
    assert len(store.manifest()["files"]) == 2
    assert store.span_ids() == ids_of(*kept)
    store.abandon()


def test_start_and_retention_need_no_room(small_disk: Path) -> None:
    """Scenario: something else takes the last byte of the disk; the process is restarted, and what
    retention is to keep is passed three times.

    Guarantee: it starts, and what has had its time is unlinked; the newest rows stay.
    """  # noqa: D205 - the scenario needs two lines
    keeping = CompactionSettings(interval=0)
    store = Store(small_disk / "data", lake_settings(compaction=keeping))
    stored = []

    def flush_one() -> int:
        stored.append(store.store(make_batch(300, len(stored))))
        assert store.lake.flush()
        return sum(entry.bytes for entry in store.lake._files())

    limit = max(flush_one() for _ in range(12)) // 2
    fill(small_disk)
    store.abandon()
    retention = RetentionSettings(max_age=0, max_bytes=limit)
    store = Store(small_disk / "data", lake_settings(compaction=keeping, retention=retention))
    for _ in range(3):
        ballast = fill(small_disk)
        store.lake.maintain()
        files = {path.name for path in small_disk.glob("data/lake/span*/date=*/*/*.parquet")}
        assert files == {entry.path.rpartition("/")[2] for entry in store.lake._files()}
        assert {finding.level for finding in verify(small_disk / "data").findings} <= {"warning"}
        left = store.span_ids()
        assert left == ids_of(*stored[-(left.total() // 300) :])
        ballast.unlink()
        while flush_one() <= limit:
            pass
    store.abandon()


@pytest.mark.parametrize("small_disk", ["32m"], indirect=True)
def test_a_disk_that_fills_at_every_level(small_disk: Path) -> None:
    """Scenario: 32 MiB are full but for 0, 2, 4, ... pages, until journal, flush, compaction and
    retention all have room; each time the load runs on the full disk, then on a free one.

    Guarantee: refused or stored, each acknowledged span once, readers see whole files only; all
    of it by itself, and the next start finds it sound.
    """  # noqa: D205 - the scenario needs two lines
    load = Load(small_disk / "data")
    store = load.open()
    pages = failed_flushes = unhurt = 0
    while unhurt < 3:  # in a row: one page less can be one too few for another file
        load.go_on(1)
        ballast = fill(small_disk)
        free(ballast, pages * PAGE_BYTES)
        failures = store.telemetry.sums[SEND_FAILED.name, "lake"]
        merges = store.telemetry.sums[LAKE_COMPACTIONS.name,]
        refusals = load.refusals
        load.go_on(1)
        ballast.unlink()
        is_hurt = (
            load.refusals > refusals
            or store.telemetry.sums[SEND_FAILED.name, "lake"] > failures
            or store.telemetry.sums[LAKE_COMPACTIONS.name,] == merges
        )
        failed_flushes += store.telemetry.sums[SEND_FAILED.name, "lake"] > failures
        unhurt = 0 if is_hurt else unhurt + 1
        pages += 2
    assert load.refusals
    assert failed_flushes > 10
    load.finish()
    load.check_after_restart()


def test_a_lake_that_is_read_only_for_a_while(tmp_path: Path) -> None:
    """Scenario: the lake's directory is remounted read-only under a running store, then writable.

    Guarantee: the journal goes on, flushes and merges fail and lose nothing, and are made up for.
    """
    load = Load(tmp_path / "data")
    load.open()
    load.go_on(1)
    lake = str(tmp_path / "data/lake")
    done = subprocess.run(["mount", "--bind", lake, lake], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.decode().strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", lake], check=True)
        load.go_on(2)
        assert load.refusals == 0
        assert load.store is not None
        assert not load.store.lake.flush()
        subprocess.run(["mount", "-o", "remount,bind,rw", lake], check=True)
        load.go_on(1)
        load.finish()
    finally:
        subprocess.run(["umount", "-l", lake], check=True)
    load.check_after_restart()
