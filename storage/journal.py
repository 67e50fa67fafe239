"""The write-ahead journal: a batch that ``write`` returned from survives ``kill -9``.

Segments of checksummed frames, one fdatasync a batch: with that, it survives the machine's end as
well. ``sync`` can put that off (``interval``) or leave it to the kernel (``off``). Only the
pipeline's thread writes; the lake's thread truncates. Batches are numbered from 1 on without gaps.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from typing import TYPE_CHECKING, Final

import structlog

from collector.model import telemetry as t
from collector.model.errors import StartupError, StorageUnavailable
from collector.model.signals import TRACES
from storage import environment as env
from storage.environment import Environment
from storage.files import (
    cause,
    make_directories,
    means_damage,
    sync_directory,
    write_fully,
)
from storage.journal_frame import FrameError, decode, encode, fingerprint, stamp
from storage.journal_recovery import recover
from storage.journal_segment import Segment
from storage.journal_sync import LateSync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.model.batch import Batch, BatchT
    from collector.model.signals import Signal
    from collector.model.telemetry import Telemetry
    from config.exporters import JournalSettings
    from storage.files import DirectoryLock

_log = structlog.get_logger()
_AT_ONCE_BYTES: Final = 2**20  # of these no sync is put off
_MOST_UNSYNCED_BYTES: Final = {"always": 0, "interval": _AT_ONCE_BYTES, "off": math.inf}
_SEGMENTS_WITHIN_LIMIT: Final = 4  # so that truncation frees space before max_bytes is reached


class Journal:
    """A ``Sink``: durable on return. The data directory must be locked by this process."""

    def __init__(  # noqa: PLR0913 - the last one is for tests only
        self,
        directory: Path,
        settings: JournalSettings,
        telemetry: Telemetry,
        source_id: str,
        first_seq: int,
        *,
        owner: DirectoryLock | None = None,
        signal: Signal = TRACES,
        environment: Environment | None = None,
    ) -> None:
        """Open a signal's journal; what is damaged goes to ``quarantine/`` below the directory.

        ``first_seq`` is the least number the next batch may get: one above everything the lake
        has seen. ``owner`` is the lock that is held: its directory may be moved away meanwhile.
        Raises ``StartupError`` naming the directory when it cannot be used.
        """
        self._directory = directory
        self._quarantine = directory / "quarantine"
        self._owner = owner
        self._max_bytes = settings.max_bytes
        self._segment_bytes = min(
            settings.segment_bytes, settings.max_bytes // _SEGMENTS_WITHIN_LIMIT
        )
        self._telemetry = telemetry
        self._schema = signal.batch.schema
        self._fingerprint = fingerprint(self._schema)
        self._source_id = source_id
        self._environment = environment or Environment()
        self._lock = threading.Lock()
        self._active: Segment | None = None
        self._descriptor = -1
        self._is_closed = False
        self._is_failing = self._is_full = False
        self._unsynced_bytes = 0
        telemetry.add(t.JOURNAL_QUARANTINED, 0)
        try:
            make_directories(directory)
            recovered = recover(directory, self._quarantine, telemetry, self._schema)
        except OSError as error:
            msg = f"journal {directory}: {cause(error)}"
            raise StartupError(msg) from error
        self._recovered = recovered.segments
        self._closed_segments = list(recovered.segments)
        self._ordinal = recovered.last_ordinal
        last = max((segment.last_seq for segment in recovered.segments), default=0)
        self._last_seq = max(last, first_seq - 1)
        telemetry.sample(signal.metrics.journal_bytes, lambda: self.size_bytes)
        self._most_unsynced = _MOST_UNSYNCED_BYTES[settings.sync]
        self._late = None
        if settings.sync == "interval":
            self._late = LateSync(settings.sync_interval, self._sync_late)
        if settings.sync != "always":
            _log.warning("acknowledged spans may not survive a machine's end", sync=settings.sync)

    @property
    def last_seq(self) -> int:
        """The number of the newest batch that is durable here or was in the lake at start."""
        return self._last_seq

    @property
    def is_failing(self) -> bool:
        """Whether the last write was refused by the disk or the size limit."""
        return self._is_failing or self._is_full

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments on disk."""
        with self._lock:
            return self._total_bytes()

    def write(self, batch: BatchT) -> BatchT:
        """Make the batch durable and return it with ``source_id`` and ``batch_seq`` set.

        Raises ``StorageUnavailable`` when the disk is full or failing or ``max_bytes`` is
        reached; then nothing of the batch will ever be replayed. No rows: nothing happens.
        """
        if not len(batch):
            return batch
        with self._lock:
            if self._is_closed:
                msg = f"journal {self._directory}: it is closed"
                raise StorageUnavailable(msg)
            if self._owner is not None and not self._owner.is_ours():
                raise self._unavailable("the data directory was replaced by somebody else")
            seq = self._last_seq + 1
            try:
                segment = self._active or self._begin_segment(seq)
            except OSError as error:
                raise self._unavailable(error) from error
            parts = encode(batch, seq, segment.magic, self._fingerprint)
            size = sum(len(part) for part in parts)
            was_full = self._is_full
            self._is_full = self._total_bytes() + size > self._max_bytes
            if self._is_full:
                if not was_full:
                    _log.error("journal is full", directory=str(self._directory))
                msg = "journal is full: exporters.lake.journal.max_bytes is reached"
                raise StorageUnavailable(msg)
            self._append(segment, parts)
            segment.size_bytes += size
            self._last_seq = segment.last_seq = seq
            if self._is_failing:
                self._is_failing = False
                _log.info("journal writes succeed again", directory=str(self._directory))
            if segment.size_bytes >= self._segment_bytes:
                self._end_segment()
        return stamp(batch, seq, self._source_id)

    def replay(self, after_seq: int) -> Iterator[Batch]:
        """Yield, in order, the batches numbered above ``after_seq`` that were there at opening.

        What is damaged, or what this version cannot read, is kept in ``quarantine/``. Raises
        ``StartupError`` naming a segment that cannot be reached just now: the batches behind it
        would settle it, and it would be gone.
        """
        newest = after_seq
        for segment in self._recovered:
            if segment.first_seq > newest + 1:
                _log.error(
                    "journal batches are missing",
                    segment=segment.path.name,
                    first_seq=newest + 1,
                    last_seq=segment.first_seq - 1,
                )
            newest = max(newest, segment.last_seq)
            wanted = [frame for frame in segment.frames if frame.seq > after_seq]
            try:
                data = segment.path.read_bytes() if wanted else b""
            except OSError as error:
                if not means_damage(error):
                    msg = f"journal segment {segment.path}: {cause(error)}"
                    raise StartupError(msg) from error
                _log.error("journal segment cannot be read", cause=cause(error))
                self._keep_copy(segment)
                continue
            for frame in wanted:
                part = memoryview(data)[frame.offset : frame.offset + frame.size_bytes]
                try:
                    yield decode(part, frame, segment.schema, self._source_id)
                except FrameError:
                    _log.error("journal batch cannot be read", batch_seq=frame.seq)
                    self._keep_copy(segment)

    def truncate(self, through_seq: int) -> None:
        """Unlink every segment whose batches are all numbered ``through_seq`` or lower.

        Oldest first and none skipped, because a segment makes refused frames at the end of the
        one before void. The segment being written is ended and unlinked when all of it qualifies.
        """
        with self._lock:
            active = self._active
            if active is not None and active.has_frames and active.last_seq <= through_seq:
                self._end_segment()
            done = []
            while self._closed_segments and self._closed_segments[0].last_seq <= through_seq:
                try:
                    self._closed_segments[0].path.unlink(missing_ok=True)
                except OSError as error:
                    _log.warning("journal segment cannot be removed", cause=cause(error))
                    break
                done.append(self._closed_segments.pop(0))
                self._is_full = False
        if done:
            self._environment.reached(env.SEGMENTS_DROPPED)

    def seal(self) -> list[Segment]:
        """End the segment being written and return all there are, oldest first."""
        with self._lock:
            self._end_segment()
            return list(self._closed_segments)

    @contextlib.contextmanager
    def holding(self, segment: Segment) -> Iterator[bool]:
        """Keep a sealed segment from being dropped; tell whether it is still there.

        Its file may be replaced meanwhile by one with the same batches changed; nothing is
        journalled as long as it is held.
        """
        with self._lock:
            yield segment in self._closed_segments
            with contextlib.suppress(OSError):
                segment.size_bytes = segment.path.stat().st_size

    def close(self) -> None:
        """Close the segment being written; everything written stays, and nothing more is."""
        if self._late is not None:
            self._late.close()
        with self._lock:
            self._is_closed = True
            self._end_segment()

    def _total_bytes(self) -> int:
        closed = sum(segment.size_bytes for segment in self._closed_segments)
        return closed + (self._active.size_bytes if self._active else 0)

    def _begin_segment(self, first_seq: int) -> Segment:
        """Start a segment, its name durable; raises OSError and leaves no file then."""
        self._ordinal += 1
        segment = Segment.new(self._directory, self._ordinal, first_seq, self._schema)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        descriptor = os.open(segment.path, flags, 0o644)
        try:
            header = segment.header()
            write_fully(descriptor, [header], 0)
            sync_directory(self._directory)
        except OSError:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            with contextlib.suppress(OSError):
                segment.path.unlink()
            raise
        segment.size_bytes = len(header)
        self._active, self._descriptor = segment, descriptor
        self._drop_void()
        self._environment.reached(env.SEGMENT_CREATED)
        return segment

    def _drop_void(self) -> None:
        """Unlink the segment before the active one if nothing good is in it.

        While syncs fail each refused batch leaves one, and they would fill the journal. What is
        void at the end of those before them is so by the active one as well.
        """
        if self._closed_segments and not self._closed_segments[-1].has_frames:
            with contextlib.suppress(OSError):
                self._closed_segments[-1].path.unlink(missing_ok=True)
                self._closed_segments.pop()

    def _end_segment(self) -> None:
        if self._active is None:
            return
        if self._late is not None and self._unsynced_bytes:
            try:
                os.fdatasync(self._descriptor)
                self._unsynced_bytes = 0
            except OSError as error:
                self._sync_failed(error)
        descriptor, self._descriptor = self._descriptor, -1
        self._closed_segments.append(self._active)
        self._active = None
        # An error does not mean that it is still open (close(2)): its number may be another file's.
        with contextlib.suppress(OSError):
            os.close(descriptor)

    def _append(self, segment: Segment, parts: list[bytes | memoryview]) -> None:
        """Write and sync one frame, or leave no trace of it and raise ``StorageUnavailable``."""
        try:
            write_fully(self._descriptor, parts, segment.size_bytes)
        except OSError as error:
            try:
                os.ftruncate(self._descriptor, segment.size_bytes)
            except OSError:
                self._abandon(segment)
            raise self._unavailable(error) from error
        self._environment.reached(env.FRAME_WRITTEN)
        self._unsynced_bytes += sum(len(part) for part in parts)
        if self._unsynced_bytes > self._most_unsynced:
            try:
                os.fdatasync(self._descriptor)
            except OSError as error:
                # The kernel may have dropped the dirty pages and call the next sync a success, so
                # nothing may be appended behind this point ever again.
                self._abandon(segment)
                raise self._unavailable(error) from error
            self._unsynced_bytes = 0
        elif self._late is not None:
            self._late.note()
        if os.fstat(self._descriptor).st_nlink == 0:
            self._abandon(segment)
            msg = f"journal {self._directory}: its files were deleted by somebody else"
            raise StorageUnavailable(msg)
        self._environment.reached(env.FRAME_SYNCED)

    def _sync_late(self) -> None:
        """Sync what was acknowledged before; where that fails, go on in a new segment."""
        segment = None
        try:
            with self._lock:
                segment = self._active
                if segment is None or not self._unsynced_bytes:
                    return
                descriptor = os.dup(self._descriptor)
                self._unsynced_bytes = 0
            try:
                os.fdatasync(descriptor)  # not under the lock: acknowledgements go on
            finally:
                os.close(descriptor)
        except OSError as error:
            with self._lock:
                if self._active is segment:
                    self._end_segment()
                self._sync_failed(error)

    def _sync_failed(self, error: OSError) -> None:
        """Say that what was acknowledged may not last, and have the next batch synced at once."""
        self._unsynced_bytes = _AT_ONCE_BYTES
        self._unavailable(error)

    def _abandon(self, segment: Segment) -> None:
        """Make what stands behind the last good frame void, now and after a restart.

        Cut it off if possible. In any case begin a new segment with the same number: a frame
        with that number or a higher one in an older segment is ignored when reading.
        """
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, segment.size_bytes)
        self._end_segment()
        # Failing here is no worse: the next write tries again, before anything is acknowledged.
        with contextlib.suppress(OSError):
            self._begin_segment(segment.last_seq + 1)

    def _unavailable(self, error: OSError | str) -> StorageUnavailable:
        why = error if isinstance(error, str) else cause(error)
        if not self._is_failing:
            self._is_failing = True
            _log.error("journal writes fail", directory=str(self._directory), cause=why)
        return StorageUnavailable(f"journal {self._directory}: {why}")

    def _keep_copy(self, segment: Segment) -> None:
        """Let an unreadable segment outlive its truncation, under the same name."""
        self._telemetry.add(t.JOURNAL_QUARANTINED)
        with contextlib.suppress(OSError):
            make_directories(self._quarantine)
            os.link(segment.path, self._quarantine / segment.path.name)
