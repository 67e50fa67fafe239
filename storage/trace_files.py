"""Which files may hold a trace, asked of their Bloom filters before a look-up is planned.

DuckDB asks them while it runs, which takes 12 us a row group (of 10 M spans 610), and plans for all
files. An open session remembers where each filter is, 16 bytes a row group, and reads of each the
32 bytes that tell: 60 us a file of 61 row groups. A file that is new to it takes 6 ms.
"""

from __future__ import annotations

import glob
import os
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pyarrow.parquet as pq
import xxhash
from duckdb.func import FunctionNullHandling

from collector.model import schema as s
from storage.lake_tables import TABLES
from storage.parquet import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

FUNCTION: Final = "files_with_trace"
"""The SQL function: which of these files may hold the trace of this id; in doubt, all."""

_FILE: Final = re.compile(r"(.+)(/date=[\d-]+/hour=\d\d/[\da-f-]+\.parquet)")
_NEW_FILES_A_SWEEP: Final = 1000
# DuckDB asks all that a query does when it makes it ready, and again when it runs it: for spans of
# two layouts, events and log records four questions
_LAST_ANSWERS: Final = 4
# Parquet's split-block Bloom filter: 256-bit blocks of eight words, a bit in each word
_BLOCK_BYTES: Final = 32
_SALT: Final = np.array(
    (
        0x47B6137B,
        0x44974D91,
        0x8824AD5B,
        0xA2B7289D,
        0x705495C7,
        0x2DF1424B,
        0x9EFC4947,
        0x5C6BFB31,
    ),
    np.uint32,
)
# The Thrift header is the size, then that it is split-block, of xxHash and not compressed.
_SIZE_FIELD: Final = b"\x15"
_KIND: Final = b"\x1c\x1c\0\0" * 3 + b"\0"
_MOST_HEADER_BYTES: Final = 1 + 5 + len(_KIND)


class TraceFiles:
    """Where the Bloom filters of lakes' files are, found out when they are first needed."""

    def __init__(self, lakes: Sequence[str]) -> None:
        """Read files of these lakes (absolute directories) only, whatever files are named."""
        # as SQL lists them: what has a meaning in a pattern is escaped there
        self._tables = {
            f"{glob.escape(lake)}/{table}": f"{lake}/{table}" for lake in lakes for table in TABLES
        }
        self._known: dict[str, _Filters | None] = {}
        self._last: deque[tuple[list[str], str, list[str]]] = deque(maxlen=_LAST_ANSWERS)
        self._new_files = 0

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make ``FUNCTION`` known to a connection, which must be closed in the end."""
        connection.create_function(
            FUNCTION,
            self.narrowed,
            ["VARCHAR[]", "VARCHAR"],
            "VARCHAR[]",
            null_handling=FunctionNullHandling.SPECIAL,
        )

    def narrowed(self, files: list[str] | None, trace_id: str | None) -> list[str] | None:
        """Return those of some files that may hold a trace, at least one: it tells the columns.

        A file stays that is none of a lake's, that cannot be read or that has no filter; all stay
        when the id is not hexadecimal.
        """
        try:
            hashed = xxhash.xxh64_intdigest(bytes.fromhex(trace_id or ""))
        except ValueError:
            return files
        if not files or not trace_id:
            return files
        for last_files, last_id, found in tuple(self._last):
            if last_id == trace_id and last_files == files:
                return found
        asked = _Asked.of(hashed)
        found = [path for path in files if self._may_hold(path, asked)] or files[:1]
        self._last.append((files, trace_id, found))
        return found

    def _may_hold(self, path: str, asked: _Asked) -> bool:
        found = _FILE.fullmatch(path)
        if found is None or found[1] not in self._tables:
            return True
        place = self._tables[found[1]] + found[2]
        try:
            if place not in self._known:
                self._known[place] = self._read(place)
            filters = self._known[place]
            return filters is None or filters.may_hold(place, asked)
        except UNREADABLE:
            return True  # whoever reads the rows says what is wrong with the file

    def _read(self, place: str) -> _Filters | None:
        self._new_files += 1
        if self._new_files % _NEW_FILES_A_SWEEP == 0:
            self._known = {one: it for one, it in self._known.items() if Path(one).exists()}
        return _Filters.of(Path(place))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a value's hash means in every filter: where its block is, and the bits to be set."""

    high: int
    bits: int

    @classmethod
    def of(cls, hashed: int) -> Self:
        words = np.uint32(1) << (np.uint32(hashed & 0xFFFFFFFF) * _SALT >> np.uint32(27))
        return cls(hashed >> 32, int.from_bytes(words.astype("<u4").tobytes(), "little"))


@dataclass(frozen=True, slots=True)
class _Filters:
    """Where the blocks of each row group's filter begin in a file, and how many they are."""

    places: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Find them, None if a row group has none; raises what ``UNREADABLE`` lists."""
        footer = pq.read_metadata(path)
        leaf = footer.schema.names.index(s.TRACE_ID)
        places = []
        with path.open("rb", buffering=0) as file:
            for number in range(footer.num_row_groups):
                column = footer.row_group(number).column(leaf)
                start, size = column.bloom_filter_offset, column.bloom_filter_length
                if not start or not size:
                    return None
                header = os.pread(file.fileno(), _MOST_HEADER_BYTES, start)
                end = header.find(_KIND) + len(_KIND)
                blocks, rest = divmod(size - end, _BLOCK_BYTES)
                if not header.startswith(_SIZE_FIELD) or end < len(_KIND) or rest:
                    return None
                places.append((start + end, blocks))
        return cls(tuple(places))

    def may_hold(self, path: str, asked: _Asked) -> bool:
        """Tell whether the value may be in any row group of the file; raises OSError."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            for start, blocks in self.places:  # over row groups
                place = start + (asked.high * blocks >> 32) * _BLOCK_BYTES
                block = os.pread(descriptor, _BLOCK_BYTES, place)
                is_cut = len(block) < _BLOCK_BYTES
                if is_cut or int.from_bytes(block, "little") & asked.bits == asked.bits:
                    return True
        finally:
            os.close(descriptor)
        return False
