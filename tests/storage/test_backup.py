"""A backup is a data directory of its own, of one moment, or an error that says why not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from collector.model.errors import StartupError, UpkeepFailed
from storage import backup as backup_module
from storage import backup_target
from storage.backup import backup
from storage.files import DirectoryLock
from storage.sql import run_query
from storage.verify import verify
from tests.storage.batches import make_batch
from tests.storage.damage import DAMAGE, NAMES, ROWS, first_file, flip, make_lake, snapshot
from tests.storage.store import Store, ids_of, lake_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory with three flushes, and one batch only in the journal."""
    make_lake(tmp_path / "data")
    return tmp_path / "data"


def rows_after_start(data: Path) -> dict[bytes, int]:
    """Start on a directory, let it replay and flush, and return how often each span is there."""
    store = Store(data)
    assert store.lake.flush()
    found = store.span_ids()
    store.abandon()
    return found


def test_a_backup_is_a_data_directory(tmp_path: Path, data: Path) -> None:
    """Scenario: files, and a batch that is only in the journal.

    Guarantee: the source is unchanged; the copy is sound, SQL reads it, and a start on it has
    every span once.
    """
    before = snapshot(data)
    made = backup(data, tmp_path / "copy")
    assert snapshot(data) == before
    assert (made.copied_files, made.segments, made.restarts) == (6, 1, 0)
    report = verify(tmp_path / "copy")
    assert report.findings == []
    assert (report.rows["spans"], report.journal.rows) == (3 * ROWS, ROWS)
    counted = run_query(tmp_path / "copy", "SELECT count(*) AS n FROM spans").table
    assert counted.to_pylist() == [{"n": 3 * ROWS}]
    assert rows_after_start(tmp_path / "copy") == rows_after_start(data)
    assert sum(rows_after_start(tmp_path / "copy").values()) == 4 * ROWS


def test_files_replaced_while_they_are_copied(tmp_path: Path) -> None:
    """Scenario: after each copied file, for the first few, the writer stores, merges and unlinks.

    Guarantee: begun anew from the newer manifest; sound, every span acknowledged before the
    backup is there once, and what an older manifest listed is not.
    """
    store = Store(tmp_path / "data", lake_settings(unlink_grace=0.0))
    sent = []
    for seed in range(6):
        sent.append(store.store(make_batch(ROWS, seed)))
        store.lake.flush()
    acked = ids_of(*sent)
    seeds = iter(range(100, 112))

    def go_on(_done: int, _total: int) -> None:
        for seed in [next(seeds, None) for _ in range(4)]:
            if seed is not None:
                sent.append(store.store(make_batch(ROWS, seed)))
                store.lake.flush()
        store.lake.maintain()

    made = backup(tmp_path / "data", tmp_path / "copy", on_progress=go_on)
    assert made.restarts > 0
    assert verify(tmp_path / "copy").findings == []
    found = rows_after_start(tmp_path / "copy")
    assert set(found.values()) == {1}
    assert acked.keys() <= found.keys() <= ids_of(*sent).keys()
    store.abandon()


def test_a_segment_that_ends_while_the_journal_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: behind the copy of a segment a batch comes to it, it ends, and the next one begins.

    Guarantees: no batch is missing between the two in the copy, and it is sound.
    """
    store = Store(tmp_path / "data", lake_settings())
    store.journal.write(make_batch(ROWS, 1))
    copy = backup_module._copy

    def copy_and_write(source: Path, target: Path) -> object:
        copied = copy(source, target)
        if store.journal.last_seq == 1:
            store.journal.write(make_batch(ROWS, 2))
            store.journal.seal()
            store.journal.write(make_batch(ROWS, 3))
        return copied

    monkeypatch.setattr(backup_module, "_copy", copy_and_write)
    made = backup(tmp_path / "data", tmp_path / "copy")
    store.abandon()
    report = verify(tmp_path / "copy")
    assert [one for one in report.findings if one.level == "error"] == []
    assert (made.segments, report.journal.frames) == (2, 3)
    assert sum(rows_after_start(tmp_path / "copy").values()) == 3 * ROWS


def test_an_update_copies_only_what_is_new(tmp_path: Path, data: Path) -> None:
    """Scenario: a backup, then more rows and a merge, then an update; and one with nothing new.

    Guarantee: only new files are copied, replaced ones removed; sound and complete.
    """
    target = tmp_path / "copy"
    backup(data, target, update=True)
    store = Store(data)
    store.store(make_batch(ROWS, 50))
    store.lake.flush()
    again = backup(data, target, update=True)
    assert (again.copied_files, again.kept_files, again.removed_files) == (2, 6, 0)
    for seed in range(60, 63):
        store.store(make_batch(ROWS, seed))
        store.lake.flush()
    store.lake.maintain()
    merged = backup(data, target, update=True)
    assert merged.copied_files < 4
    assert merged.removed_files >= 8
    assert backup(data, target, update=True).copied_files == 0
    store.store(make_batch(ROWS, 70))
    assert backup(data, target, update=True).segments == 1
    store.abandon()
    assert verify(target).findings == []
    assert rows_after_start(target) == rows_after_start(data)


def test_where_a_backup_may_not_go(tmp_path: Path, data: Path) -> None:
    """Scenario: a directory with something in it, the lake itself, a place inside it, no parent,
    no lake, another lake's backup, a backup that a sidecar has run on.

    Guarantee: one error with path and reason; nothing is touched there.
    """  # noqa: D205 - the scenario needs two lines
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("x")
    make_lake(tmp_path / "other")
    other, ran = tmp_path / "other-copy", tmp_path / "ran-copy"
    backup(tmp_path / "other", other)
    backup(data, ran)
    Store(ran).abandon()
    (tmp_path / "empty").mkdir()
    for source, target, update, reason in (
        (data, full, False, "is not empty"),
        (data, full, True, "something else than a backup"),
        (data, ran, False, "is not empty"),
        (data, other, True, "holds a backup of lake"),
        (data, ran, True, "a sidecar has run on it"),
        (data, data, True, "lies in the other"),
        (data, data / "copy", False, "lies in the other"),
        (data, tmp_path / "no" / "copy", False, "No such file or directory"),
        (tmp_path / "no", tmp_path / "x", False, "there is no data directory"),
        (tmp_path / "empty", tmp_path / "x", False, "is not there"),
    ):
        before = snapshot(tmp_path)
        with pytest.raises(StartupError, match=reason):
            backup(source, target, update=update)
        assert snapshot(tmp_path) == before
    assert not (tmp_path / "x").exists()


def test_a_destination_in_use(tmp_path: Path, data: Path) -> None:
    """Scenario: two backups to one place, or a sidecar runs on it. Guarantee: refused, with pid."""
    backup(data, tmp_path / "copy")
    owner = DirectoryLock(tmp_path / "copy")
    with pytest.raises(StartupError, match=f"in use by process {os.getpid()}"):
        backup(data, tmp_path / "copy", update=True)
    owner.close()
    backup(data, tmp_path / "copy", update=True)


@pytest.mark.parametrize("how", [*DAMAGE, "gone"])
def test_damage_is_not_copied(tmp_path: Path, data: Path, how: str) -> None:
    """Scenario: a file of the source is damaged or missing.

    Guarantee: an error that names it, and no manifest: what was copied is no lake; once the
    source is well again an update finishes it.
    """
    victim = first_file(data / "lake")
    path = data / "lake" / victim.path
    content = path.read_bytes()
    path.unlink() if how == "gone" else DAMAGE[how](path)
    with pytest.raises(UpkeepFailed, match=victim.path):
        backup(data, tmp_path / "copy")
    assert not (tmp_path / "copy/lake" / NAMES[0]).exists()
    path.write_bytes(content)
    made = backup(data, tmp_path / "copy", update=True)
    assert (made.copied_files, made.kept_files) == (1, 5)
    assert verify(tmp_path / "copy").findings == []


@pytest.mark.parametrize("step", range(8))
def test_a_backup_that_dies(
    tmp_path: Path, data: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: the first backup, or an update, ends at any fsync of a directory or earlier.

    Guarantee: what is there is the old backup, the new one, or none; an update then finishes it.
    """
    old = tmp_path / "old"
    backup(data, old)
    store = Store(data)
    store.store(make_batch(ROWS, 50))
    store.lake.flush()
    store.abandon()
    for target in (old, tmp_path / "new"):
        calls = iter(range(step))

        def die(_path: Path, calls: Iterator[int] = calls) -> None:
            if next(calls, None) is None:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(backup_target, "sync_directory", die)
            with contextlib.suppress(KeyboardInterrupt):
                backup(data, target, update=True)
        if (target / "lake" / NAMES[0]).exists():
            assert verify(target).is_sound
        backup(data, target, update=True)
        assert verify(target).findings == []
        assert json.loads((target / "BACKUP.json").read_text())["generation"]


def test_a_damaged_manifest_of_the_source(tmp_path: Path, data: Path) -> None:
    """Scenario: the source's manifest is damaged, its copy is not. Guarantee: the copy is used."""
    flip(data / "lake" / NAMES[0], 50)
    backup(data, tmp_path / "copy")
    assert verify(tmp_path / "copy").findings == []


def test_a_full_disk(tmp_path: Path, data: Path) -> None:
    """Scenario: less room than the files need. Guarantee: said before anything is copied."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", str(small)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        with pytest.raises(UpkeepFailed, match=r"bytes are needed|No space left"):
            backup(data, small / "copy")
        assert not (small / "copy/lake" / NAMES[0]).exists()
        shutil.rmtree(small / "copy")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
