"""Files swept byte by byte: a start or a query has the right rows or says why not, never others."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from collector.model.errors import QueryError, StartupError
from storage.backup import backup
from storage.environment import Environment
from storage.manifest_recovery import open_manifest
from storage.repair import repair
from storage.sql import run_query
from storage.verify import verify
from tests.storage.batches import make_batch
from tests.storage.damage import NAMES, ROWS, first_file, make_lake, state_of
from tests.storage.recording import RecordingTelemetry
from tests.storage.store import Store, ids_of, lake_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def variants(content: bytes, step: int = 1) -> Iterator[bytes]:
    """Yield the content with each byte in turn wrong by one bit, then cut before each byte."""
    for position in range(0, len(content), step):
        changed = bytes([content[position] ^ 1 << position % 8])
        yield content[:position] + changed + content[position + 1 :]
    for position in range(0, len(content), step):
        yield content[:position]


def without_checksum(entry: str) -> str:
    """Return a manifest's entry without the checksum, which a file cannot hold of itself."""
    return re.sub(r',"crc32":\d+', "", entry)


@pytest.mark.parametrize("names", [NAMES[:1], NAMES[1:], NAMES], ids=["main", "copy", "both"])
def test_every_wrong_byte_and_cut_of_a_manifest(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Scenario: each byte of manifest, copy or both is wrong by a bit, or the text ends there.

    Guarantee: a start always finds the same files with the same rows and batches, from the other
    one or from the files themselves.
    """
    lake = make_lake(tmp_path, flushes=1, journalled=0)
    good = {name: (lake / name).read_bytes() for name in NAMES}
    expected = {entry.path: entry.text for entry in state_of(lake).files.values()}
    without_checksums = {path: without_checksum(text) for path, text in expected.items()}
    count = 0
    for variant in variants(good[NAMES[0]]):
        for name in NAMES:
            (lake / name).write_bytes(variant if name in names else good[name])
        state = open_manifest(lake, Environment(), RecordingTelemetry()).manifest.state
        found = {entry.path: entry.text for entry in state.files.values()}
        if names == NAMES and variant != good[NAMES[0]]:
            assert found == without_checksums
        else:
            assert found == expected
        assert len(list(lake.glob("*.damaged*"))) <= 2
        for kept in lake.glob("*.damaged*"):
            kept.unlink()
        count += 1
    assert count == 2 * len(good[NAMES[0]])


def test_every_wrong_byte_of_a_manifest_under_a_query(tmp_path: Path) -> None:
    """Scenario: SQL is asked while the manifest has a wrong bit or ends early.

    Guarantee: all rows, or an error; never some of them or others.
    """
    lake = make_lake(tmp_path, flushes=2, journalled=0)
    good = (lake / NAMES[0]).read_bytes()
    sql = "SELECT count(*) AS n, (SELECT count(*) FROM span_events) AS e FROM spans"
    refused = 0
    for variant in variants(good, 7):
        (lake / NAMES[0]).write_bytes(variant)
        try:
            rows = run_query(tmp_path, sql).table.to_pylist()
        except QueryError:
            refused += 1
        else:
            assert rows == [{"n": 2 * ROWS, "e": 2 * ROWS // 5}], variant
    assert refused > len(good) // 7


@pytest.mark.parametrize("table", ["spans", "span_events"])
def test_every_wrong_byte_of_a_file_when_it_is_all_there_is(tmp_path: Path, table: str) -> None:
    """Scenario: both manifests are gone and a file has a wrong bit: pages, index, footer, end.

    Guarantee: a start takes what the file says of itself only when that is what was written.
    """
    lake = make_lake(tmp_path, flushes=2, journalled=0)
    entry = first_file(lake, table)
    path = lake / entry.path
    content = path.read_bytes()
    expected = without_checksum(entry.text)
    others = state_of(lake).files.keys() - {entry.path}
    taken = 0
    for variant in variants(content, 61 if table == "spans" else 23):
        for name in NAMES:
            (lake / name).unlink(missing_ok=True)
        path.write_bytes(variant)
        state = open_manifest(lake, Environment(), RecordingTelemetry()).manifest.state
        assert others <= state.files.keys()
        if entry.path in state.files and len(variant) == entry.bytes:
            assert state.files[entry.path].text == expected
            taken += 1
        shutil.rmtree(lake / "quarantine", ignore_errors=True)
    assert taken


def test_every_wrong_byte_of_a_file_that_a_replay_reads(tmp_path: Path) -> None:
    """Scenario: rows of batches that are not settled are in a file with a wrong bit somewhere.

    Guarantee: a start has every row once, from the file or from the journal.
    """
    source = tmp_path / "source"
    store = Store(source, lake_settings())
    batch = store.journal.write(make_batch(ROWS, 1))
    store.lake.append(batch, 0)
    store.lake.flush()
    store.abandon()
    entry = first_file(source / "lake")
    content = (source / "lake" / entry.path).read_bytes()
    data = tmp_path / "data"
    for variant in variants(content, 601):
        shutil.copytree(source, data)
        (data / "lake" / entry.path).write_bytes(variant)
        store = Store(data)
        assert store.lake.flush()
        assert store.span_ids() == ids_of(batch)
        assert store.rows("span_events").num_rows == ROWS // 5
        store.abandon()
        assert verify(data).is_sound
        shutil.rmtree(data)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Return a data directory on a file system that is mounted read-only."""
    place = tmp_path / "place"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        make_lake(place / "data")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place / "data"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_read_only_directory(tmp_path: Path, read_only: Path) -> None:
    """Scenario: the volume is mounted read-only, as after a failure or on purpose.

    Guarantee: what only reads works; repair and a backup into it say why not.
    """
    assert verify(read_only).findings == []
    backup(read_only, tmp_path / "copy")
    assert verify(tmp_path / "copy").findings == []
    for dry_run in (True, False):
        with pytest.raises(StartupError, match="Read-only file system"):
            repair(read_only, dry_run=dry_run)
    with pytest.raises(StartupError, match="Read-only file system"):
        backup(tmp_path / "copy", read_only.parent / "copy")
