"""One writer a directory, and clear words when a directory cannot be used."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from collector.model.errors import StartupError, StorageUnavailable
from collector.model.telemetry import LAKE_QUARANTINED
from storage.files import DirectoryLock, make_directories
from tests.storage.batches import make_batch
from tests.storage.store import Store

HOLD = """
import sys
from pathlib import Path
from storage.files import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    """Scenario: another process has the directory; then it is killed.

    Guarantee: the error names directory and pid; after the death the directory is free at once.
    """
    data = tmp_path / "data"
    command = [sys.executable, "-c", HOLD, str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StartupError, match=f"{data}: in use by process {holder.pid}"):
            Store(data)
        holder.kill()
        holder.wait()
    Store(data).abandon()


def test_two_stores_in_one_process(tmp_path: Path) -> None:
    """Scenario: opened twice by mistake. Guarantee: refused too, with this process's pid."""
    store = Store(tmp_path / "data")
    with pytest.raises(StartupError, match=str(os.getpid())):
        Store(tmp_path / "data")
    store.abandon()
    Store(tmp_path / "data").abandon()


def test_an_absent_parent_is_not_made(tmp_path: Path) -> None:
    """Scenario: a typo in the path. Guarantee: the error names path and reason."""
    path = tmp_path / "no" / "data"
    with pytest.raises(StartupError, match=f"{path}: No such file or directory"):
        DirectoryLock(path)


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    """Scenario: a file has the directory's name. Guarantee: the error names it."""
    (tmp_path / "data").write_text("")
    with pytest.raises(StartupError, match=r"data: "):
        DirectoryLock(tmp_path / "data")


def test_a_read_only_directory(tmp_path: Path) -> None:
    """Scenario: the volume is mounted read-only. Guarantee: one error with path and reason."""
    path = tmp_path / "ro"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", str(path)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        with pytest.raises(StartupError, match=f"{path}: Read-only file system"):
            DirectoryLock(path)
        with pytest.raises(StartupError, match="Read-only file system"):
            DirectoryLock(path / "data")
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_files_that_come_late_are_not_deleted(tmp_path: Path) -> None:
    """Scenario: a start before all files of a copied directory are there; then they are, restart.

    Guarantee: they are not taken for replaced ones and unlinked, but set aside, counted and said.
    """
    store = Store(tmp_path / "data")
    store.store(make_batch(50, 1))
    assert store.lake.flush()
    store.abandon()
    spans, late = tmp_path / "data/lake/spans", tmp_path / "late"
    (hour,) = spans.glob("date=*/*")
    hour.rename(late)
    store = Store(tmp_path / "data")
    assert store.span_ids() == {}
    store.abandon()
    hour.mkdir()
    for file in late.iterdir():
        file.rename(hour / file.name)
    for quarantined in (1, 0):
        store = Store(tmp_path / "data")
        store.lake.maintain()
        assert store.telemetry.sums[LAKE_QUARANTINED.name,] == quarantined
        store.abandon()
    (file,) = (tmp_path / "data/lake/quarantine").iterdir()
    assert pq.ParquetFile(file).metadata.num_rows == 50


def test_a_directory_is_synced_in_its_parent_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: the sync behind a new directory fails once. The work is done again.

    Guarantee: the directory's name is synced then; a power loss would take the files in it along.
    """
    real, synced = os.fsync, []

    def fail_once(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        if len(synced) == 1:
            raise OSError(errno.EIO, "injected")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(OSError, match="injected"):
        make_directories(tmp_path / "date" / "hour")
    make_directories(tmp_path / "date" / "hour")
    assert synced == [str(tmp_path), str(tmp_path), str(tmp_path / "date")]


def test_a_directory_that_is_moved_away_takes_nothing_more(tmp_path: Path) -> None:
    """Scenario: the data directory is renamed under a sidecar, a second one starts at its path.

    Guarantees: the first refuses at once and leaves the second's journal and manifest alone; it
    goes on when the directory is back.
    """
    first = Store(tmp_path / "data")
    kept = [first.store(make_batch(4, 1)).table]
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(StorageUnavailable, match="replaced by somebody else"):
        first.store(make_batch(4, 2))
    second = Store(tmp_path / "data")
    with pytest.raises(StorageUnavailable, match="replaced by somebody else"):
        first.store(make_batch(4, 2))
    assert first.journal.is_failing
    assert not list((tmp_path / "data/journal").glob("*.wal"))
    seconds = second.manifest()
    assert not first.lake.flush()
    assert second.manifest() == seconds
    second.store(make_batch(4, 3))
    second.abandon()
    (tmp_path / "data").rename(tmp_path / "other")
    (tmp_path / "moved").rename(tmp_path / "data")
    kept.append(first.store(make_batch(4, 4)).table)
    first.abandon()
    again = Store(tmp_path / "data")
    assert [batch.table for batch in again.journal.replay(0)] == kept
    again.abandon()


def test_letting_go_of_a_directory_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: closing LOCK reports an error, having closed it. Guarantee: the end goes on."""
    lock, real = DirectoryLock(tmp_path), os.close

    def fail(descriptor: int) -> None:
        real(descriptor)
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(os, "close", fail)
    lock.close()
    lock.close()
    monkeypatch.undo()
    DirectoryLock(tmp_path).close()
