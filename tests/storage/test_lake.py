"""The lake: what is appended is found by readers, in the right files, once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector.model import schema as s
from collector.model import telemetry as t
from collector.model.batch import SpanBatch
from collector.model.errors import StorageUnavailable
from config.exporters import RetentionSettings
from storage.environment import Environment
from storage.lake_tables import SPAN_EVENTS, SPAN_EVENTS_SCHEMA, SPANS, SPANS_SCHEMA
from tests.storage.batches import BASE_US, make_batch, start_at
from tests.storage.store import Store, ids_of, lake_settings

if TYPE_CHECKING:
    from tests.storage.conftest import Opener

HOUR_US = 3_600_000_000


def sorted_by_span(table: pa.Table) -> pa.Table:
    """Return the rows in one order, in one chunk."""
    return table.sort_by(s.SPAN_ID).combine_chunks()


def test_spans_and_events_are_stored_as_they_are(open_store: Opener) -> None:
    """Scenario: three batches with every kind of column, flushed twice.

    Guarantee: each column of each row reads back the same; events are rows of their own with
    their span's ids, position and exception columns; the buffer and the journal are empty.
    """
    store = open_store()
    batches = [store.store(make_batch(200, seed)) for seed in range(2)]
    assert store.lake.pending_rows == 400
    assert store.lake.flush()
    batches.append(store.store(make_batch(200, 2)))
    assert store.lake.flush()
    spans = store.rows(SPANS)
    assert spans.schema.equals(SPANS_SCHEMA)
    expected = pa.concat_tables([batch.table for batch in batches]).drop_columns([s.EVENTS])
    assert sorted_by_span(spans).equals(sorted_by_span(expected))
    events = store.rows(SPAN_EVENTS)
    assert events.schema.equals(SPAN_EVENTS_SCHEMA)
    assert events.num_rows == 3 * 40
    assert set(events.column("exception_type").to_pylist()) == {"ValueError"}
    assert set(events.column("event_idx").to_pylist()) == {0}
    assert store.lake.pending_rows == store.lake.pending_bytes == 0
    assert store.journal.size_bytes == 0
    assert store.telemetry.sums[t.STORED_SPANS.name,] == 600
    assert store.telemetry.readers[t.LAKE_FILES.name]() == 4


def test_events_keep_position_time_and_span(open_store: Opener) -> None:
    """Scenario: spans with two, no, null and one event. Guarantee: rows say which of which."""
    store = open_store()
    batch = make_batch(4, 1)

    def event(nano: int, name: str) -> dict[str, object]:
        return {
            "time_unix_nano": nano,
            "name": name,
            "attributes": [("k", name)],
            "non_string_types": [],
            "dropped_attributes_count": 2,
        }

    lists = [[event(1_999, "a"), event(-1, "b")], [], None, [event(2**63 - 1, "c")]]
    store.store(batch.replace({s.EVENTS: pa.array(lists, pa.list_(s.EVENT))}))
    assert store.lake.flush()
    rows = store.rows(SPAN_EVENTS).sort_by(s.NAME).to_pydict()
    ids = batch.column(s.SPAN_ID).to_pylist()
    assert rows[s.SPAN_ID] == [ids[0], ids[0], ids[3]]
    assert rows["event_idx"] == [0, 1, 0]
    assert rows["time_unix_nano"] == [1_999, -1, 2**63 - 1]
    micros = store.rows(SPAN_EVENTS).sort_by(s.NAME).column("time").cast(pa.int64()).to_pylist()
    assert micros == [1, -1, (2**63 - 1) // 1000]
    assert rows[s.ATTRIBUTES] == [[("k", "a")], [("k", "b")], [("k", "c")]]
    assert rows["exception_type"] == [None] * 3


def test_hours_and_nonsense_times(open_store: Opener) -> None:
    """Scenario: starts in two hours, at 0, before 1970, in the far future, at the end of int64.

    Guarantee: honest times go to their hour, others to the hour of arrival; values are kept.
    """
    store = open_store()
    starts = [BASE_US, BASE_US + HOUR_US, 0, -5, BASE_US + 48 * HOUR_US, 2**63 // 1000 - 1]
    store.store(start_at(make_batch(6, 1), starts))
    assert store.lake.flush()
    files = {
        f["path"].rsplit("/", 1)[0]: f for f in store.manifest()["files"] if "spans/" in f["path"]
    }
    assert files.keys() == {
        "spans/date=2023-11-14/hour=22",
        "spans/date=2023-11-14/hour=23",
    }
    assert files["spans/date=2023-11-14/hour=22"]["rows"] == 5
    assert files["spans/date=2023-11-14/hour=22"]["min_start_us"] == -5
    stored = store.rows().column(s.START_TIME).cast(pa.int64()).to_pylist()
    assert sorted(stored) == sorted(starts)


def test_made_up_times_do_not_make_many_files(open_store: Opener) -> None:
    """Scenario: a batch whose spans start in 300 different hours.

    Guarantee: a flush writes to at most nine hours, and loses none of the spans.
    """
    store = open_store()
    batch = start_at(make_batch(300, 1), [BASE_US - i * HOUR_US for i in range(300)])
    store.store(batch)
    assert store.lake.flush()
    partitions = {f["path"].rsplit("/", 1)[0] for f in store.manifest()["files"]}
    assert len(partitions) <= 18
    assert store.span_ids() == ids_of(batch)


def test_files_are_written_for_lookups(open_store: Opener) -> None:
    """Scenario: one flush. Guarantee: Bloom filter on trace_id, no dictionary on ids, statistics
    on flat columns and none on maps, zstd where it pays, row groups of at most 32k rows.
    """  # noqa: D205 - the guarantee needs two lines
    store = open_store()
    store.store(make_batch(2000, 1))
    store.lake.flush()
    (path,) = [f["path"] for f in store.manifest()["files"] if f["table"] == SPANS]
    metadata = pq.ParquetFile(store.path / "lake" / path).metadata
    columns = {
        metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i)
        for i in range(metadata.num_columns)
    }
    assert columns["trace_id"].bloom_filter_length
    assert not columns["trace_id"].has_dictionary_page
    assert not columns["duration_ns"].has_dictionary_page
    assert columns["service_name"].has_dictionary_page
    assert columns["start_time"].statistics.has_min_max
    assert columns["attributes.key_value.value"].statistics is None
    assert columns["attributes.key_value.value"].compression == "ZSTD"
    assert columns["trace_id"].compression == "ZSTD"
    assert columns["service_name"].compression == "SNAPPY"
    assert b"ARROW:schema" not in (metadata.metadata or {})


def test_settled_batches_without_rows_free_the_journal(open_store: Opener) -> None:
    """Scenario: everything in the journal was sampled away.

    Guarantee: a flush records it and the journal is emptied; numbers are not reused afterwards.
    """
    store = open_store()
    for seed in range(3):
        store.journal.write(make_batch(10, seed))
    store.lake.append(SpanBatch.empty(), 3)
    assert store.lake.flush()
    assert store.manifest()["settled_through"] == store.lake.settled_through == 3
    assert store.journal.size_bytes == 0
    store.abandon()
    again = open_store()
    assert again.restored == 0
    assert again.journal.write(make_batch(1)).column(s.BATCH_SEQ).to_pylist() == [4]


def test_a_restart_brings_back_only_what_is_not_stored(open_store: Opener) -> None:
    """Scenario: half of the traces of three batches are flushed, the others are undecided when
    the process dies; files were compacted in between.

    Guarantee: the next start replays exactly the undecided half.
    """  # noqa: D205 - the scenario needs two lines
    store = open_store()
    is_kept = np.arange(50) % 2 == 0
    batches = []
    for seed in range(5):
        batch = store.journal.write(make_batch(50, seed))
        store.lake.append(batch.keep(is_kept), 1 if seed else 0)
        if seed == 0:
            store.lake.append(batch.keep(~is_kept), 1)
        batches.append(batch)
        store.lake.flush()
    store.lake.maintain()
    store.abandon()
    again = open_store()
    assert again.restored == 4 * 25
    assert again.lake.flush()
    assert again.span_ids() == ids_of(*batches)


def test_a_start_says_again_what_is_settled(open_store: Opener) -> None:
    """Scenario: killed between a commit and the truncation behind it; restarted while the lake's
    disk refuses what makes a manifest last, and again when it does not.

    Guarantees: a journal of settled batches only is emptied by a start, not by the next batch,
    which it may be too full for; but not before a power loss leaves the manifest as it is.
    """  # noqa: D205 - the scenario needs two lines
    store = open_store()
    store.lake._on_settled = lambda _seq: None
    store.store(make_batch(5, 1))
    assert store.lake.flush()
    store.abandon()
    obstacle = store.path / "lake/_manifest.copy.json.tmp"
    obstacle.mkdir()
    store = open_store()
    store.lake.start()
    assert store.journal.size_bytes > 0
    obstacle.rmdir()
    assert store.lake.flush()
    assert store.journal.size_bytes == 0
    store.lake._on_settled = lambda _seq: None
    store.store(make_batch(5, 2))
    assert store.lake.close()
    store.journal.close()
    store = open_store()
    assert store.journal.size_bytes > 0
    store.lake.start()
    assert store.journal.size_bytes == 0
    store.lake.close()


def test_capacity_is_bounded(open_store: Opener) -> None:
    """Scenario: more waits than ``max_pending_bytes``. Guarantee: refused until flushed."""
    store = open_store(settings=lake_settings(max_pending_bytes=300_000))
    store.lake.check_capacity()
    for seed in range(3):
        store.store(make_batch(200, seed))
    with pytest.raises(StorageUnavailable, match="max_pending_bytes"):
        store.lake.check_capacity()
    assert store.lake.flush()
    store.lake.check_capacity()


def test_the_background_threads_flush_and_end(open_store: Opener) -> None:
    """Scenario: started with a short interval; then closed with rows in the buffer.

    Guarantee: rows appear without a call, the last ones at closing; no thread remains.
    """
    flushed = threading.Event()

    def reached(point: str) -> None:
        if point == "lake.flush_committed":
            flushed.set()

    threads = threading.active_count()
    store = open_store(
        settings=lake_settings(flush_interval=0.01),
        environment=Environment(reached=reached),
    )
    store.lake.start()
    first = store.store(make_batch(20, 1))
    assert flushed.wait(10)
    second = store.store(make_batch(20, 2))
    assert store.lake.close()
    assert store.span_ids() == ids_of(first, second)
    assert threading.active_count() == threads


def test_retention_by_age_and_by_bytes(open_store: Opener) -> None:
    """Scenario: spans of five hours, a limit of age that two exceed, then a limit of bytes.

    Guarantee: the oldest go, counted by reason, events with their spans; files leave the disk
    after the grace only.
    """
    hours = [BASE_US + i * HOUR_US for i in range(5)]
    now = [hours[4] / 1e6]
    ticks = [0.0]
    environment = Environment(now=lambda: now[0], monotonic=lambda: ticks[0])
    settings = lake_settings(
        unlink_grace=60.0, retention=RetentionSettings(max_age=2.5 * 3600, max_bytes=0)
    )
    store = open_store(settings=settings, environment=environment)
    for seed, hour in enumerate(hours):
        store.store(make_batch(30, seed, hour))
        store.lake.flush()
    store.lake.maintain()
    lake = store.path / "lake"
    left = sorted({f["path"].split("hour=")[1][:2] for f in store.manifest()["files"]})
    assert left == ["00", "01", "02", "23"]
    assert store.telemetry.sums[t.LAKE_EXPIRED_SPANS.name, "age"] == 30
    assert (lake / "spans/date=2023-11-14/hour=22").is_dir()
    ticks[0] += 61
    store.lake.maintain()
    assert not (lake / "spans/date=2023-11-14/hour=22").exists()
    store.abandon()
    size = sum(f["bytes"] for f in store.manifest()["files"])
    settings = lake_settings(retention=RetentionSettings(max_age=0, max_bytes=size // 2))
    again = open_store(settings=settings, environment=environment)
    again.lake.maintain()
    assert sum(f["bytes"] for f in again.manifest()["files"]) <= size // 2
    assert {f["path"].split("hour=")[1][:2] for f in again.manifest()["files"]} <= {"01", "02"}
    assert again.telemetry.sums[t.LAKE_EXPIRED_SPANS.name, "bytes"] == 120 - again.rows().num_rows


def test_store_is_the_real_wiring(open_store: Opener) -> None:
    """Scenario: journal and lake opened anew. Guarantee: the source id stays the same."""
    store: Store = open_store()
    source = store.lake.source_id
    store.abandon()
    assert open_store().lake.source_id == source


@pytest.mark.parametrize(("most_waiting", "begun"), [(100, [2, 4]), (4, [1, 3])])
def test_a_flush_begins_when_enough_waits(
    open_store: Opener, most_waiting: int, begun: list[int]
) -> None:
    """Scenario: batches come while the lake's clock stands still, and after it went on.

    Guarantee: within a moment of the last flush it takes twice ``flush_bytes`` to begin another,
    later ``flush_bytes`` are enough; the interval need not be over. No more than half of what may
    wait at most is waited for.
    """
    ticks = [0.0]
    size = make_batch(100, 1).table.get_total_buffer_size()
    store = open_store(
        settings=lake_settings(
            flush_interval=600, flush_bytes=size // 2 * 3, max_pending_bytes=size * most_waiting
        ),
        environment=Environment(monotonic=lambda: ticks[0]),
    )
    store.lake.start()
    flushes = []
    for seed, tick in enumerate((0.0, 0.0, 0.0, 0.0, 5.0)):
        ticks[0] = tick
        store.store(make_batch(100, seed))
        for _ in range(200 if seed in begun else 20):
            if not store.lake.pending_rows:
                flushes.append(seed)
                break
            threading.Event().wait(0.01)
    assert flushes == begun
