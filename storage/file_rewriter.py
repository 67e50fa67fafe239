"""A new file in the place of a committed one: other rows or values, and today's columns."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from storage import environment as env
from storage.compaction import pieces_of, write_grouped
from storage.lake_tables import TIME_COLUMN
from storage.manifest import StagedFile
from storage.manifest_recovery import STAGING
from storage.parquet import Facts, ParquetWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from storage.environment import Environment
    from storage.manifest import Manifest
    from storage.manifest_text import FileEntry
    from storage.replaced_files import ReplacedFiles


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows there were and are."""

    before: int
    after: int


class FileRewriter:
    """Rewrites files of one lake, each with a commit of its own; for one thread at a time."""

    def __init__(
        self,
        lake: Path,
        manifest: Manifest,
        replaced: ReplacedFiles,
        environment: Environment,
    ) -> None:
        """Rewrite files of this manifest; replaced ones go to ``replaced``."""
        self._lake = lake
        self._manifest = manifest
        self._replaced = replaced
        self._environment = environment

    def rewrite(
        self,
        entry: FileEntry,
        apply: Callable[[pa.Table], pa.Table],
        rules: str,
        rows_at_a_time: int,
    ) -> Rows:
        """Put a new file in the place of this one, or nothing if no row is left.

        ``apply`` is given rows of ``TABLES``' columns and returns those to write, which all meet
        the redaction ``rules`` (empty: not all the same). Raises ``DamagedInputError`` when the
        file cannot be read, OSError or pa.ArrowException when writing fails; then it stays.
        """
        kept = _Kept(entry, apply, pieces_of(self._lake, entry, rows_at_a_time))
        path = self._lake / STAGING / f"{secrets.token_hex(8)}.parquet"
        layout = self._manifest.state.layout.of_table(entry.table)
        writer = ParquetWriter(path, entry.table, entry.rows, layout)
        try:
            write_grouped(kept, writer)
            facts = self._facts(entry, rules, kept)
            size = writer.close(facts)
        except BaseException:
            writer.abort()
            raise
        staged = StagedFile(path, entry.table, entry.partition, size, facts)
        self._environment.reached(env.REWRITE_WRITTEN)
        is_durable = self._manifest.commit(add=[staged], remove={entry.path})
        self._replaced.add([entry.path], is_durable=is_durable)
        if not kept.rows:
            self._drop_empty()
        self._environment.reached(env.REWRITE_COMMITTED)
        return Rows(entry.rows, kept.rows)

    def _drop_empty(self) -> None:
        """Take files without rows out of the manifest; one that cannot be is harmless there.

        As long as the file is there that one replaced, it tells a rebuild what became of it.
        """
        empty = [one.path for one in self._manifest.state.files.values() if not one.rows]
        with suppress(OSError):
            self._replaced.add(empty, is_durable=self._manifest.commit(remove=empty))

    def _facts(self, entry: FileEntry, rules: str, kept: _Kept) -> Facts:
        state = self._manifest.state
        return Facts(
            source_id=state.source_id,
            rows=kept.rows,
            min_start_us=kept.times.low,
            max_start_us=kept.times.high,
            min_seq=kept.seqs.low,
            max_seq=kept.seqs.high,
            settled_before=state.settled_through,
            replaces=(entry.path,),
            rules=rules,
            layout=state.layout.of_table(entry.table),
        )


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The least and the greatest number of a column so far; 0 while there was none."""

    low: int = 0
    high: int = 0
    is_known: bool = False

    def with_column(self, column: pa.ChunkedArray) -> _Bounds:
        found = pc.min_max(column.cast(pa.int64())).as_py()
        if found["min"] is None:
            return self
        if not self.is_known:
            return _Bounds(found["min"], found["max"], is_known=True)
        return replace(self, low=min(self.low, found["min"]), high=max(self.high, found["max"]))


class _Kept:
    """What is left of a file's pieces, and what it adds up to; iterable once."""

    def __init__(
        self,
        entry: FileEntry,
        apply: Callable[[pa.Table], pa.Table],
        pieces: Iterator[pa.Table],
    ) -> None:
        self._time = TIME_COLUMN[entry.table]
        self._apply = apply
        self._pieces = pieces
        self.rows = 0
        self.times = self.seqs = _Bounds()

    def __iter__(self) -> Iterator[pa.Table]:
        for piece in self._pieces:
            changed = self._apply(piece)
            if changed.num_rows:
                self.rows += changed.num_rows
                self.times = self.times.with_column(changed.column(self._time))
                self.seqs = self.seqs.with_column(changed.column(s.BATCH_SEQ))
                yield changed
