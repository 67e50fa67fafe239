"""The lake of a signal: takes sampled rows, and makes them Parquet files that the manifest lists.

``flush`` is the whole way: buffer, Parquet, manifest, and only then may the journal forget.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from collector.model import schema as s
from collector.model import telemetry as t
from collector.model.errors import StartupError, StorageUnavailable
from collector.model.signals import TRACES
from storage import environment as env
from storage.committed_rows import CommittedRows
from storage.environment import Environment
from storage.files import DirectoryLock, cause, remove_quietly
from storage.lake_maintenance import Maintenance
from storage.lake_tables import TABLES_OF, TIME_COLUMN, Part, split
from storage.layout import promoted_columns
from storage.manifest import StagedFile
from storage.manifest_recovery import STAGING, Opened, open_manifest, set_file_aside
from storage.parquet import Facts, ParquetWriter, rules_of
from storage.repeating import Repeating
from storage.rewrite import LakeFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from collector.model.batch import Batch, BatchT
    from collector.model.signals import Signal
    from collector.model.telemetry import Telemetry
    from config.exporters import LakeSettings
    from storage.erased import Erased
    from storage.manifest_text import FileEntry

_log = structlog.get_logger()
# How often a manifest is written only to say that batches are settled of which nothing was kept.
_SETTLED_ONLY_S: Final = 5.0
_MOMENT_S: Final = 0.5


class Lake:
    """A ``Store``. ``append`` from the pipeline's thread, the rest from any.

    Holds the lock on its data directory from construction until ``close``.
    """

    def __init__(  # noqa: PLR0913 - the last one is for tests only
        self,
        path: Path,
        settings: LakeSettings,
        telemetry: Telemetry,
        on_settled: Callable[[int], None],
        *,
        signal: Signal = TRACES,
        environment: Environment | None = None,
    ) -> None:
        """Open a signal's lake in ``path / "lake"``, putting aside what is damaged.

        ``on_settled`` is called with a batch number once everything up to it is durably decided
        and stored; it must not raise. Raises ``StartupError`` naming the directory and the
        reason when it cannot be used, or the pid of the process that uses it.
        """
        self._environment = environment or Environment()
        self._directory = path / "lake"
        self._settings = settings
        self._telemetry = telemetry
        self._signal = signal
        self._exporter = f"lake{signal.suffix}"
        self._on_settled = on_settled
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._buffer: list[pa.Table] = []
        self._forgotten: list[tuple[int, Erased]] = []
        self._pending_rows = self._pending_bytes = 0
        self._has_failed = False
        self._is_trimmed = True
        self._owner = DirectoryLock(path)
        try:
            opened = self._open()
        except BaseException:
            self._owner.close()
            raise
        self._manifest = opened.manifest
        self._manifest.owner = self._owner
        self._settled = self._manifest.state.settled_through
        self._durably_settled = self._settled if opened.is_durable else 0
        self._last_commit = self._environment.monotonic()
        self._maintenance = Maintenance(
            self._directory,
            settings,
            telemetry,
            opened.manifest,
            self._environment,
            expired=signal.metrics.expired,
            seen_s=opened.updated_s,
        )
        self._maintenance.replaced.add(opened.replaced, is_durable=opened.is_durable)
        self._flusher = Repeating(
            f"lake-flush{signal.suffix}", settings.flush_interval, self._tick, self._count_failure
        )
        self._threads = (self._flusher, self._maintenance.thread())
        telemetry.sample(signal.metrics.lake_files, lambda: len(self._files()))
        telemetry.sample(
            signal.metrics.lake_bytes, lambda: sum(entry.bytes for entry in self._files())
        )

    @property
    def owner(self) -> DirectoryLock:
        """The right to write to the data directory."""
        return self._owner

    @property
    def source_id(self) -> str:
        """The lake's random name, the same over restarts."""
        return self._manifest.state.source_id

    @property
    def items_table(self) -> str:
        """The table that has a row for each row appended."""
        return TABLES_OF[self._signal.batch][0]

    @property
    def settled_through(self) -> int:
        """Every batch up to this number is decided and its kept rows are in the lake."""
        return self._manifest.state.settled_through

    @property
    def next_seq(self) -> int:
        """The least batch number that the lake has seen nothing of: the journal's ``first_seq``."""
        highest = max((entry.max_seq for entry in self._files()), default=0)
        return max(highest, self.settled_through) + 1

    @property
    def pending_rows(self) -> int:
        """Rows appended and not yet committed."""
        return self._pending_rows

    @property
    def pending_bytes(self) -> int:
        """Bytes in memory of the rows appended and not yet committed."""
        return self._pending_bytes

    def drop_committed(self, batch: BatchT) -> BatchT:
        """Return the rows of a replayed batch that were not in the lake when it was opened."""
        return self._committed.drop_from(batch)

    def append(self, batch: Batch, settled_through: int) -> None:
        """Take kept rows for the next flush; see ``Store``. Rows must come from the journal."""
        with self._lock:
            batch = self._remembered(batch)
            if len(batch):
                self._buffer.append(batch.table)
                self._pending_rows += len(batch)
                self._pending_bytes += batch.table.get_total_buffer_size()
            self._settled = max(self._settled, settled_through)
        if self._has_enough() and not self._has_failed:
            self._flusher.wake()

    def forget(self, erased: Erased, through: int) -> int:
        """Drop rows from what waits for a flush, and later from what comes.

        That lasts until every batch up to ``through`` is settled: samplers may hold some of them.
        Returns how many rows were dropped at once.
        """
        with self._flushing, self._lock:
            self._forgotten.append((through, erased))
            before = self._pending_rows
            buffered, self._buffer = self._buffer, []
            self._pending_rows = self._pending_bytes = 0
            for table in buffered:
                kept = self._remembered(self._signal.batch(table)).table
                self._buffer.append(kept)
                self._pending_rows += kept.num_rows
                self._pending_bytes += kept.get_total_buffer_size()
            return before - self._pending_rows

    @contextmanager
    def rewriting(self) -> Iterator[LakeFiles]:
        """Hold off expiry and merges, and give the files to be rewritten; flushes go on."""
        with self._maintenance.paused() as replaced:
            yield LakeFiles(self._directory, self._manifest, replaced, self._environment)

    def check_capacity(self) -> None:
        """Raise ``StorageUnavailable`` when ``max_pending_bytes`` wait to be flushed."""
        if self._pending_bytes >= self._settings.max_pending_bytes:
            msg = "lake is behind: exporters.lake.max_pending_bytes is reached"
            raise StorageUnavailable(msg)

    def start(self) -> None:
        """Begin to flush, compact and expire in the background.

        Says again what is settled: the last process may have died between its commit and that, and
        a journal full of settled batches, which takes no new ones, would never hear of it.
        """
        self._on_settled(self._durably_settled)
        for thread in self._threads:
            thread.start()

    def close(self) -> bool:
        """Stop the background work, flush, and give up the directory; return as ``flush`` does."""
        for thread in self._threads:
            thread.stop()
        try:
            return self.flush()
        finally:
            self._owner.close()

    def flush(self) -> bool:
        """Commit everything appended so far; False when the disk refused (it is kept in memory)."""
        with self._flushing:
            with self._lock:
                tables, settled = self._buffer, self._settled
                rows, size = self._pending_rows, self._pending_bytes
                self._buffer = []
            if not tables and settled <= self._durably_settled:
                return True
            try:
                is_durable = self._commit(tables, settled)
            except BaseException as error:
                with self._lock:
                    self._buffer = tables + self._buffer
                if not isinstance(error, (OSError, pa.ArrowException)):
                    raise
                self._report_failure(error, rows)
                return False
            with self._lock:
                self._pending_rows -= rows
                self._pending_bytes -= size
            self._report_success(rows)
            self._environment.reached(env.FLUSH_COMMITTED)
            if is_durable:
                self._durably_settled = settled
                self._on_settled(settled)
            return True

    def maintain(self) -> None:
        """Expire, compact and unlink now, as the background thread does from time to time."""
        self._maintenance.run()

    def _remembered(self, batch: Batch) -> Batch:
        """Return the batch without rows that are to be forgotten."""
        if not self._forgotten:
            return batch
        settled = self.settled_through
        self._forgotten = [one for one in self._forgotten if one[0] > settled]
        before = len(batch)
        for _, erased in self._forgotten:  # over erasures
            batch = erased.batch(batch)
        self._telemetry.add(self._signal.metrics.dropped, before - len(batch), "erased")
        return batch

    def _open(self) -> Opened:
        try:
            opened = open_manifest(
                self._directory,
                self._environment,
                self._telemetry,
                promoted_columns(self._settings.promote),
                TABLES_OF[self._signal.batch],
            )
            state = opened.manifest.state
            damaged: list[FileEntry] = []
            self._committed = CommittedRows(
                self._directory, state.files.values(), state.settled_through, damaged.append
            )
            if damaged:
                opened.manifest.commit(remove={entry.path for entry in damaged})
        except OSError as error:
            msg = f"lake {self._directory}: {cause(error)}"
            raise StartupError(msg) from error
        for entry in damaged:
            set_file_aside(self._directory, entry, self._telemetry)
        return opened

    def _has_enough(self) -> bool:
        """Tell whether to flush before the interval is over: not twice within a moment for little.

        A flush costs 8 ms whatever its size: of 7,700 spans it takes 4.7 us each, of 15,000 3.7.
        What may wait must not come near to what makes senders wait.
        """
        enough = self._settings.flush_bytes
        if self._environment.monotonic() - self._last_commit < _MOMENT_S:
            enough = max(enough, min(2 * enough, self._settings.max_pending_bytes // 2))
        return self._pending_bytes >= enough

    def _files(self) -> list[FileEntry]:
        return list(self._manifest.state.files.values())

    def _tick(self) -> None:
        """Flush if there are rows; if batches were only settled, not more often than need be.

        What flushes needed for a moment is handed back when there are no rows any more.
        """
        waited = self._environment.monotonic() - self._last_commit
        if self._buffer or (self._settled > self._durably_settled and waited >= _SETTLED_ONLY_S):
            self.flush()
            self._is_trimmed = False
        elif not self._is_trimmed:
            pa.default_memory_pool().release_unused()
            self._is_trimmed = True

    def _commit(self, tables: list[pa.Table], settled: int) -> bool:
        started = self._environment.monotonic()
        staged: list[StagedFile] = []
        try:
            if tables:
                rows = pa.concat_tables(tables)
                rules = rules_of(rows.column(s.REDACTION_VERSION))
                parts = list(split(rows, int(self._environment.now() * 1e6)))
                for part in parts:  # over files
                    staged.append(self._stage(part, len(parts), rules))
                    self._maintenance.note_flush(part.partition)
                self._environment.reached(env.PARQUET_WRITTEN)
            is_durable = self._manifest.commit(add=staged, settled_through=settled)
        except BaseException:
            remove_quietly([file.path for file in staged])
            raise
        self._last_commit = self._environment.monotonic()
        self._telemetry.observe(t.LAKE_FLUSH_SECONDS, self._last_commit - started)
        return is_durable

    def _stage(self, part: Part, parts: int, rules: str) -> StagedFile:
        state = self._manifest.state
        times = pc.min_max(part.rows.column(TIME_COLUMN[part.table]).cast(pa.int64()))
        seqs = pc.min_max(part.rows.column(s.BATCH_SEQ))
        facts = Facts(
            source_id=state.source_id,
            rows=part.rows.num_rows,
            min_start_us=times["min"].as_py() or 0,
            max_start_us=times["max"].as_py() or 0,
            min_seq=seqs["min"].as_py() or 0,
            max_seq=seqs["max"].as_py() or 0,
            settled_before=state.settled_through,
            parts=parts,
            rules=rules,
            layout=state.layout.of_table(part.table),
        )
        path = self._directory / STAGING / f"{secrets.token_hex(8)}.parquet"
        writer = ParquetWriter(path, part.table, facts.rows, facts.layout)
        try:
            writer.write(part.rows)
            size = writer.close(facts)
        except BaseException:
            writer.abort()
            raise
        return StagedFile(path, part.table, part.partition, size, facts)

    def _report_success(self, rows: int) -> None:
        metrics = self._signal.metrics
        self._telemetry.add(metrics.stored, rows)
        self._telemetry.add(metrics.sent, rows, self._exporter)
        if self._has_failed:
            self._has_failed = False
            _log.info("lake flush succeeds again", rows=rows)

    def _report_failure(self, error: OSError | pa.ArrowException, rows: int) -> None:
        self._telemetry.add(self._signal.metrics.send_failed, rows, self._exporter)
        self._telemetry.add(t.LAKE_FAILURES, 1, "flush")
        if not self._has_failed:
            self._has_failed = True
            _log.error("lake flush fails", directory=str(self._directory), cause=cause(error))

    def _count_failure(self) -> None:
        self._telemetry.add(t.LAKE_FAILURES, 1, "flush")
