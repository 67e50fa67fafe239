"""Whether one lake file is what the manifest says: every byte, page and row of it is read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector.model import schema as s
from storage.files import cause, checksum, means_damage
from storage.lake_tables import (
    HOUR_US,
    IDENTITY,
    ITEM_TABLES,
    LOGS,
    MOST_HOURS,
    TABLES,
    TIME_COLUMN,
    own_hours,
    partition_end_s,
)
from storage.layout import UNKNOWN
from storage.manifest_recovery import OUR_FILE
from storage.parquet import UNREADABLE, Facts, facts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from storage.manifest_text import FileEntry

Kind = Literal["missing", "unreachable", "path", "content", "entry", "hour", "columns", "foreign"]
"""What a problem is of: ``content`` cannot be trusted, ``entry`` is a manifest that misquotes a
sound file, ``hour`` is rows in the wrong partition, ``columns`` are more than this version knows,
``foreign`` is a lake file of another lake."""

_READ_ROWS: Final = 4096
_MAGIC: Final = b"PAR1"
_LEAST_BYTES: Final = 12
_MOST_NAMED: Final = 3
_NAME_CHARS: Final = 40
_UNPRINTABLE: Final = re.compile(r"[^\w.\-]")
_BOUNDS: Final = ("min_start_us", "max_start_us", "min_seq", "max_seq")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file; ``what`` holds no stored value."""

    kind: Kind
    what: str


@dataclass(slots=True)
class FileCheck:
    """What was found in a file; ``facts`` are those its rows bear out, None if they do not."""

    entry: FileEntry
    problems: list[Problem] = field(default_factory=list)
    facts: Facts | None = None
    crc32: int | None = None
    span_keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def has(self, kind: Kind) -> bool:
        """Tell whether there is a problem of this kind."""
        return any(problem.kind == kind for problem in self.problems)

    def note(self, kind: Kind, what: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(kind, what))


@dataclass(slots=True)
class _Rows:
    """What the rows of a file add up to."""

    rows: int = 0
    times: list[int] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    strangers: int = 0
    has_null_time: bool = False
    keys: list[NDArray[np.uint64]] = field(default_factory=list)


def check_file(lake: Path, entry: FileEntry, source_id: str | None) -> FileCheck:
    """Read a file of the lake directory from end to end; never raises for what is in it.

    ``source_id`` is the lake's, None when it is not known.
    ``span_keys`` of the result are the span ids of its rows, as numbers; none of log records, whose
    spans need not be stored.
    """
    check = FileCheck(entry)
    if not _is_our_path(entry):
        check.note("path", "is no name of a file of this table")
        return check
    path = lake / entry.path
    try:
        _check_bytes(path, check)
        if not check.problems:
            _check_parquet(path, check, source_id)
    except FileNotFoundError:
        check.problems = [Problem("missing", "is not there")]
    except UNREADABLE as error:
        if means_damage(error):
            check.note("content", f"cannot be read: {cause(error)}")
        else:
            check.note("unreachable", f"cannot be reached: {cause(error)}")
    return check


def _is_our_path(entry: FileEntry) -> bool:
    try:
        partition_end_s(entry.partition)
    except (ValueError, IndexError):
        return False
    is_of_table = entry.path.startswith(f"{entry.table}/") and entry.table in TABLES
    return is_of_table and OUR_FILE.fullmatch(entry.path) is not None


def _check_bytes(path: Path, check: FileCheck) -> None:
    entry = check.entry
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
        size = file.seek(0, 2)
        file.seek(max(size - len(_MAGIC), 0))
        tail = file.read()
    if size != entry.bytes:
        found = "is empty" if not size else f"has {size:,} bytes"
        check.note("content", f"{found}, {entry.bytes:,} are in the manifest")
    elif size < _LEAST_BYTES or head != _MAGIC:
        check.note("content", "does not begin as Parquet")
    elif tail != _MAGIC:
        check.note("content", "does not end as Parquet")
    else:
        check.crc32 = checksum(path)
        if entry.crc32 is not None and check.crc32 != entry.crc32:
            check.note("content", f"bytes differ from their checksum{_damaged_pages(path)}")


def _check_parquet(path: Path, check: FileCheck, source_id: str | None) -> None:
    entry = check.entry
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            facts = _facts(file, check)
            if facts is None:
                return
            _check_columns(file.schema_arrow, facts, check)
            if check.has("content"):
                return
            found = _read(file, entry, facts)
    except UNREADABLE as error:
        if not means_damage(error) or isinstance(error, FileNotFoundError):
            raise
        check.note("content", f"a footer or page cannot be read{_damaged_pages(path)}")
        return
    _compare(found, facts, check)
    if check.has("content"):
        return
    check.facts = facts
    check.span_keys = np.unique(np.concatenate([np.empty(0, np.uint64), *found.keys]))
    if found.strangers:
        check.note("hour", f"{found.strangers:,} rows belong to another hour")
    if source_id is not None and facts.source_id != source_id:
        check.note("foreign", "was written by another lake")


def _facts(file: pq.ParquetFile, check: FileCheck) -> Facts | None:
    try:
        return facts_of(file.metadata)
    except ValueError as error:
        known = str(error) in {"row count", "checksum of the facts"}
        what = "its footer contradicts itself" if known else "is no file of a lake: no facts in it"
        check.note("content", what)
        return None


def _check_columns(found: pa.Schema, facts: Facts, check: FileCheck) -> None:
    table = check.entry.table
    expected = facts.layout.arrow(table)
    needed = {s.TRACE_ID, s.SPAN_ID, s.BATCH_SEQ, TIME_COLUMN[table], IDENTITY[table]}
    needed |= {one.column for one in facts.layout.columns}
    unknown = [name for name in found.names if name not in expected.names]
    wrong = [
        field.name
        for field in found
        if field.name in expected.names and field.type != expected.field(field.name).type
    ]
    if len(set(found.names)) != len(found.names):
        check.note("content", "has two columns of one name")
    if wrong:
        check.note("content", f"columns of another type: {_named(wrong)}")
    if lacking := sorted(needed - set(found.names)):
        check.note("content", f"lacks columns: {_named(lacking)}")
    if unknown:
        check.note("columns", f"columns this version does not know: {_named(unknown)}")


def _named(names: list[str]) -> str:
    shown = [_UNPRINTABLE.sub("?", name)[:_NAME_CHARS] for name in names[:_MOST_NAMED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _read(file: pq.ParquetFile, entry: FileEntry, facts: Facts) -> _Rows:
    """Read all columns, a few thousand rows at a time, and add up what must hold."""
    found = _Rows()
    hour = int(partition_end_s(entry.partition)) * 1_000_000 // HOUR_US - 1
    # further hours of one flush go to the hour of the flush, and a merge forgets which those were
    is_mixed = bool(facts.replaces) or facts.parts >= MOST_HOURS
    for piece in _pieces(file):
        found.rows += piece.num_rows
        times = piece.column(TIME_COLUMN[entry.table])
        found.has_null_time = found.has_null_time or times.null_count > 0
        found.times += _bounds(times.cast(pa.int64()))
        found.seqs += _bounds(piece.column(s.BATCH_SEQ))
        ids = piece.column(s.SPAN_ID)
        if entry.table != LOGS and ids.null_count == 0:
            found.keys.append(np.unique(_keys(ids)))
        if entry.table in ITEM_TABLES and s.INGEST_TIME in piece.schema.names:
            found.strangers += _strangers(piece, times, hour, is_mixed=is_mixed)
    return found


def _pieces(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    yield from file.iter_batches(_READ_ROWS, use_threads=False)


def _bounds(values: pa.Array) -> list[int]:
    found: dict[str, Any] = pc.min_max(values).as_py()
    return [] if found["min"] is None else [found["min"], found["max"]]


def _keys(ids: pa.Array) -> NDArray[np.uint64]:
    width = ids.type.byte_width
    data = np.frombuffer(ids.buffers()[1], np.uint8)
    return data[ids.offset * width : (ids.offset + len(ids)) * width].view(np.uint64)


def _strangers(rows: pa.RecordBatch, start: pa.Array, hour: int, *, is_mixed: bool) -> int:
    """Count the rows that ``split`` would not have put into this hour."""
    ingest = rows.column(s.INGEST_TIME)
    is_known = pc.and_(start.is_valid(), ingest.is_valid()).to_numpy(zero_copy_only=False)
    start_us = start.cast(pa.int64()).fill_null(0).to_numpy()
    ingest_us = ingest.cast(pa.int64()).fill_null(0).to_numpy()
    is_stranger = is_known & (own_hours(start_us, ingest_us) != hour)
    if is_mixed:
        is_stranger &= ingest_us >= (hour + 1) * HOUR_US
    return int(is_stranger.sum())


def _compare(found: _Rows, facts: Facts, check: FileCheck) -> None:
    entry = check.entry
    actual = {
        "min_start_us": min(found.times, default=0),
        "max_start_us": max(found.times, default=0),
        "min_seq": min(found.seqs, default=0),
        "max_seq": max(found.seqs, default=0),
    }
    if found.rows != facts.rows:
        check.note("content", f"holds {found.rows:,} rows, its footer says {facts.rows:,}")
    if entry.rows != facts.rows:
        check.note("entry", f"holds {facts.rows:,} rows, the manifest says {entry.rows:,}")
    if entry.layout not in {UNKNOWN, facts.layout}:
        check.note("entry", "has other columns than the manifest says")
    for name in _BOUNDS:
        value, said = actual[name], getattr(facts, name)
        # a row without a time counts as 0 in a merge
        is_right = said == value or (found.has_null_time and said == 0)
        if not is_right:
            check.note("content", f"{name} is {value}, its footer says {said}")
        if getattr(entry, name) != said:
            check.note("entry", f"{name} is {said}, the manifest says {getattr(entry, name)}")


def _damaged_pages(path: Path) -> str:
    """Return in which columns a page cannot be read, for a message; empty if all can."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            bad = [name for name in names if not _is_readable(file, name)]
    except UNREADABLE:
        return ": the footer is damaged"
    return f": damaged pages of {_named(bad)}" if bad else ""


def _is_readable(file: pq.ParquetFile, name: str) -> bool:
    try:
        for _ in file.iter_batches(_READ_ROWS, columns=[name], use_threads=False):
            pass
    except UNREADABLE:
        return False
    return True
