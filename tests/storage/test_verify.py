"""`clearspan verify` finds whatever is not as it was written, and touches nothing."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector.model.errors import StartupError
from storage import manifest_check, manifest_text
from storage.lake_tables import partition_of
from storage.verify import verify
from tests.storage.batches import BASE_US, make_batch, start_at
from tests.storage.damage import (
    DAMAGE,
    NAMES,
    ROWS,
    change_entry,
    first_file,
    flip,
    forget_checksums,
    make_lake,
    snapshot,
    state_of,
    write_manifest,
)
from tests.storage.store import Store, lake_settings

if TYPE_CHECKING:
    from pathlib import Path


def errors(data: Path) -> list[tuple[str, str]]:
    """Return file and matter of every error."""
    report = verify(data)
    assert report.is_sound == (not report.count("error"))
    return [(one.file, one.what) for one in report.findings if one.level == "error"]


def test_a_sound_lake_is_counted_and_left_alone(tmp_path: Path) -> None:
    """Scenario: three flushes and two batches in the journal.

    Guarantee: no finding, exact counts, and no file changed, made or removed.
    """
    make_lake(tmp_path, journalled=2)
    before = snapshot(tmp_path)
    report = verify(tmp_path)
    assert report.findings == []
    assert report.files == 6
    assert report.rows == {"spans": 3 * ROWS, "span_events": 3 * ROWS // 5}
    assert (report.journal.frames, report.journal.rows) == (2, 2 * ROWS)
    assert (report.journal.first_seq, report.journal.last_seq) == (4, 5)
    assert snapshot(tmp_path) == before


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """Scenario: a typo. Guarantee: said as such, and the directory is not made."""
    with pytest.raises(StartupError, match="there is no data directory"):
        verify(tmp_path / "no")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("with_checksums", [True, False])
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_named(tmp_path: Path, how: str, with_checksums: bool) -> None:
    """Scenario: one file is damaged, in a lake of this version or of before file checksums.

    Guarantee: one error, which names it; the other files are read all the same.
    """
    lake = make_lake(tmp_path)
    if not with_checksums:
        forget_checksums(lake)
    victim = first_file(lake)
    DAMAGE[how](lake / victim.path)
    report = verify(tmp_path)
    assert {one.file for one in report.findings if one.level == "error"} == {f"lake/{victim.path}"}
    assert report.rows["spans"] == 2 * ROWS


def test_every_flipped_byte_of_a_file_is_found(tmp_path: Path) -> None:
    """Scenario: one bit of a lake file is wrong, at every 11th byte: pages, footer, Bloom filter.

    Guarantee: found, every single one; nothing that is in the file ends the check.
    """
    lake = make_lake(tmp_path, flushes=1, journalled=0)
    victim = first_file(lake, "span_events")
    path = lake / victim.path
    content = path.read_bytes()
    missed = []
    for position in range(0, len(content), 11):
        flip(path, position, 1 << position % 8)
        if (f"lake/{victim.path}") not in {file for file, _ in errors(tmp_path)}:
            missed.append(position)
        path.write_bytes(content)
    assert missed == []
    assert errors(tmp_path) == []


def test_a_missing_file_and_its_rows_are_named(tmp_path: Path) -> None:
    """Scenario: somebody deleted a file. Guarantee: named, with how many rows it had."""
    lake = make_lake(tmp_path)
    victim = first_file(lake)
    (lake / victim.path).unlink()
    assert errors(tmp_path) == [(f"lake/{victim.path}", f"is not there; {ROWS} rows")]


@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("how", ["gone", "empty", "half", "flipped", "newer"])
def test_a_manifest_that_cannot_be_read(tmp_path: Path, how: str, which: tuple[int, ...]) -> None:
    """Scenario: manifest, copy or both are gone, damaged or of a later version.

    Guarantee: an error for each; with one of them good the files are checked.
    """
    lake = make_lake(tmp_path)
    for number in which:
        path = lake / NAMES[number]
        content = path.read_bytes()
        if how == "gone":
            path.unlink()
        elif how == "newer":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(manifest_text, "FORMAT_VERSION", 7)
                path.write_bytes(manifest_text.render(read_as_ours(content), 0.0))
        else:
            path.write_bytes({"empty": b"", "half": content[:300], "flipped": b"[" + content}[how])
    report = verify(tmp_path)
    found = {one.file: one.what for one in report.findings if one.level == "error"}
    assert set(found) == {f"lake/{NAMES[number]}" for number in which}
    if how == "newer":
        assert all(what.startswith("has format version 7;") for what in found.values())
    elif which != (0, 1):
        assert report.rows["spans"] == 3 * ROWS


def read_as_ours(content: bytes) -> manifest_text.ManifestState:
    """Return what the text says, read as this version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_text, "FORMAT_VERSION", 1)
        return manifest_text.parse(content)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rows": 41}, "holds 40 rows, the manifest says 41"),
        ({"max_seq": 9}, "max_seq is 1, the manifest says 9"),
        ({"min_start_us": 1}, "the manifest says 1"),
        ({"bytes": 17}, "17 are in the manifest"),
        ({"crc32": 17}, "bytes differ from their checksum"),
        ({"path": "../../etc/passwd"}, "is no name of a file of this table"),
        ({"path": "spans/date=2023-11-14/hour=99/000000000001-00000000.parquet"}, "is no name"),
    ],
)
def test_a_manifest_that_misquotes_a_file(
    tmp_path: Path, changes: dict[str, object], what: str
) -> None:
    """Scenario: the manifest's checksum is right and what it says of a file is not.

    Guarantee: said what the file holds and what the manifest says.
    """
    lake = make_lake(tmp_path)
    change_entry(lake, first_file(lake).path, **changes)
    assert any(what in found for _, found in errors(tmp_path)), errors(tmp_path)


def test_rows_of_another_hour(tmp_path: Path) -> None:
    """Scenario: a file stands in the directory of another hour.

    Guarantee: found by its rows; a start that is no time, which belongs to the hour of arrival,
    is right where it is, and so are a flush of many hours and what merges make of it.
    """
    store = Store(tmp_path, lake_settings(unlink_grace=0.0))
    hour = 3_600_000_000
    odd = [BASE_US, 7, BASE_US + 90 * hour, *(BASE_US - number * hour for number in range(12))]
    for seed in range(4):
        store.store(start_at(make_batch(len(odd), seed), odd))
        store.lake.flush()
    assert errors(tmp_path) == []
    store.lake.maintain()
    assert errors(tmp_path) == []
    store.abandon()
    victim = first_file(tmp_path / "lake")
    moved = victim.path.replace(victim.partition, partition_of(BASE_US // hour - 50))
    (tmp_path / "lake" / moved).parent.mkdir(parents=True)
    (tmp_path / "lake" / victim.path).rename(tmp_path / "lake" / moved)
    change_entry(tmp_path / "lake", victim.path, path=moved)
    ((file, what),) = errors(tmp_path)
    assert file == f"lake/{moved}"
    assert what.endswith("rows belong to another hour")


def test_files_of_strangers(tmp_path: Path) -> None:
    """Scenario: a Parquet file of another program under a listed name; one that is not listed;
    one of another lake; one with a column more.

    Guarantee: the first is an error, the second a note, the others warnings.
    """  # noqa: D205 - the scenario needs two lines
    lake, other = make_lake(tmp_path / "a"), make_lake(tmp_path / "b")
    state, theirs = state_of(lake), first_file(other)
    first, second, third = (e for e in state.files.values() if e.table == "spans")
    pq.write_table(pa.table({"x": [1]}), lake / first.path)
    unlisted = first.path.replace(".parquet", "-mine.parquet")
    pq.write_table(pa.table({"x": [1]}), lake / unlisted)
    shutil.copy(other / theirs.path, lake / second.path)
    table = pq.ParquetFile(lake / third.path)
    grown = table.read().append_column("extra", pa.array(range(ROWS)))
    facts = {k: v for k, v in table.metadata.metadata.items() if k.startswith(b"clearspan")}
    with pq.ParquetWriter(lake / third.path, grown.schema, store_schema=False) as writer:
        writer.write_table(grown)
        writer.add_key_value_metadata(facts)
    for entry in (first, second, third):
        size = (lake / entry.path).stat().st_size
        same = theirs if entry is second else entry
        bounds = {n: getattr(same, n) for n in ("min_start_us", "max_start_us", "min_seq")}
        bounds["max_seq"] = same.max_seq
        change_entry(lake, entry.path, bytes=size, crc32=None, **bounds)
    found = {
        (one.level, one.file.removeprefix("lake/"), one.what.split(":")[0])
        for one in verify(tmp_path / "a").findings
        if "checksum" not in one.what
    }
    assert found >= {
        ("error", first.path, "is no file of a lake"),
        ("note", unlisted, "is not in the manifest, so in no query"),
        ("warning", second.path, "was written by another lake"),
        ("warning", third.path, "columns this version does not know"),
    }
    assert {file for level, file, _ in found if level == "error"} == {first.path}


def test_a_merged_file_beside_what_it_replaced(tmp_path: Path) -> None:
    """Scenario: a manifest lists a merged file and one of its inputs, so rows are there twice.

    Guarantee: an error that names the input.
    """
    lake = make_lake(tmp_path, flushes=4, journalled=0)
    before = state_of(lake)
    store = Store(tmp_path, lake_settings(unlink_grace=3600.0))
    store.lake.maintain()
    store.abandon()
    after = state_of(lake)
    victim = next(iter(before.files.values()))
    write_manifest(lake, replace(after, files={**after.files, victim.path: victim}))
    found = errors(tmp_path)
    assert [file for file, _ in found] == [f"lake/{victim.path}"]
    assert "which replaced it" in found[0][1]


def test_lists_for_sql_that_differ_from_the_entries(tmp_path: Path) -> None:
    """Scenario: SQL's list of paths lacks a file that the entries have. Guarantee: an error."""
    lake = make_lake(tmp_path)
    body, _, _ = (lake / NAMES[0]).read_bytes().rpartition(b',"checksum"')
    values = json.loads(body + b"}")
    values["spans"].pop()
    body = json.dumps(values)[:-1].encode()
    for name in NAMES:
        text = body + f',"checksum":"crc32:{zlib.crc32(body):08x}"}}\n'.encode()
        (lake / name).write_bytes(text)
    what = "lists other files under 'spans' than under 'files'"
    assert errors(tmp_path) == [("lake/_manifest.json", what)]


def test_commits_while_manifest_and_copy_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a manifest that takes long to read, of a sidecar that commits meanwhile.

    Guarantee: no error.
    """
    lake = make_lake(tmp_path)
    read = manifest_check._read
    state = state_of(lake)
    generations = iter(range(state.generation + 1, state.generation + 100))

    def read_and_commit(where: Path, name: str) -> object:
        found = read(where, name)
        write_manifest(lake, replace(state, generation=next(generations)))
        return found

    monkeypatch.setattr(manifest_check, "_read", read_and_commit)
    assert errors(tmp_path) == []


def test_files_replaced_while_they_are_read(tmp_path: Path) -> None:
    """Scenario: after the first file that is read, compaction merges all and unlinks at once.

    Guarantee: no error; the merged files are read, and every row is counted once.
    """
    store = Store(tmp_path, lake_settings(unlink_grace=0.0))
    for seed in range(5):
        store.store(make_batch(ROWS, seed))
        store.lake.flush()
    merged = []

    def merge_once(_done: int, _total: int) -> None:
        if not merged:
            store.lake.maintain()
            merged.append(len(store.manifest()["files"]))

    report = verify(tmp_path, merge_once)
    assert merged == [2]
    assert report.is_sound
    assert report.rows == {"spans": 5 * ROWS, "span_events": 5 * ROWS // 5}
    store.abandon()


def test_the_journal_is_read(tmp_path: Path) -> None:
    """Scenario: a batch that was cut at the end; then a wrong byte; then a segment that is gone.

    Guarantee: the first is a note, since nobody was told it is safe; the others are errors that
    name the segment, or the batches that are gone.
    """
    make_lake(tmp_path, journalled=4)
    (segment,) = (tmp_path / "journal").glob("*.wal")
    content = segment.read_bytes()
    segment.write_bytes(content[:-10])
    report = verify(tmp_path)
    assert report.is_sound
    assert report.journal.frames == 3
    assert [one.file for one in report.findings] == [f"journal/{segment.name}"]
    segment.write_bytes(content)
    flip(segment, len(content) // 2)
    found = errors(tmp_path)
    assert found[0][0] == f"journal/{segment.name}"
    assert "3 batches in it are good" in found[0][1]
    segment.write_bytes(content)
    magic = bytes.fromhex(segment.stem.rsplit("-", 1)[1])
    _, first, second, third, _ = (m.start() for m in re.finditer(re.escape(magic), content))
    segment.write_bytes(content[:second] + content[third:])
    assert errors(tmp_path) == [(f"journal/{segment.name}", "batches 5 to 5 before it are gone")]
    segment.write_bytes(content[:first] + content[second:])
    what = "batches 4 to 4 are neither here nor settled"
    assert ("journal", what) in errors(tmp_path)


def test_what_was_set_aside_is_a_warning(tmp_path: Path) -> None:
    """Scenario: damage that a start found and put into quarantine. Guarantee: listed, and sound."""
    lake = make_lake(tmp_path)
    victim = first_file(lake)
    DAMAGE["cut"](lake / victim.path)
    (lake / NAMES[0]).write_bytes(b"")
    (segment,) = (tmp_path / "journal").glob("*.wal")
    flip(segment, 40)
    Store(tmp_path).abandon()
    report = verify(tmp_path)
    assert report.is_sound, report.findings
    assert {one.file for one in report.findings if one.level == "warning"} == {
        f"journal/quarantine/{segment.name}",
        f"lake/{NAMES[0]}.damaged",
        f"lake/quarantine/{victim.path.rsplit('/', 1)[1]}",
        f"lake/span_events/{victim.partition}",  # whose spans were in the damaged file
    }
