"""Merging small files of one table and hour into one, in time order, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.files import means_damage
from storage.lake_tables import TABLES, TIME_COLUMN, align
from storage.manifest import StagedFile
from storage.parquet import ROW_GROUP_ROWS, Facts, ParquetWriter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from config.exporters import CompactionSettings
    from storage.manifest_text import FileEntry

# Files are merged with files of their own size class, so a row is rewritten once a class: by
# default below 1 MiB, 8 MiB and 64 MiB: at most three times, then the file is left alone.
_CLASS_DIVISORS: Final = (64, 8, 1)
_MOST_INPUTS: Final = 128
_OVERSHOOT: Final = 1.25
# About 1.5 kB a row in memory: what may wait for rows that belong before it.
_MOST_WAITING_ROWS: Final = 2 * ROW_GROUP_ROWS


class DamagedInputError(Exception):
    """A file that was to be merged cannot be read; never leaves storage."""

    def __init__(self, entry: FileEntry) -> None:
        """Say which file it is."""
        super().__init__(entry.path)
        self.entry = entry


@dataclass(frozen=True, slots=True)
class Merge:
    """Files of one table and hour to become one; at least two."""

    table: str
    partition: str
    inputs: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """One row group of an input: what is read at a time."""

    entry: FileEntry
    row_group: int
    min_start_us: int


def plan_merges(
    files: Iterable[FileEntry],
    settings: CompactionSettings,
    quiet: Collection[str],
) -> list[Merge]:
    """Choose what to merge now: at most one merge for each table, hour and size class.

    In a ``quiet`` partition (no flush for a while) all small files become one, otherwise only
    ``min_files`` of one size class or more.
    """
    small = sorted(
        (entry for entry in files if entry.bytes < settings.target_bytes),
        key=lambda entry: (entry.table, entry.partition, _size_class(entry, settings)),
    )
    merges = []
    by_hour = groupby(small, key=lambda entry: (entry.table, entry.partition))
    for (table, partition), group in by_hour:  # over hours
        entries = list(group)
        if partition in quiet:
            classes, least = [entries], 2
        else:
            by_class = groupby(entries, key=lambda entry: _size_class(entry, settings))
            classes, least = [list(members) for _, members in by_class], settings.min_files
        for members in classes:
            inputs = _fitting(members, int(settings.target_bytes * _OVERSHOOT))
            if len(inputs) >= least:
                merges.append(Merge(table, partition, inputs))
    return merges


def merge_files(directory: Path, staging: Path, merge: Merge, facts: Facts) -> StagedFile:
    """Write the merged file, sorted by start time, and return it, fsynced and not committed.

    Sorting looks ``_MOST_WAITING_ROWS`` ahead: rows further out of order than that stay so.
    Raises ``DamagedInputError`` naming an input that cannot be read, OSError when writing fails.
    """
    writer = ParquetWriter(staging, merge.table, facts)
    try:
        for rows in _sorted_row_groups(directory, merge):
            writer.write(rows)
        size = writer.close()
    except BaseException:
        writer.abort()
        raise
    return StagedFile(staging, merge.table, merge.partition, size, facts)


def merged_facts(merge: Merge, source_id: str, settled_before: int) -> Facts:
    """Return what the merged file will hold."""
    inputs = merge.inputs
    return Facts(
        source_id=source_id,
        rows=sum(entry.rows for entry in inputs),
        min_start_us=min(entry.min_start_us for entry in inputs),
        max_start_us=max(entry.max_start_us for entry in inputs),
        min_seq=min(entry.min_seq for entry in inputs),
        max_seq=max(entry.max_seq for entry in inputs),
        settled_before=settled_before,
        replaces=tuple(entry.path for entry in inputs),
    )


def _size_class(entry: FileEntry, settings: CompactionSettings) -> int:
    return sum(entry.bytes < settings.target_bytes // divisor for divisor in _CLASS_DIVISORS)


def _fitting(entries: list[FileEntry], most_bytes: int) -> tuple[FileEntry, ...]:
    """Return the oldest entries that together stay below the size, at most ``_MOST_INPUTS``."""
    chosen: list[FileEntry] = []
    size = 0
    for entry in sorted(entries, key=lambda entry: entry.min_start_us)[:_MOST_INPUTS]:
        if size + entry.bytes > most_bytes:
            break
        chosen.append(entry)
        size += entry.bytes
    return tuple(chosen)


def _sorted_row_groups(directory: Path, merge: Merge) -> Iterator[pa.Table]:
    """Yield full row groups in time order (the last one may be short).

    A row may be written once no run that is still unread can hold an earlier one.
    """
    schema, time = TABLES[merge.table], TIME_COLUMN[merge.table]
    runs = [run for entry in merge.inputs for run in _runs(directory, entry, time)]
    runs.sort(key=lambda run: run.min_start_us)
    waiting = schema.empty_table()
    for position, run in enumerate(runs):  # over row groups
        waiting = pa.concat_tables([waiting, _read(directory, run, schema)])
        is_last = position + 1 == len(runs)
        if waiting.num_rows < ROW_GROUP_ROWS and not is_last:
            continue
        waiting = waiting.combine_chunks()
        starts = waiting.column(time).cast(pa.int64())
        order = pc.sort_indices(starts)
        if is_last:
            ready = waiting.num_rows
        else:
            earlier = pc.less(starts, runs[position + 1].min_start_us)
            ready = pc.sum(earlier).as_py() or 0
            ready = max(ready, waiting.num_rows - _MOST_WAITING_ROWS)
            ready -= ready % ROW_GROUP_ROWS
        for start in range(0, ready, ROW_GROUP_ROWS):
            yield waiting.take(order.slice(start, min(ROW_GROUP_ROWS, ready - start)))
        if ready:
            waiting = waiting.take(order.slice(ready))


def _runs(directory: Path, entry: FileEntry, time: str) -> list[_Run]:
    try:
        with pq.ParquetFile(directory / entry.path) as file:
            metadata = file.metadata
            column = metadata.schema.names.index(time)
            runs = []
            for group in range(metadata.num_row_groups):
                statistics = metadata.row_group(group).column(column).statistics
                has_bounds = statistics is not None and statistics.has_min_max
                least = statistics.min_raw if has_bounds else entry.min_start_us
                runs.append(_Run(entry, group, int(least)))
            return runs
    except (OSError, ValueError) as error:
        raise _blame(error, entry) from error


def _read(directory: Path, run: _Run, schema: pa.Schema) -> pa.Table:
    path = directory / run.entry.path
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return align(file.read_row_group(run.row_group, use_threads=False), schema)
    except (OSError, ValueError) as error:
        raise _blame(error, run.entry) from error


def _blame(error: Exception, entry: FileEntry) -> Exception:
    return DamagedInputError(entry) if means_damage(error) else error
