"""When the journal syncs: before the acknowledgement, soon after it, or never."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from collector.model.errors import StorageUnavailable
from config.exporters import JournalSettings
from storage.journal import Journal
from tests.storage.batches import make_batch
from tests.storage.recording import RecordingTelemetry

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from collector.model.batch import SpanBatch

LIMIT_S = 20.0


class Disk:
    """The real ``fdatasync``, counted, and failing while told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand before the real one."""
        self.sizes: list[int] = []
        self.is_failing = False
        self._changed = threading.Condition()
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, descriptor: int) -> None:
        if not self.is_failing:
            self._real(descriptor)
        with self._changed:
            self.sizes.append(os.fstat(descriptor).st_size)
            self._changed.notify_all()
        if self.is_failing:
            raise OSError(errno.EIO, "injected")

    def await_syncs(self, count: int) -> None:
        """Return when it was called so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.sizes) >= count, LIMIT_S)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Count syncs."""
    return Disk(monkeypatch)


def opened(path: Path, **options: Any) -> Journal:
    """Open a journal."""
    return Journal(path, JournalSettings(**options), RecordingTelemetry(), "src", 1)


def sizes(path: Path) -> list[int]:
    """Return the sizes of all segments, oldest first."""
    return [segment.stat().st_size for segment in sorted(path.glob("*.wal"))]


def keep_writing(journal: Journal, kept: list[SpanBatch], disk: Disk) -> None:
    """Write until that is refused: the thread may not have said yet that its sync failed."""
    while True:
        kept.append(journal.write(make_batch(4, len(kept) + 1)))
        disk.await_syncs(len(disk.sizes) + 1)


def test_always_syncs_before_it_returns(tmp_path: Path, disk: Disk) -> None:
    """Scenario: three batches. Guarantees: after each, all that was written has been synced."""
    journal = opened(tmp_path)
    for count in (1, 2, 3):
        journal.write(make_batch(4, count))
        assert len(disk.sizes) == count
        assert disk.sizes[-1] == sizes(tmp_path)[-1]
    journal.close()


def test_interval_syncs_soon_without_being_waited_for(tmp_path: Path, disk: Disk) -> None:
    """Scenario: batches in a row, then a pause; a megabyte at once; rotation; a close.

    Guarantees: the pause has all synced; the megabyte and the rotation sync at once; nothing is
    left when it is closed, and when nothing is written nothing is synced.
    """
    journal = opened(tmp_path, sync="interval", sync_interval=0.05)
    for seed in range(5):
        journal.write(make_batch(4, seed))
    disk.await_syncs(1)
    journal.write(make_batch(4, 5))
    disk.await_syncs(2)
    assert disk.sizes[-1] == sizes(tmp_path)[-1]
    journal.close()
    (tmp_path / "later").mkdir()
    slow = opened(tmp_path / "later", sync="interval", sync_interval=3600, segment_bytes=3_000_000)
    before = len(disk.sizes)
    slow.write(make_batch(4, 6))
    assert len(disk.sizes) == before
    while len(sizes(tmp_path / "later")) < 2:
        slow.write(make_batch(1000, 7))
    written = sum(sizes(tmp_path / "later")[:1])
    assert len(disk.sizes) - before >= written // 2**20
    assert written in disk.sizes
    slow.write(make_batch(4, 8))
    slow.close()
    assert disk.sizes[-1] == sizes(tmp_path / "later")[-1]
    again = opened(tmp_path)
    assert len(list(again.replay(0))) == 6
    again.close()


def test_off_never_syncs(tmp_path: Path, disk: Disk) -> None:
    """Scenario: many batches and segments. Guarantees: no sync; all of it is read back."""
    journal = opened(tmp_path, sync="off", segment_bytes=20_000)
    batches = [journal.write(make_batch(20, seed)) for seed in range(20)]
    journal.close()
    assert len(sizes(tmp_path)) > 3
    assert disk.sizes == []
    again = opened(tmp_path)
    assert [one.table for one in again.replay(0)] == [one.table for one in batches]
    again.close()


def test_a_late_sync_that_fails(tmp_path: Path, disk: Disk) -> None:
    """Scenario: the medium fails behind an acknowledgement, and then works again.

    Guarantees: readiness says so; the next batch goes to a new segment, is synced before it is
    acknowledged, and refused as long as that fails; nothing acknowledged is given up.
    """
    journal = opened(tmp_path, sync="interval", sync_interval=0.01)
    disk.is_failing = True
    kept = [journal.write(make_batch(4, 1))]
    disk.await_syncs(1)
    with pytest.raises(StorageUnavailable, match="Input/output error"):
        keep_writing(journal, kept, disk)
    assert journal.is_failing
    disk.is_failing = False
    before = len(disk.sizes)
    kept.append(journal.write(make_batch(4, 9)))
    assert disk.sizes[before] == sizes(tmp_path)[-1]
    assert not journal.is_failing
    assert len(sizes(tmp_path)) > 1
    journal.close()
    again = opened(tmp_path)
    assert [one.table for one in again.replay(0)] == [one.table for one in kept]
    again.close()


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "injected"), MemoryError()])
def test_the_syncing_thread_goes_on(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Scenario: at the moment of a sync no descriptor is left, or no memory.

    Guarantee: what comes later is synced behind its acknowledgement as before.
    """
    failed = threading.Event()
    real = os.dup

    def fail_once(_descriptor: int) -> int:
        monkeypatch.setattr(os, "dup", real)
        failed.set()
        raise error

    monkeypatch.setattr(os, "dup", fail_once)
    journal = opened(tmp_path, sync="interval", sync_interval=0.01)
    journal.write(make_batch(4, 1))
    assert failed.wait(LIMIT_S)
    disk.await_syncs(1)
    for seed in range(2, 5):
        before = len(disk.sizes)
        journal.write(make_batch(4, seed))
        disk.await_syncs(before + 1)
    assert not journal.is_failing
    journal.close()


def test_a_sync_at_the_end_of_a_segment_that_fails(tmp_path: Path, disk: Disk) -> None:
    """Scenario: a batch fills its segment, whose sync fails; so does the next; then it works.

    Guarantees: readiness says so; the next batch is refused as long as it cannot be synced.
    """
    journal = opened(tmp_path, sync="interval", sync_interval=3600, segment_bytes=4096)
    disk.is_failing = True
    journal.write(make_batch(100, 1))
    assert journal.is_failing
    with pytest.raises(StorageUnavailable, match="Input/output error"):
        journal.write(make_batch(4, 2))
    disk.is_failing = False
    journal.write(make_batch(4, 3))
    assert not journal.is_failing
    journal.close()
