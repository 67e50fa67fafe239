"""A damaged journal: never a wrong row, never an exception, never a second time."""

from __future__ import annotations

import errno
import itertools
import os
import pathlib
import shutil
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from collector.model import schema as s
from collector.model.errors import StartupError, StorageUnavailable
from collector.model.telemetry import JOURNAL_QUARANTINED
from config.exporters import JournalSettings
from storage.journal import Journal
from storage.journal_segment import Scan, Segment, scan
from tests.storage.batches import make_batch
from tests.storage.recording import RecordingTelemetry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

FRAMES = 4


def open_journal(
    path: Path, telemetry: RecordingTelemetry | None = None, **options: int
) -> Journal:
    """Open the journal in the directory itself."""
    return Journal(path, JournalSettings(**options), telemetry or RecordingTelemetry(), "src", 1)


@pytest.fixture
def original(tmp_path: Path) -> tuple[str, bytes, list[pa.Table]]:
    """Return name and content of a segment of four small batches, and the batches."""
    journal = open_journal(tmp_path / "original")
    tables = [journal.write(make_batch(3, seed)).table for seed in range(FRAMES)]
    journal.close()
    (path,) = (tmp_path / "original").glob("*.wal")
    return path.name, path.read_bytes(), tables


def damaged(tmp_path: Path, name: str, variants: Iterator[bytes]) -> Iterator[list[pa.Table]]:
    """Yield what is replayed of each variant of the segment, the same after a second start."""
    for number, content in enumerate(variants):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / name).write_bytes(content)
        first = [batch.table for batch in open_journal(directory).replay(0)]
        telemetry = RecordingTelemetry()
        again = open_journal(directory, telemetry)
        assert [batch.table for batch in again.replay(0)] == first
        assert telemetry.sums[JOURNAL_QUARANTINED.name,] == 0
        yield first


def test_every_truncation_leaves_a_prefix(
    tmp_path: Path,
    original: tuple[str, bytes, list[pa.Table]],
) -> None:
    """Scenario: the file ends at every 31st byte and at every one of the last 300.

    Guarantee: exactly the batches that are whole come back, and a new start finds it clean.
    """
    name, content, tables = original
    cuts = [*range(0, len(content) - 300, 31), *range(len(content) - 300, len(content))]
    results = list(damaged(tmp_path, name, (content[:cut] for cut in cuts)))
    assert all(rows == tables[: len(rows)] for rows in results)
    assert {len(rows) for rows in results} == set(range(FRAMES))


def test_every_flipped_byte_loses_at_most_its_batch(
    tmp_path: Path,
    original: tuple[str, bytes, list[pa.Table]],
) -> None:
    """Scenario: one byte is wrong, at every 37th position from the first to the last.

    Guarantee: all batches but the one the byte belongs to come back, unchanged; a wrong byte in
    the header of the file costs none.
    """
    name, content, tables = original
    positions = range(0, len(content), 37)

    def flipped(position: int) -> bytes:
        changed = bytes([content[position] ^ 0x5A])
        return content[:position] + changed + content[position + 1 :]

    for rows in damaged(tmp_path, name, map(flipped, positions)):
        missing = [table for table in tables if table not in rows]
        assert len(missing) <= 1
        assert rows == [table for table in tables if table not in missing]


def test_every_byte_wrong_and_every_cut_of_a_segment(
    tmp_path: Path,
    original: tuple[str, bytes, list[pa.Table]],
) -> None:
    """Scenario: each byte of a segment in turn is wrong by one bit; the file ends before each byte.

    Guarantee: what is taken for a batch is, byte for byte, one that was written, in its place; a
    wrong bit costs its batch and says so, a cut those behind it.
    """
    name, content, _ = original
    frames = frames_in(tmp_path / name, content)[0]
    assert len(frames) == FRAMES
    ends = [content.index(frame) + len(frame) for frame in frames]
    start = ends[0] - len(frames[0])
    for position in range(len(content)):
        flipped = bytes([content[position] ^ 1 << position % 8])
        wrong = content[:position] + flipped + content[position + 1 :]
        hit = sum(end <= position for end in ends) if position >= start else None
        found, result = frames_in(tmp_path / name, wrong)
        assert found == [frame for place, frame in enumerate(frames) if place != hit]
        assert result.is_damaged or hit == FRAMES - 1
        assert result.is_damaged or result.is_torn
        found, result = frames_in(tmp_path / name, content[:position])
        assert found == frames[: sum(end <= position for end in ends)]
        assert not result.is_damaged


def frames_in(path: Path, content: bytes) -> tuple[list[bytes], Scan]:
    """Return the frames that are found good in a segment of this content."""
    segment = Segment.named(path)
    assert segment is not None
    result = scan(segment, content, None)
    assert segment.schema.equals(s.SPAN_SCHEMA)
    places = [(frame.offset, frame.offset + frame.size_bytes) for frame in segment.frames]
    return [content[start:end] for start, end in places], result


def test_damage_is_counted_and_the_file_kept(
    tmp_path: Path,
    original: tuple[str, bytes, list[pa.Table]],
) -> None:
    """Scenario: the second of four batches is damaged.

    Guarantee: the file as found is in quarantine, counted once; the good batches are still on
    disk in the journal, so a further crash loses none of them.
    """
    name, content, tables = original
    middle = len(content) // 2
    content = content[:middle] + b"\xff" * 8 + content[middle + 8 :]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).write_bytes(content)
    telemetry = RecordingTelemetry()
    journal = open_journal(tmp_path / "x", telemetry)
    assert telemetry.sums[JOURNAL_QUARANTINED.name,] == 1
    assert (tmp_path / "x/quarantine" / name).read_bytes() == content
    good = [batch.table for batch in journal.replay(0)]
    assert len(good) == FRAMES - 1
    assert good == [batch.table for batch in open_journal(tmp_path / "x").replay(0)]
    assert all(table in tables for table in good)


def test_a_frame_inside_a_span_is_not_believed(tmp_path: Path) -> None:
    """Scenario: a sender puts the bytes of a whole frame into an attribute; that frame's own
    header is damaged later, so reading resumes somewhere behind it.

    Guarantee: only frames that carry the segment's secret number are taken.
    """  # noqa: D205 - the scenario needs two lines
    import pyarrow as pa  # noqa: PLC0415 - only here

    journal = open_journal(tmp_path / "a")
    journal.write(make_batch(1, 1))
    journal.close()
    (path,) = (tmp_path / "a").glob("*.wal")
    smuggled = path.read_bytes().decode("latin-1")
    evil = make_batch(1, 2).replace(
        {s.ATTRIBUTES: pa.array([[("k", smuggled)]], s.STRING_MAP)},
    )
    journal = open_journal(tmp_path / "b")
    journal.write(evil)
    journal.write(make_batch(1, 3))
    journal.close()
    (path,) = (tmp_path / "b").glob("*.wal")
    content = bytearray(path.read_bytes())
    start = content.index(bytes.fromhex(path.stem.rsplit("-", 1)[1]), 100)
    content[start + 9] ^= 1
    path.write_bytes(content)
    replayed = list(open_journal(tmp_path / "b").replay(0))
    assert [batch.column(s.BATCH_SEQ).to_pylist() for batch in replayed] == [[2]]


@pytest.mark.parametrize("failing", ["fdatasync", "pwritev", "ftruncate"])
def test_a_refused_batch_never_comes_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    """Scenario: the medium fails while a batch is written: short write, failed sync, and a
    failing truncation on top. Then it works again.

    Guarantee: the refused batch is not replayed, the ones before and after are, and its number
    is used again.
    """  # noqa: D205 - the scenario needs two lines
    journal = open_journal(tmp_path / "j")
    kept = [journal.write(make_batch(4, 1)).table]

    def fail(*_arguments: object) -> int:
        raise OSError(errno.EIO, "injected")

    real_write = os.pwritev

    def write_half(descriptor: int, parts: list[memoryview], offset: int) -> int:
        monkeypatch.setattr(os, "pwritev", fail)
        return real_write(descriptor, [parts[0], parts[1][: len(parts[1]) // 2]], offset)

    if failing == "pwritev":
        monkeypatch.setattr(os, "pwritev", write_half)
    else:
        monkeypatch.setattr(os, "fdatasync", fail)
    if failing == "ftruncate":
        monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(StorageUnavailable, match="Input/output error"):
        journal.write(make_batch(4, 2))
    monkeypatch.undo()
    assert [batch.table for batch in open_journal(tmp_path / "j").replay(0)] == kept
    journal = open_journal(tmp_path / "j")
    kept.append(journal.write(make_batch(4, 3)).table)
    assert kept[1].column(s.BATCH_SEQ).to_pylist() == [2] * 4
    assert [batch.table for batch in open_journal(tmp_path / "j").replay(0)] == kept


@pytest.mark.parametrize(("number", "is_damage"), [(errno.EIO, True), (errno.EMFILE, False)])
def test_a_segment_that_cannot_be_read_at_replay(
    tmp_path: Path,
    original: tuple[str, bytes, list[pa.Table]],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    is_damage: bool,
) -> None:
    """Scenario: opening could read a segment, replay cannot: the medium fails, or no descriptor
    is left. Then later batches settle it.

    Guarantees: after damage a counted copy outlives that; anything else ends the start, naming
    the segment.
    """  # noqa: D205 - the scenario needs two lines
    name, content, _ = original
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).write_bytes(content)
    telemetry = RecordingTelemetry()
    journal = open_journal(tmp_path / "x", telemetry)

    def fail(_path: Path) -> bytes:
        raise OSError(number, "injected")

    monkeypatch.setattr(pathlib.Path, "read_bytes", fail)
    if not is_damage:
        with pytest.raises(StartupError, match=f"{name}: Too many open files"):
            list(journal.replay(0))
        return
    assert list(journal.replay(0)) == []
    monkeypatch.undo()
    journal.truncate(FRAMES)
    assert (tmp_path / "x/quarantine" / name).read_bytes() == content
    assert telemetry.sums[JOURNAL_QUARANTINED.name,] == 1


def test_a_close_that_fails_lets_go_of_the_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: closing a settled segment reports an error (a quota of NFS), having closed it.

    Guarantee: nothing goes into a file that has got its number since; the next batch is durable.
    """
    journal = open_journal(tmp_path / "j")
    journal.write(make_batch(4, 1))
    real = os.close

    def fail(descriptor: int) -> None:
        real(descriptor)
        raise OSError(errno.EDQUOT, "injected")

    monkeypatch.setattr(os, "close", fail)
    journal.truncate(1)
    monkeypatch.undo()
    with (tmp_path / "other").open("wb") as other:
        kept = journal.write(make_batch(4, 2)).table
        assert os.fstat(other.fileno()).st_size == 0
    assert [batch.table for batch in open_journal(tmp_path / "j").replay(0)] == [kept]


@pytest.mark.parametrize("failing", ["ftruncate", "fsync"])
def test_refused_batches_leave_no_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Scenario: twenty batches are refused because no sync succeeds; besides, nothing can be cut
    off, or it fails now and then to begin a segment. Then the disk works again.

    Guarantees: however many are refused, at most one segment more is there than before; none of
    them is replayed, also not the first, which stands behind a good one.
    """  # noqa: D205 - the scenario needs two lines
    journal = open_journal(tmp_path / "j")
    kept = [journal.write(make_batch(4, 1)).table]
    real, calls = os.fsync, itertools.count()

    def fail(*_arguments: object) -> int:
        raise OSError(errno.EIO, "injected")

    def fail_sometimes(descriptor: int) -> None:
        real(descriptor) if next(calls) % 5 else fail()

    monkeypatch.setattr(os, "fdatasync", fail)
    monkeypatch.setattr(os, failing, fail if failing == "ftruncate" else fail_sometimes)
    for seed in range(20):
        with pytest.raises(StorageUnavailable):
            journal.write(make_batch(4, seed))
        assert len(list((tmp_path / "j").glob("*.wal"))) <= 2
    monkeypatch.undo()
    shutil.copytree(tmp_path / "j", tmp_path / "killed")
    assert [batch.table for batch in open_journal(tmp_path / "killed").replay(0)] == kept
    kept.append(journal.write(make_batch(4, 99)).table)
    assert len(list((tmp_path / "j").glob("*.wal"))) == 2
    assert [batch.table for batch in open_journal(tmp_path / "j").replay(0)] == kept


def test_a_segment_of_zeros_is_no_damage(
    tmp_path: Path, original: tuple[str, bytes, list[pa.Table]]
) -> None:
    """Scenario: after a power loss a segment has its size and none of its bytes.

    Guarantee: it goes without alarm, since nothing of it was acknowledged.
    """
    name, content, _ = original
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).write_bytes(bytes(len(content)))
    telemetry = RecordingTelemetry()
    assert list(open_journal(tmp_path / "x", telemetry).replay(0)) == []
    assert telemetry.sums[JOURNAL_QUARANTINED.name,] == 0
    assert list((tmp_path / "x").iterdir()) == []


def test_only_unsettled_batches_are_missed(tmp_path: Path) -> None:
    """Scenario: the second of four segments is gone. Guarantee: an error unless it was settled."""
    journal = open_journal(tmp_path, segment_bytes=1)
    for seed in range(4):
        journal.write(make_batch(1, seed))
    journal.close()
    sorted(tmp_path.glob("*.wal"))[1].unlink()
    with capture_logs() as logs:
        assert len(list(open_journal(tmp_path).replay(2))) == 2
    assert logs == []
    with capture_logs() as logs:
        assert len(list(open_journal(tmp_path).replay(0))) == 3
    assert [(log["event"], log["first_seq"], log["last_seq"]) for log in logs] == [
        ("journal batches are missing", 2, 2)
    ]
