"""Which files may hold a trace, told by their Bloom filters, which an open session keeps in memory.

DuckDB reads the filter of each row group anew for every look-up (12 us each, 610 for 10 M spans),
and has to plan for all files. Here all filters of a file are asked at once, in 15 us, before the
look-up is planned. That takes 3 KB a row group, and 5 ms for a file when it is first seen.
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pyarrow.parquet as pq
import xxhash

from collector.model import schema as s
from storage.lake_tables import TABLES
from storage.parquet import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    from numpy.typing import NDArray

FUNCTION: Final = "files_with_trace"
"""The SQL function: which of these files may hold the trace of this id; in doubt, all."""

_MOST_BYTES: Final = 256 * 2**20  # of 1.4 G spans; further files are all looked into
_FILE: Final = re.compile(r"(.+)(/date=[\d-]+/hour=\d\d/[\da-f-]+\.parquet)")
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
    """The Bloom filters of lakes' files, read when they are first needed."""

    def __init__(self, lakes: Sequence[str]) -> None:
        """Read files of these lakes (absolute directories) only, whatever files are named."""
        # as SQL lists them: what has a meaning in a pattern is escaped there
        self._tables = {
            f"{glob.escape(lake)}/{table}": f"{lake}/{table}" for lake in lakes for table in TABLES
        }
        self._known: dict[str, dict[str, _Filters]] = {place: {} for place in self._tables}

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make ``FUNCTION`` known to a connection, which must be closed in the end."""
        connection.create_function(FUNCTION, self.narrowed, ["VARCHAR[]", "VARCHAR"], "VARCHAR[]")

    def narrowed(self, files: list[str], trace_id: str) -> list[str]:
        """Return those of some files that may hold a trace, at least one: it tells the columns.

        A file stays that is none of a lake's, that cannot be read or that has no filter; all stay
        when the id is not hexadecimal.
        """
        try:
            hashed = xxhash.xxh64_intdigest(bytes.fromhex(trace_id))
        except ValueError:
            return files
        return [path for path in files if self._may_hold(path, hashed, files)] or files[:1]

    def _may_hold(self, path: str, hashed: int, files: list[str]) -> bool:
        found = _FILE.fullmatch(path)
        if found is None or found[1] not in self._known:
            return True
        known = self._known[found[1]]
        if path not in known:
            for stale in known.keys() - set(files):
                del known[stale]
            filters = self._read(self._tables[found[1]] + found[2])
            if filters is None:
                return True
            known[path] = filters
        return known[path].may_hold(hashed)

    def _read(self, path: str) -> _Filters | None:
        size = sum(one.blocks.nbytes for known in self._known.values() for one in known.values())
        try:
            return _Filters.of(Path(path)) if size < _MOST_BYTES else None
        except UNREADABLE:
            return None  # whoever reads the rows says what is wrong with the file


@dataclass(frozen=True, slots=True)
class _Filters:
    """Of every row group of a file: its blocks behind those of the one before."""

    blocks: NDArray[np.uint32]
    first: NDArray[np.uint64]
    counts: NDArray[np.uint64]

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Read them, None if a row group has none; raises what ``UNREADABLE`` lists."""
        footer = pq.read_metadata(path)
        leaf = footer.schema.names.index(s.TRACE_ID)
        filters = []
        with path.open("rb") as file:
            for number in range(footer.num_row_groups):
                column = footer.row_group(number).column(leaf)
                if not column.bloom_filter_offset or not column.bloom_filter_length:
                    return None
                file.seek(column.bloom_filter_offset)
                filters.append(_blocks(file.read(column.bloom_filter_length)))
        counts = np.array([len(blocks) for blocks in filters], np.uint64)
        blocks = np.concatenate(filters) if filters else np.empty((0, len(_SALT)), np.uint32)
        return cls(blocks, np.cumsum(counts) - counts, counts)

    def may_hold(self, hashed: int) -> bool:
        """Tell whether a value of this hash may be in any row group."""
        high, low = np.uint64(hashed >> 32), np.uint32(hashed & 0xFFFFFFFF)
        bits = np.uint32(1) << (low * _SALT >> np.uint32(27))
        words = self.blocks[self.first + (high * self.counts >> np.uint64(32))]
        return bool((words & bits == bits).all(axis=1).any())


def _blocks(stored: bytes) -> NDArray[np.uint32]:
    """Return the words of a stored filter, a row for each block; raises ValueError."""
    end = stored.find(_KIND, 0, _MOST_HEADER_BYTES) + len(_KIND)
    if not stored.startswith(_SIZE_FIELD) or end < len(_KIND) or (len(stored) - end) % _BLOCK_BYTES:
        raise ValueError("not a split-block Bloom filter")
    return np.frombuffer(stored, "<u4", offset=end).reshape(-1, len(_SALT))
