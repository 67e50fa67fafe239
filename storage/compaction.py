"""Merging small files of one table and hour into one, oldest first, in bounded memory.

Rows are not sorted: flushes come in the order of time, and within a row group order excludes
nothing. Sorting took 370 MB and a third of the CPU.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from storage.files import checksum, means_damage
from storage.lake_tables import TABLES, align
from storage.manifest import StagedFile
from storage.parquet import ROW_GROUP_ROWS, UNREADABLE, Encoded, Facts, ParquetWriter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from config.exporters import CompactionSettings
    from storage.manifest_text import FileEntry, ManifestState

# Files are merged with files of their own size class, so a row is rewritten once a class: by
# default below 256 KiB, 2 MiB and 16 MiB: at most three times, then the file is left alone.
_CLASS_DIVISORS: Final = (64, 8, 1)
_MOST_INPUTS: Final = 128
_OVERSHOOT: Final = 1.25
# What a merge holds in memory, beside one piece: at 750 bytes a row 16,000 rows. A third more costs
# 10 MB; look-ups take as long from there to 24,000 rows (fewer groups, but each read in full).
_GROUP_BYTES: Final = 12 * 2**20
_MERGED_ROWS: Final = 4096
READ_ROWS: Final = 1024


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


def plan_merges(
    files: Iterable[FileEntry],
    settings: CompactionSettings,
    quiet: Collection[str],
) -> list[Merge]:
    """Choose what to merge now: at most one merge for each table, hour and size class.

    In a ``quiet`` partition (no flush for a while) any two small files that fit are merged,
    otherwise only ``min_files`` of one size class, or fewer that fill a file.
    """
    min_files = min(settings.min_files, _MOST_INPUTS)
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
            classes, least = [list(members) for _, members in by_class], min_files
        for members in classes:
            inputs = _fitting(members, least, settings.target_bytes)
            if inputs:
                merges.append(Merge(table, partition, inputs))
    return merges


def merge_files(directory: Path, staging: Path, merge: Merge, facts: Facts) -> StagedFile:
    """Write the merged file and return it, fsynced and not committed.

    Raises ``DamagedInputError`` naming an input that cannot be read, OSError when writing fails.
    """
    try:
        size = _write_merged(directory, staging, merge, facts, Encoded.of(merge.table))
    except pa.ArrowNotImplementedError:
        # a map in a group had to be read with two dictionaries, which Arrow does not know to do
        size = _write_merged(directory, staging, merge, facts, None)
    return StagedFile(staging, merge.table, merge.partition, size, facts)


def _write_merged(
    directory: Path, staging: Path, merge: Merge, facts: Facts, encoded: Encoded | None
) -> int:
    schema = encoded.schema if encoded else None
    writer = ParquetWriter(staging, merge.table, facts.rows, facts.layout, schema)
    oldest_first = sorted(merge.inputs, key=lambda entry: entry.min_start_us)
    pieces = (
        piece
        for entry in oldest_first
        for piece in pieces_of(directory, entry, _MERGED_ROWS, encoded)
    )
    try:
        write_grouped(pieces, writer, _MERGED_ROWS)
        return writer.close(facts)
    except BaseException:
        writer.abort()
        raise


def merged_facts(merge: Merge, state: ManifestState) -> Facts:
    """Return what the merged file will hold, in today's layout whatever its inputs have."""
    inputs = merge.inputs
    return Facts(
        source_id=state.source_id,
        rows=sum(entry.rows for entry in inputs),
        min_start_us=min(entry.min_start_us for entry in inputs),
        max_start_us=max(entry.max_start_us for entry in inputs),
        min_seq=min(entry.min_seq for entry in inputs),
        max_seq=max(entry.max_seq for entry in inputs),
        settled_before=state.settled_through,
        replaces=tuple(entry.path for entry in inputs),
        rules=inputs[0].rules if len({entry.rules for entry in inputs}) == 1 else "",
        layout=state.layout.of_table(merge.table),
    )


def _size_class(entry: FileEntry, settings: CompactionSettings) -> int:
    return sum(entry.bytes < settings.target_bytes // divisor for divisor in _CLASS_DIVISORS)


def _fitting(entries: list[FileEntry], least: int, target_bytes: int) -> tuple[FileEntry, ...]:
    """Return the oldest neighbours that make one file of about the target size.

    As many as fit, at most ``_MOST_INPUTS``. Fewer than ``least`` only if no further one fits and
    what they make is half of the target; none where there are no such neighbours.
    """
    chosen: list[FileEntry] = []
    size = 0
    for entry in sorted(entries, key=lambda entry: entry.min_start_us):
        if size + entry.bytes > target_bytes * _OVERSHOOT or len(chosen) == _MOST_INPUTS:
            if len(chosen) >= least or (len(chosen) > 1 and size >= target_bytes / 2):
                break
            chosen, size = [], 0
        chosen.append(entry)
        size += entry.bytes
    else:
        return tuple(chosen) if len(chosen) >= least else ()
    return tuple(chosen)


def write_grouped(
    pieces: Iterable[pa.Table], writer: ParquetWriter, most_rows: int = READ_ROWS
) -> None:
    """Write rows in row groups of about ``_GROUP_BYTES``; a piece has ``most_rows`` at most."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for piece in pieces:
        waiting.append(piece)
        rows += piece.num_rows
        size += piece.get_total_buffer_size()
        if rows + most_rows > ROW_GROUP_ROWS or size >= _GROUP_BYTES:
            writer.write(pa.concat_tables(waiting).unify_dictionaries())
            waiting.clear()
            rows = size = 0
            # or what each group leaves behind adds up
            pa.default_memory_pool().release_unused()
    if waiting:
        writer.write(pa.concat_tables(waiting).unify_dictionaries())


def pieces_of(
    directory: Path, entry: FileEntry, rows: int, encoded: Encoded | None = None
) -> Iterator[pa.Table]:
    """Yield the rows of a file in its table's schema of today, so many at a time.

    Promoted columns are left out: whoever writes a file makes them of the attributes. ``encoded``
    gives another form of the schema, in which some files cannot be read.

    Raises ``DamagedInputError`` when the file cannot be read, pa.ArrowNotImplementedError when that
    may be for the form alone.
    """
    schema, leaves = (encoded.schema, encoded.leaves) if encoded else (TABLES[entry.table], ())
    path = directory / entry.path
    try:
        with pq.ParquetFile(path, read_dictionary=leaves, page_checksum_verification=True) as file:
            wanted = [name for name in file.schema_arrow.names if name in TABLES[entry.table].names]
            # a group at a time: each has dictionaries of its own
            for group in range(file.num_row_groups):
                for piece in file.iter_batches(rows, [group], wanted, use_threads=False):
                    yield align(pa.Table.from_batches([piece]), schema)
    except UNREADABLE as error:
        if encoded and isinstance(error, pa.ArrowNotImplementedError):
            raise
        raise blame(error, path, entry) from error


def blame(error: Exception, path: Path, entry: FileEntry) -> Exception:
    """Return what to raise for a lake file that cannot be read: damage, or the want of something.

    ``error`` is one of ``UNREADABLE``; what means no damage is an OSError.
    """
    # a wrong byte can ask for more memory than there is, but so can a sound file on a full machine
    if isinstance(error, MemoryError) and entry.crc32 == checksum(path):
        return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    return DamagedInputError(entry) if means_damage(error) else error
