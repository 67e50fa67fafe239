"""Compaction: the same rows in fewer files, in bounded memory, while others read."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector.model import schema as s
from collector.model import telemetry as t
from config.exporters import CompactionSettings, RetentionSettings
from storage import compaction
from storage import environment as env
from storage.compaction import plan_merges
from storage.environment import Environment
from storage.lake_tables import SPANS, SPANS_SCHEMA
from storage.manifest_recovery import STAGING
from storage.manifest_text import FileEntry
from storage.parquet import ROW_GROUP_ROWS
from tests.storage.batches import BASE_US, make_batch
from tests.storage.store import lake_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from config.exporters import LakeSettings
    from storage.parquet import Encoded
    from tests.storage.conftest import Opener
    from tests.storage.store import Store

_pieces_of = compaction.pieces_of
HOUR = "date=2023-11-14/hour=22"


def entry(number: int, size: int, partition: str = HOUR) -> FileEntry:
    """Return a file of a size, the number giving its age."""
    path = f"spans/{partition}/{number:012d}-00000000.parquet"
    return FileEntry(path, SPANS, size // 100, size, number, number, number, number)


def count_small(files: Iterable[FileEntry], settings: CompactionSettings) -> int:
    """Return how many files may still be merged."""
    return sum(one.bytes < settings.target_bytes for one in files)


def test_an_hour_of_flushes_stays_few_files_and_few_rewrites() -> None:
    """Scenario: an hour with a flush every 1.5 s and compaction every 30 s, at three rates.

    Guarantee: never 100 files below the target size, in the end hardly more files than the bytes
    make of it, and a byte is rewritten at most three times on average.
    """
    settings = CompactionSettings()
    for flush_bytes in (30_000, 300_000, 3_000_000):
        files: dict[str, FileEntry] = {}
        rewritten = number = most_small = 0
        for _round in range(120):
            for _ in range(20):
                number += 1
                new = entry(number, flush_bytes)
                files[new.path] = new
            most_small = max(most_small, count_small(files.values(), settings))
            while merges := plan_merges(files.values(), settings, quiet=()):
                for merge in merges:
                    size = sum(old.bytes for old in merge.inputs)
                    rewritten += size
                    for old in merge.inputs:
                        del files[old.path]
                    number += 1
                    new = entry(number, size)
                    files[new.path] = new
        assert most_small < 100
        assert len(files) <= 120 * 20 * flush_bytes / settings.target_bytes + settings.min_files
        limit = 3 if flush_bytes > 100_000 else 5
        assert rewritten <= limit * 120 * 20 * flush_bytes
        (final,) = plan_merges(files.values(), settings, quiet={HOUR}) or (None,)
        assert final is None or len(final.inputs) >= 2


def _not_implemented_if_encoded(
    directory: Path, entry: FileEntry, rows: int, encoded: Encoded | None = None
) -> Iterator[pa.Table]:
    for number, piece in enumerate(_pieces_of(directory, entry, rows, encoded)):
        if encoded and number:
            raise pa.ArrowNotImplementedError
        yield piece


def test_large_files_and_other_hours_are_left_alone() -> None:
    """Scenario: many large files; small ones in different hours. Guarantee: nothing to merge."""
    settings = CompactionSettings(min_files=2)
    large = [entry(i, settings.target_bytes) for i in range(9)]
    assert plan_merges(large, settings, quiet={HOUR}) == []
    apart = [entry(i, 1000, f"date=2023-11-14/hour={i:02d}") for i in range(9)]
    assert plan_merges(apart, settings, quiet={e.partition for e in apart}) == []


def test_what_fits_is_merged_without_waiting_for_more() -> None:
    """Scenario: fewer files than `min_files` make one of the target size; an hour is being written.

    Guarantee: they are merged at once, as many as fit, if they make half of it; fewer wait.
    """
    settings = CompactionSettings(min_files=8, target_bytes=1000)
    four = [entry(i, 300) for i in range(6)]
    (merge,) = plan_merges(four, settings, quiet=())
    assert [one.path for one in merge.inputs] == [one.path for one in four[:4]]
    assert plan_merges(four[:3], settings, quiet=()) == []
    half = [entry(0, 300), entry(1, 250), entry(2, 800)]
    (merge,) = plan_merges(half, settings, quiet=())
    assert merge.inputs == tuple(half[:2])
    less = [entry(0, 300), entry(1, 190), entry(2, 800)]
    assert plan_merges(less, settings, quiet=()) == []


def test_more_files_than_a_merge_takes_are_not_waited_for() -> None:
    """Scenario: `min_files` is more than one merge reads; an hour is being written.

    Guarantee: the oldest are merged, as many as one merge reads, no sooner.
    """
    settings = CompactionSettings(min_files=1000)
    files = [entry(i, 1000) for i in range(300)]
    (merge,) = plan_merges(files, settings, quiet=())
    assert merge.inputs == tuple(files[:128])
    assert plan_merges(files[:127], settings, quiet=()) == []


def test_a_file_with_no_room_beside_it_does_not_hold_up_the_rest() -> None:
    """Scenario: a quiet hour's oldest file is nearly of the target size, the next does not fit.

    Guarantee: the files behind it become one.
    """
    settings = CompactionSettings(target_bytes=1000)
    files = [entry(0, 950), entry(1, 400), *(entry(i, 100) for i in range(2, 6))]
    (merge,) = plan_merges(files, settings, quiet={HOUR})
    assert [one.path for one in merge.inputs] == [one.path for one in files[1:]]


def test_merged_rows_are_the_same(open_store: Opener) -> None:
    """Scenario: overlapping files of more rows than a row group holds.

    Guarantee: one file a table, every row once and unchanged, the oldest file's first; row groups
    of some thousand rows each.
    """
    store = open_store()
    batches = []
    for seed in range(9):
        batches.append(store.store(make_batch(4000, seed, BASE_US - (seed % 4) * 300_000)))
        store.lake.flush()
    before = {table: store.rows(table) for table in ("spans", "span_events")}
    store.lake.maintain()
    assert len(store.manifest()["files"]) == 2
    for table, rows in before.items():
        merged = store.rows(table)
        keys = [(s.SPAN_ID, "ascending")]
        assert merged.sort_by(keys).combine_chunks().equals(rows.sort_by(keys).combine_chunks())
        first = merged.slice(0, rows.num_rows // 9).column(s.BATCH_SEQ)
        assert first.unique().to_pylist() == [4]
    assert store.telemetry.sums[t.LAKE_COMPACTIONS.name,] == 2
    (spans,) = [f for f in store.manifest()["files"] if f["table"] == "spans"]
    assert (spans["rows"], spans["min_seq"], spans["max_seq"]) == (36_000, 1, 9)
    metadata = pq.read_metadata(store.path / "lake" / spans["path"])
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert all(4096 < rows <= ROW_GROUP_ROWS for rows in groups[:-1])


@pytest.mark.parametrize("maps_in_two", [False, True])
def test_merged_files_are_merged_again(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch, *, maps_in_two: bool
) -> None:
    """Scenario: files of several row groups, with more values than a Parquet dictionary holds.

    Once as files that Arrow cannot read with the strings left in dictionaries.
    Guarantee: one file a table, every row unchanged, nothing taken for damage.
    """
    monkeypatch.setattr(compaction, "_GROUP_BYTES", 2**20)
    if maps_in_two:
        monkeypatch.setattr(compaction, "pieces_of", _not_implemented_if_encoded)
    settings = lake_settings(compaction=CompactionSettings(min_files=4, target_bytes=2**32))
    store = open_store(settings=settings)
    for seed in range(8):
        batch = make_batch(3000, seed)
        hosts = pa.array([f"host-{seed}-{row}-{'x' * 900}" for row in range(3000)])
        ones = pa.array(range(3001), pa.int32())
        keys = pa.repeat("host.name", 3000)
        resources = pa.MapArray.from_arrays(ones, keys, hosts)
        store.store(batch.replace({s.RESOURCE_ATTRIBUTES: resources}))
        store.lake.flush()
        if seed == 3:
            store.lake.maintain()
    before = {table: store.rows(table) for table in ("spans", "span_events")}
    store.lake.maintain()
    assert len(store.manifest()["files"]) == 2
    assert store.telemetry.sums[t.LAKE_COMPACTIONS.name,] == 4
    assert not store.telemetry.sums.get((t.LAKE_QUARANTINED.name,))
    for table, rows in before.items():
        keys = [(s.SPAN_ID, "ascending")]
        merged = store.rows(table).sort_by(keys).combine_chunks()
        assert merged.equals(rows.sort_by(keys).combine_chunks())


@dataclass
class Endless:
    """Flushes four batches whenever files were merged, 25 times, and looks what there is then."""

    store: Store | None = None
    on_disk: list[int] = field(default_factory=list)
    listed_rows: list[int] = field(default_factory=list)

    def run(self, open_store: Opener, settings: LakeSettings) -> Store:
        """Maintain such a lake once; return the store."""
        self.store = open_store(settings=settings, environment=Environment(reached=self._reached))
        self._flush_four()
        self.store.lake.maintain()
        assert len(self.on_disk) == 25
        return self.store

    def _reached(self, point: str) -> None:
        if point == env.MERGE_COMMITTED and len(self.on_disk) < 25:
            assert self.store is not None
            files = self.store.path.glob("lake/spans/date=*/*/*.parquet")
            self.on_disk.append(sum(1 for _ in files))
            listed = self.store.lake._files()
            self.listed_rows.append(sum(entry.rows for entry in listed if entry.table == SPANS))
            self._flush_four()

    def _flush_four(self) -> None:
        assert self.store is not None
        for seed in range(4 * len(self.on_disk), 4 * len(self.on_disk) + 4):
            self.store.store(make_batch(5, seed))
            self.store.lake.flush()


def test_what_was_merged_goes_though_there_is_always_more_to_merge(open_store: Opener) -> None:
    """Scenario: while files are merged, as many new ones come in, 25 times over.

    Guarantee: replaced files do not wait on the disk for the end of it.
    """
    endless = Endless()
    store = endless.run(open_store, lake_settings())
    assert max(endless.on_disk) < 30
    assert len(store.rows()) == 5 * 4 * 26


def test_retention_has_its_turn_though_there_is_always_more_to_merge(open_store: Opener) -> None:
    """Scenario: the same with a limit on bytes that some rounds reach.

    Guarantee: the oldest rows go while others come, not when all is merged.
    """
    endless = Endless()
    retention = RetentionSettings(max_age=0, max_bytes=200_000)
    endless.run(open_store, lake_settings(retention=retention))
    assert endless.listed_rows != sorted(endless.listed_rows)


def test_what_was_merged_goes_when_no_merge_is_possible(open_store: Opener) -> None:
    """Scenario: the grace of merged files is over when writing fails, as on a full disk.

    Guarantee: they are unlinked all the same; the failure is counted, and later all is merged.
    """
    clock = [0.0]
    store = open_store(
        settings=lake_settings(unlink_grace=60.0),
        environment=Environment(monotonic=lambda: clock[0]),
    )

    def flush_four() -> set[Path]:
        before = files()
        for _ in range(4):
            store.store(make_batch(5, len(files())))
            store.lake.flush()
        return files() - before

    def files() -> set[Path]:
        return set(store.path.glob("lake/span*/date=*/*/*.parquet"))

    merged = flush_four()
    store.lake.maintain()
    assert files() > merged
    flush_four()
    clock[0] = 61.0
    staging = store.path / "lake" / STAGING
    staging.rmdir()
    staging.write_bytes(b"")
    store.lake.maintain()
    assert not files() & merged
    assert store.telemetry.sums[t.LAKE_FAILURES.name, "maintenance"] == 1
    staging.unlink()
    staging.mkdir()
    store.lake.maintain()
    assert len(store.manifest()["spans"]) == 2
    assert len(store.rows()) == 5 * 8


def test_want_of_memory_is_no_damage(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: there is no memory to read a sound file, then there is.

    Guarantee: it is not set aside; the failure is counted and the merge is made up for.
    """
    store = open_store()
    for seed in range(4):
        store.store(make_batch(5, seed))
        store.lake.flush()

    def refuse(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetFile, "iter_batches", refuse)
        store.lake.maintain()
    assert len(store.manifest()["spans"]) == 5
    assert store.telemetry.sums[t.LAKE_FAILURES.name, "maintenance"] == 1
    store.lake.maintain()
    assert len(store.manifest()["spans"]) == 2
    assert store.telemetry.sums[t.LAKE_QUARANTINED.name,] == 0
    assert len(store.rows()) == 20


def test_what_was_merged_stays_until_no_power_loss_brings_it_back(open_store: Opener) -> None:
    """Scenario: the manifest of a merge is written, but fails to become durable.

    Guarantee: what was merged stays until a later manifest is durable, and goes then by itself.
    """
    fails = [False]

    def fail(point: str) -> None:
        if fails[0] and point == env.MANIFEST_COPIED:
            raise OSError(errno.EIO, "cannot be made durable")

    store = open_store(settings=lake_settings(), environment=Environment(reached=fail))

    def flush_four() -> set[Path]:
        for _ in range(4):
            store.store(make_batch(5, len(files())))
            store.lake.flush()
        return files()

    def files() -> set[Path]:
        return set(store.path.glob("lake/span*/date=*/*/*.parquet"))

    merged = flush_four()
    fails[0] = True
    store.lake.maintain()
    assert files() > merged
    assert len(store.manifest()["spans"]) == 2
    fails[0] = False
    flush_four()
    store.lake.maintain()
    assert not files() & merged
    assert len(store.rows()) == 5 * 8


def test_files_of_an_older_schema_are_merged(open_store: Opener) -> None:
    """Scenario: a file of four lacks a column that this version has.

    Guarantee: merged all the same, null in its rows, the other columns unchanged.
    """
    store = open_store()
    for seed in range(4):
        store.store(make_batch(20, seed))
        store.lake.flush()
    before = store.rows().drop_columns([s.DURATION_NS])
    state = store.lake._manifest.state
    old = next(e for e in state.files.values() if e.table == SPANS)
    path = store.path / "lake" / old.path
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns([s.DURATION_NS]), path)
    store.lake.maintain()
    rows = store.rows()
    assert rows.schema.equals(SPANS_SCHEMA)
    assert rows.column(s.DURATION_NS).null_count == 20
    order = [(s.SPAN_ID, "ascending")]
    merged = rows.drop_columns([s.DURATION_NS]).sort_by(order).combine_chunks()
    assert merged.equals(before.sort_by(order).combine_chunks())
