"""Retention by service: which files still hold rows whose service has had its time.

A file holds many services, so its rows go one service after another: by rewriting it without them,
or with the file when nothing else is in it. What a file holds is read once from its own column, and
a file never changes: one without expired rows is not looked at again before the next service's
time comes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector.model import schema as s
from storage.compaction import blame
from storage.parquet import UNREADABLE
from storage.retention import newest_s

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from config.exporters import RetentionSettings
    from storage.manifest_text import FileEntry


@dataclass(frozen=True, slots=True)
class ExpiredRows:
    """A file with rows to delete: those of ``services``; or, of the other way, all but those."""

    entry: FileEntry
    services: pa.Array
    is_all_but: bool
    is_whole_file: bool

    def keep(self, rows: pa.Table) -> pa.Table:
        """Return the rows that stay, of either table."""
        is_listed = pc.is_in(rows.column(s.SERVICE_NAME), value_set=self.services)
        return rows.filter(is_listed if self.is_all_but else pc.invert(is_listed))


@dataclass(frozen=True, slots=True)
class _Contents:
    """Which services of the configuration a file holds, and whether it holds any other."""

    named: frozenset[str]
    has_others: bool


class ServiceRetention:
    """Plans deletions by service; remembers what files hold. For one thread at a time."""

    def __init__(self, lake: Path, settings: RetentionSettings) -> None:
        """Plan for the lake directory."""
        self._lake = lake
        self._ages = {one.service: one.max_age or math.inf for one in settings.services}
        self._other_age = settings.max_age or math.inf
        self._contents: dict[str, _Contents] = {}

    def plan(
        self, files: Collection[FileEntry], now_s: float, settled_through: int
    ) -> Iterator[ExpiredRows]:
        """Yield the files that hold expired rows, oldest hour first, each as its turn comes.

        Files with batches that are not settled are left out. Raises ``DamagedInputError`` naming a
        file that cannot be understood, OSError when one cannot be reached.
        """
        if not self._ages:
            return
        there = {entry.path for entry in files}
        self._contents = {path: one for path, one in self._contents.items() if path in there}
        settled = (entry for entry in files if entry.max_seq <= settled_through)
        for entry in sorted(settled, key=lambda entry: entry.partition):  # over files
            age = now_s - newest_s(entry, now_s)
            expired = frozenset(name for name, most in self._ages.items() if age >= most)
            are_others_expired = age >= self._other_age
            if not expired and not are_others_expired:
                continue
            contents = self._contents_of(entry)
            is_hit = bool(contents.named & expired) or (are_others_expired and contents.has_others)
            if is_hit:
                listed = self._ages.keys() - expired if are_others_expired else expired
                is_whole_file = contents.named <= expired and (
                    are_others_expired or not contents.has_others
                )
                names = pa.array(sorted(listed), pa.string())
                yield ExpiredRows(entry, names, are_others_expired, is_whole_file)

    def _contents_of(self, entry: FileEntry) -> _Contents:
        known = self._contents.get(entry.path)
        if known is None:
            known = self._contents[entry.path] = self._read(entry)
        return known

    def _read(self, entry: FileEntry) -> _Contents:
        try:
            with pq.ParquetFile(self._lake / entry.path, page_checksum_verification=True) as file:
                column = file.read([s.SERVICE_NAME], use_threads=False).column(s.SERVICE_NAME)
        except UNREADABLE as error:
            raise blame(error, self._lake / entry.path, entry) from error
        services = set(column.unique().to_pylist())
        named = services & self._ages.keys()
        return _Contents(frozenset(named), services != named)
