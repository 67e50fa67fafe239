"""Rewrites what is stored while no sidecar runs: Parquet files, journal, and nothing in between.

One file at a time, each with a commit of its own, so a run that is killed loses the file it was
at and the next one goes on behind it. Readers see a file's old rows or its new ones.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from collector.model.errors import ClearspanError, StartupError
from collector.model.signals import LOGS as SIGNAL_OF_LOGS
from collector.model.signals import TRACES
from storage import environment as env
from storage.compaction import DamagedInputError, pieces_of
from storage.data_directory import QUARANTINE, has_logs, log_data, quarantined_files
from storage.environment import Environment
from storage.file_rewriter import FileRewriter, Rows
from storage.files import DirectoryLock, cause, replace_file, sync_directory
from storage.journal_frame import FrameError, decode, encode, fingerprint, kind_of
from storage.journal_recovery import recover
from storage.journal_segment import Segment, scan
from storage.lake_tables import LOGS, SPANS, TABLES_OF, rows_of
from storage.manifest import MANIFEST
from storage.manifest_recovery import open_manifest
from storage.manifest_text import empty_path
from storage.parquet import UNREADABLE
from storage.replaced_files import ReplacedFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Self

    from collector.model.batch import Batch
    from collector.model.signals import Signal
    from collector.model.telemetry import Telemetry
    from storage.layout import Layout
    from storage.manifest import Manifest
    from storage.manifest_text import FileEntry

# A batch costs 3 ms whatever its size; at 1.5 kB a row this is 12 MiB.
_ROWS_AT_A_TIME: Final = 8192


class Change(Protocol):
    """What is done to rows; it may change values and drop rows, never their order."""

    rules: str | None
    """The redaction rules that rows meet afterwards; None if they meet what they met before."""

    def spans(self, rows: pa.Table) -> pa.Table:
        """Return rows of the table ``spans`` as they shall be."""

    def events(self, rows: pa.Table) -> pa.Table:
        """Return rows of the table ``span_events`` as they shall be."""

    def logs(self, rows: pa.Table) -> pa.Table:
        """Return rows of the table ``logs`` as they shall be."""

    def batch(self, batch: Batch) -> Batch:
        """Return journalled rows as they shall be."""


def rewritten(change: Change, table: str) -> Callable[[pa.Table], pa.Table]:
    """Return what a change does to rows of a table."""
    if table == LOGS:
        return change.logs
    return change.spans if table == SPANS else change.events


class LakeFiles:
    """The files of a lake, to be rewritten by whoever may commit to its manifest."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        replaced: ReplacedFiles,
        environment: Environment,
    ) -> None:
        """Take a lake's directory; ``replaced`` gets what a rewrite replaces."""
        self._lake = directory
        self._manifest = manifest
        self._replaced = replaced
        self._environment = environment
        self._rewriter = FileRewriter(directory, manifest, replaced, environment)

    @property
    def files(self) -> list[FileEntry]:
        """The lake's files, oldest first."""
        files = self._manifest.state.files.values()
        return sorted(files, key=lambda entry: (entry.min_start_us, entry.path))

    @property
    def items_table(self) -> str:
        """The table that has a row for each journalled row."""
        return self._manifest.state.tables[0]

    @property
    def layout(self) -> Layout:
        """The promoted columns of files that are written now: the lake's, as last configured."""
        return self._manifest.state.layout

    def files_by_table(self) -> dict[str, list[Path]]:
        """Return the lake's files, oldest first."""
        return {
            table: [self._lake / entry.path for entry in self.files if entry.table == table]
            for table in self._manifest.state.tables
        }

    def empty_file(self, table: str) -> Path:
        """Return a table's file without rows, with all columns of today."""
        return self._lake / empty_path(table)

    def relative(self, file: Path) -> str:
        """Return a file's path as the manifest has it."""
        return file.relative_to(self._lake).as_posix()

    def pieces(self, entry: FileEntry) -> Iterator[pa.Table]:
        """Yield a file's rows; raises ``ClearspanError`` naming it when it cannot be read."""
        with self._blaming(entry):
            yield from pieces_of(self._lake, entry, _ROWS_AT_A_TIME)

    def columns(self, entry: FileEntry, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield these columns of a file's rows; raises as ``pieces`` does."""
        with self._blaming(entry), pq.ParquetFile(self._lake / entry.path) as file:
            for piece in file.iter_batches(_ROWS_AT_A_TIME, columns=names, use_threads=False):
                yield pa.Table.from_batches([piece])

    @property
    def waiting(self) -> list[str]:
        """Files that were replaced and are still there for queries that read them."""
        return self._replaced.waiting

    def unlink_now(self, paths: Sequence[str]) -> None:
        """Unlink replaced files before their time."""
        self._replaced.hurry(paths)
        self._replaced.unlink_due()

    def rewrite_file(self, entry: FileEntry, change: Change) -> Rows:
        """Put a new file in the place of this one, or nothing if no row is left.

        Raises ``ClearspanError`` naming the file; then it stays as it was.
        """
        apply = rewritten(change, entry.table)
        rules = entry.rules if change.rules is None else change.rules
        with self._blaming(entry):
            return self._rewriter.rewrite(entry, apply, rules, _ROWS_AT_A_TIME)

    @contextmanager
    def _blaming(self, entry: FileEntry) -> Iterator[None]:
        try:
            yield
        except DamagedInputError as error:
            raise ClearspanError(f"{self._lake / entry.path} is damaged") from error
        except UNREADABLE as error:
            raise ClearspanError(f"{self._lake / entry.path}: {cause(error)}") from error


class StoredData(LakeFiles):
    """A data directory that no sidecar uses, to be rewritten; a context manager."""

    def __init__(
        self,
        path: Path,
        grace_s: float,
        telemetry: Telemetry,
        environment: Environment | None = None,
        *,
        signal: Signal = TRACES,
    ) -> None:
        """Take the directory of a signal and recover what the last process left, as a start does.

        ``grace_s`` is how long replaced files stay for queries that read them. Raises
        ``StartupError`` when there is no lake or it cannot be had, with the pid of its user.
        """
        environment = environment or Environment()
        lake = path / "lake"
        if not (lake / MANIFEST).is_file():
            raise StartupError(f"there is no lake in {path.absolute()}")
        self._owner = DirectoryLock(path)
        try:
            opened = open_manifest(lake, environment, telemetry, tables=TABLES_OF[signal.batch])
            journal = path / "journal"
            self._segments = recover(
                journal, journal / QUARANTINE, telemetry, signal.batch.schema
            ).segments
        except OSError as error:
            self._owner.close()
            raise StartupError(f"{path}: {cause(error)}") from error
        except BaseException:
            self._owner.close()
            raise
        replaced = ReplacedFiles(lake, opened.manifest, grace_s, environment)
        replaced.add(opened.replaced, is_durable=opened.is_durable)
        super().__init__(lake, opened.manifest, replaced, environment)
        self._path = path

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give up the directory."""
        self._owner.close()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The journal's segments, oldest first."""
        return self._segments

    @property
    def quarantined(self) -> list[Path]:
        """Damaged files that were moved aside: nobody can rewrite them."""
        return quarantined_files(self._path)

    def delete_quarantined(self) -> None:
        """Unlink them; raises OSError."""
        for path in self.quarantined:
            path.unlink()

    def batches(self, segment: Segment) -> Iterator[tuple[int, Batch]]:
        """Yield number and rows of each of a segment's batches that are not settled.

        Raises ``ClearspanError`` naming the segment when it cannot be read.
        """
        state = self._manifest.state
        try:
            data = segment.path.read_bytes()
            for frame in segment.frames:
                if frame.seq > state.settled_through:
                    part = memoryview(data)[frame.offset : frame.offset + frame.size_bytes]
                    yield frame.seq, decode(part, frame, segment.schema, state.source_id)
        except FrameError as error:
            raise ClearspanError(f"{segment.path} was written by another version") from error
        except OSError as error:
            raise ClearspanError(f"{segment.path}: {cause(error)}") from error

    def has_settled(self, segment: Segment) -> bool:
        """Tell whether a segment holds batches that are in the lake: rewriting leaves them out."""
        through = self._manifest.state.settled_through
        return any(frame.seq <= through for frame in segment.frames)

    def journalled(self) -> Iterator[dict[str, pa.Table]]:
        """Yield what the journal holds that is not settled, a batch as the lake would have it."""
        for segment in self._segments:
            for _, batch in self.batches(segment):
                yield rows_of(batch.table)

    def rewrite_segment(self, segment: Segment, change: Change) -> Rows:
        """Put the segment's changed, not yet settled batches in its place, in one step.

        Raises ``ClearspanError`` naming the segment; then it stays as it was.
        """
        fresh, rows = rewrite_segment(segment, self.batches(segment), change)
        self._segments = tuple(fresh if one is segment else one for one in self._segments)
        self._environment.reached(env.REWRITE_COMMITTED)
        return rows

    def unlink_replaced(self, wait: Callable[[float], None] = time.sleep) -> list[str]:
        """Wait until no query can read the replaced files any more, and unlink them.

        Returns those that could not be unlinked, relative to the lake.
        """
        if self._replaced.wait_s > 0:
            wait(self._replaced.wait_s)
        self._replaced.unlink_due()
        return self._replaced.waiting


@contextmanager
def stored_signals(
    path: Path, grace_s: float, telemetry: Telemetry
) -> Iterator[tuple[StoredData, ...]]:
    """Open the spans of a data directory, and its log records if it has any; raises as they do."""
    with StoredData(path, grace_s, telemetry) as spans:
        if not has_logs(path):
            yield (spans,)
            return
        with StoredData(log_data(path), grace_s, telemetry, signal=SIGNAL_OF_LOGS) as logs:
            yield (spans, logs)


def rewrite_segment(
    segment: Segment, batches: Iterable[tuple[int, Batch]], change: Change
) -> tuple[Segment, Rows]:
    """Put changed batches in the place of a segment's, in one step; return it as it is now.

    A batch of which nothing is left stays as an empty one: its number tells the next start that
    nothing is missing. Raises ``ClearspanError`` naming the segment; then it stays as it was.
    """
    schema = kind_of(segment.schema).schema
    fresh = Segment(segment.path, segment.ordinal, segment.first_seq, segment.magic, schema=schema)
    content: list[bytes | memoryview] = [fresh.header()]
    known = fingerprint(schema)
    before = after = 0
    for seq, batch in batches:
        changed = change.batch(batch)
        before, after = before + len(batch), after + len(changed)
        content += encode(changed, seq, segment.magic, known)
    try:
        replace_file(segment.path, b"".join(content))
        sync_directory(segment.path.parent)
    except OSError as error:
        raise ClearspanError(f"{segment.path}: {cause(error)}") from error
    scan(fresh, b"".join(content), None)
    return fresh, Rows(before, after)
