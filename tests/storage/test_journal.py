"""The journal: what was written is read back exactly, and is forgotten only when told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.model import schema as s
from collector.model.batch import SpanBatch
from collector.model.errors import StartupError, StorageUnavailable
from config.exporters import JournalSettings
from storage import journal_frame
from storage.journal import Journal
from storage.journal_frame import decode, encode, fingerprint, parse, stamp
from tests.storage.batches import make_batch
from tests.storage.recording import RecordingTelemetry

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"\x01\x02\x03\x04\x05\x06\x07\x08"
TEXT = st.one_of(st.none(), st.text(max_size=20))
MAP = st.one_of(st.none(), st.lists(st.tuples(st.text(max_size=5), TEXT), max_size=4))
INT64 = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))


def open_journal(path: Path, first_seq: int = 1, **options: int) -> Journal:
    """Open a journal for source ``src``."""
    chosen = JournalSettings(**options)
    return Journal(path / "journal", chosen, RecordingTelemetry(), "src", first_seq)


@given(data=st.data(), rows=st.integers(1, 6), offset=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_a_frame_gives_back_the_batch(data: st.DataObject, rows: int, offset: int) -> None:
    """Scenario: columns with nulls, empty and odd values, absent ones, a slice of a bigger batch.

    Guarantee: decode(encode(batch)) is the batch with source and sequence set, nothing else.
    """
    total = rows + offset
    strategies = {s.NAME: TEXT, s.ATTRIBUTES: MAP, s.DURATION_NS: INT64, s.RESOURCE_ATTRIBUTES: MAP}
    columns = {
        name: pa.array(
            data.draw(st.lists(values, min_size=total, max_size=total)),
            s.SPAN_SCHEMA.field(name).type,
        )
        for name, values in strategies.items()
    }
    batch = SpanBatch(SpanBatch.from_columns(columns, total).table.slice(offset))
    content = memoryview(b"".join(encode(batch, 7, MAGIC, fingerprint(s.SPAN_SCHEMA))))
    frame = parse(content, 0, MAGIC)
    assert (frame.size_bytes, frame.rows, frame.seq) == (len(content), rows, 7)
    decoded = decode(content, frame, s.SPAN_SCHEMA, "src")
    assert decoded.table.equals(stamp(batch, 7, "src").table)


def test_batches_come_back_in_order_after_reopening(tmp_path: Path) -> None:
    """Scenario: ten batches over several segments, then a new process, twice.

    Guarantee: replay yields them exactly, numbered from 1, and numbers go on without reuse.
    """
    journal = open_journal(tmp_path, segment_bytes=100_000)
    written = [journal.write(make_batch(64, seed)) for seed in range(10)]
    journal.close()
    assert len(list((tmp_path / "journal").glob("*.wal"))) > 1
    again = open_journal(tmp_path)
    assert [batch.table for batch in again.replay(0)] == [batch.table for batch in written]
    assert [batch.column(s.BATCH_SEQ)[0].as_py() for batch in again.replay(7)] == [8, 9, 10]
    assert again.last_seq == 10
    assert again.write(make_batch(1)).column(s.BATCH_SEQ).to_pylist() == [11]
    again.close()
    assert open_journal(tmp_path, first_seq=40).last_seq == 39


def test_truncate_removes_whole_settled_segments_only(tmp_path: Path) -> None:
    """Scenario: settling in the middle of a segment, at its end, and of everything.

    Guarantee: no unsettled batch is ever removed, and when all is settled no data stays on disk.
    """
    journal = open_journal(tmp_path, segment_bytes=60_000)
    for seed in range(9):
        journal.write(make_batch(64, seed))
    for settled in range(10):
        journal.truncate(settled)
        again = open_journal(tmp_path)
        left = [batch.column(s.BATCH_SEQ)[0].as_py() for batch in again.replay(0)]
        assert left == list(range(left[0] if left else 10, 10))
        assert not left or left[0] <= settled + 1
    assert list((tmp_path / "journal").glob("*.wal")) == []
    assert journal.size_bytes == 0
    assert journal.write(make_batch(3)).column(s.BATCH_SEQ).to_pylist() == [10] * 3


def test_a_full_journal_refuses_and_accepts_again_after_truncation(tmp_path: Path) -> None:
    """Scenario: ``max_bytes`` is reached, the lake settles.

    Guarantee: refused batches leave nothing behind, take no number, and space is usable again;
    it says that it refuses as long as it does.
    """
    journal = open_journal(tmp_path, max_bytes=200_000)
    while journal.size_bytes < 150_000:
        journal.write(make_batch(64, journal.last_seq))
    accepted = journal.last_seq
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="max_bytes"):
            journal.write(make_batch(640, 99))
    assert journal.is_failing
    assert journal.size_bytes <= 200_000
    assert accepted == journal.last_seq == sum(1 for _ in open_journal(tmp_path).replay(0))
    journal.truncate(journal.last_seq)
    assert not journal.is_failing
    assert journal.write(make_batch(2)).column(s.BATCH_SEQ).to_pylist() == [accepted + 1] * 2


def test_an_empty_batch_needs_no_journal(tmp_path: Path) -> None:
    """Scenario: a processor dropped every row. Guarantee: no frame, no number."""
    journal = open_journal(tmp_path)
    assert len(journal.write(SpanBatch.empty())) == 0
    assert (journal.last_seq, journal.size_bytes) == (0, 0)


def test_a_journal_of_an_older_schema_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scenario: the journal was written by a version without some columns, with another one.

    Guarantee: its batches are replayed in today's schema, columns found by name.
    """
    written = open_journal(tmp_path).write(make_batch(8, 1))
    fields = [field for field in s.SPAN_SCHEMA if field.name != "user_id"]
    newer = pa.schema([*fields, pa.field("shiny", pa.int64())])
    monkeypatch.setattr(SpanBatch, "schema", newer)
    (replayed,) = open_journal(tmp_path).replay(0)
    assert replayed.table.schema.equals(newer)
    assert replayed.table.column("shiny").null_count == 8
    assert replayed.column(s.ATTRIBUTES).equals(written.column(s.ATTRIBUTES))


def test_a_frame_of_a_later_version_is_kept_aside(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scenario: after a downgrade the journal holds a batch in an unknown frame version.

    Guarantee: replay goes on with the others, and the file stays in quarantine after truncation.
    """
    journal = open_journal(tmp_path)
    journal.write(make_batch(8, 1))
    monkeypatch.setattr(journal_frame, "FRAME_VERSION", 2)
    journal.write(make_batch(8, 2))
    monkeypatch.undo()
    journal.write(make_batch(8, 3))
    journal.close()
    again = open_journal(tmp_path)
    assert [batch.column(s.BATCH_SEQ)[0].as_py() for batch in again.replay(0)] == [1, 3]
    again.truncate(3)
    assert len(list((tmp_path / "journal/quarantine").iterdir())) == 1


def test_writing_and_truncating_from_two_threads(tmp_path: Path) -> None:
    """Scenario: the lake truncates while the pipeline writes, segments turning over quickly.

    Guarantee: everything above the last truncation is there, exactly.
    """
    journal = open_journal(tmp_path, segment_bytes=40_000)
    is_done = threading.Event()

    def truncate() -> None:
        while not is_done.wait(0.001):
            journal.truncate(journal.last_seq - 5)

    thread = threading.Thread(target=truncate)
    thread.start()
    written = [journal.write(make_batch(32, seed)) for seed in range(60)]
    is_done.set()
    thread.join()
    journal.close()
    left = list(open_journal(tmp_path).replay(0))
    assert len(left) >= 5
    assert [batch.table for batch in left] == [batch.table for batch in written[-len(left) :]]


def test_an_unusable_directory_is_named(tmp_path: Path) -> None:
    """Scenario: a file stands where the journal should be. Guarantee: the error names it."""
    (tmp_path / "journal").write_text("")
    with pytest.raises(StartupError, match=r"journal .*/journal: "):
        open_journal(tmp_path)


def test_deleted_files_are_noticed_before_an_acknowledgement(tmp_path: Path) -> None:
    """Scenario: somebody deletes the journal's files while it writes.

    Guarantee: no batch is called durable that went into a deleted file; writing then goes on.
    """
    journal = open_journal(tmp_path)
    journal.write(make_batch(4, 1))
    for path in (tmp_path / "journal").glob("*.wal"):
        path.unlink()
    with pytest.raises(StorageUnavailable, match="deleted"):
        journal.write(make_batch(4, 2))
    kept = journal.write(make_batch(4, 3))
    assert [batch.table for batch in open_journal(tmp_path).replay(0)] == [kept.table]
