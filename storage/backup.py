"""``clearspan backup``: a copy of the lake and journal as of one moment, while a sidecar writes.

The journal is copied first and the manifest read after it. What the journal dropped in between is
settled, so it is in the files that this manifest lists; what is in both is told apart by batch
number and trace at the start of a sidecar on the copy, as after a crash.
"""

from __future__ import annotations

import os
import secrets
import shutil
import zlib
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from collector.model.errors import StartupError, UpkeepFailed
from storage.backup_target import BackupTarget
from storage.data_directory import has_logs, log_data
from storage.files import (
    cause,
    list_directory,
    make_directories,
    remove_quietly,
    replace_file,
    sync_directory,
)
from storage.journal_segment import Segment
from storage.manifest_check import read_manifests
from storage.manifest_recovery import OUR_FILE, STAGING
from storage.manifest_text import empty_path
from storage.parquet import empty_file, is_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from storage.manifest_text import FileEntry, ManifestState

_PIECE_BYTES: Final = 2**20
# Each needs only the files that a newer manifest added, so it ends unless nothing works.
_MOST_RESTARTS: Final = 100
_MOST_NAMED: Final = 3


@dataclass(slots=True)
class BackupReport:
    """What was copied; ``restarts`` is how often files vanished and a newer manifest was taken."""

    generation: int = 0
    copied_files: int = 0
    copied_bytes: int = 0
    kept_files: int = 0
    removed_files: int = 0
    segments: int = 0
    journal_bytes: int = 0
    restarts: int = 0

    def add(self, logs: BackupReport) -> None:
        """Add what was copied of the log records; ``generation`` stays that of the spans."""
        for field in fields(self):
            if field.name != "generation":
                both = getattr(self, field.name) + getattr(logs, field.name)
                setattr(self, field.name, both)


def _say_nothing(_done: int, _total: int) -> None:
    """Take the place of a progress bar."""


def backup(
    data: Path,
    destination: Path,
    *,
    update: bool = False,
    on_progress: Callable[[int, int], None] = _say_nothing,
) -> BackupReport:
    """Copy the data directory; what was acknowledged before the call is in the copy, once.

    ``destination`` must be absent or empty, or with ``update`` an older backup of the same lake.
    ``on_progress`` is called with the bytes copied and the bytes to copy. Raises ``StartupError``
    when source or destination cannot be used, ``UpkeepFailed`` when files of the source are
    damaged or missing, or the destination's disk is full; then it holds no lake, or the old one.
    """
    source_id = _read(data)[1].source_id
    here, there = data.resolve(), destination.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise StartupError(f"backup {destination}: one directory lies in the other")
    target = BackupTarget(destination, source_id, update=update)
    try:
        logs = BackupReport()
        if has_logs(data):
            # before the spans: without their manifest, written last, nothing here is a backup
            target.prepare()
            logs = _back_up_logs(log_data(data), log_data(destination), on_progress, update=update)
        report = _Copying(data, target, on_progress).run()
    except OSError as error:
        raise UpkeepFailed(f"backup {error.filename or destination}: {cause(error)}") from error
    else:
        report.add(logs)
        return report
    finally:
        target.close()


def _back_up_logs(
    data: Path, destination: Path, on_progress: Callable[[int, int], None], *, update: bool
) -> BackupReport:
    target = BackupTarget(destination, _read(data)[1].source_id, update=update)
    try:
        return _Copying(data, target, on_progress).run()
    finally:
        target.close()


class _Copying:
    """One backup: passes over journal, manifest and files until a pass found them all."""

    def __init__(
        self, data: Path, target: BackupTarget, on_progress: Callable[[int, int], None]
    ) -> None:
        self._data = data
        self._target = target
        self._on_progress = on_progress
        self._report = BackupReport()
        self._here: set[str] = set()
        self._damaged: list[str] = []

    def run(self) -> BackupReport:
        """Copy all and make the destination a data directory; raises OSError of the destination."""
        for _ in range(_MOST_RESTARTS):
            self._target.prepare()
            self._copy_journal()
            content, state = _read(self._data)
            vanished = self._copy_files(state)
            if not vanished:
                break
            self._report.restarts += 1
            self._blame(vanished)
        else:
            raise UpkeepFailed(f"the lake changed {_MOST_RESTARTS} times while it was copied")
        if self._damaged:
            raise UpkeepFailed(
                f"{_named(self._damaged)}: damaged, not as the manifest says; clearspan repair "
                "sets damaged files aside, --update goes on from here"
            )
        self._copy_empty_files(state)
        self._report.removed_files = self._target.finish(state, content)
        self._report.generation = state.generation
        return self._report

    def _copy_journal(self) -> None:
        """Copy all segments, oldest first; one that vanishes was settled before the manifest."""
        sizes: dict[str, int] = {}
        last: list[Path] = []
        # again, because a segment that was begun meanwhile can make the end of the last one void
        while new := [path for path in self._segments() if path.name not in sizes]:
            for path in [*last, *new]:  # over segments; the last one had batches to come
                sizes.setdefault(path.name, 0)
                with suppress(FileNotFoundError):
                    sizes[path.name], _ = _copy(path, self._target.incoming / path.name)
            last = new[-1:]
        self._report.segments = sum(size > 0 for size in sizes.values())
        self._report.journal_bytes = sum(sizes.values())
        sync_directory(self._target.incoming)

    def _segments(self) -> list[Path]:
        return [path for path in list_directory(self._data / "journal") if Segment.named(path)]

    def _copy_files(self, state: ManifestState) -> list[FileEntry]:
        """Copy what is not there yet, newest hour first; return what could not be found."""
        strange = [path for path in state.files if OUR_FILE.fullmatch(path) is None]
        if strange:
            raise UpkeepFailed(f"{_named(strange)}: in the manifest, but no name of a lake file")
        wanted = [entry for path, entry in state.files.items() if path not in self._here]
        missing = [entry for entry in wanted if not self._is_here(entry)]
        missing.sort(key=lambda entry: entry.partition, reverse=True)
        total, done = sum(entry.bytes for entry in missing), 0
        free = shutil.disk_usage(self._target.path).free
        if free < total:
            raise UpkeepFailed(
                f"backup {self._target.path}: {total:,} bytes are needed and {free:,} free"
            )
        vanished = []
        for entry in missing:  # over files
            if not self._copy_file(entry):
                vanished.append(entry)
            done += entry.bytes
            self._on_progress(done, total)
        return vanished

    def _is_here(self, entry: FileEntry) -> bool:
        if not is_whole(self._target.lake / entry.path, entry.bytes):
            return False
        self._here.add(entry.path)
        self._report.kept_files += 1
        return True

    def _copy_file(self, entry: FileEntry) -> bool:
        """Copy one file and compare size and checksum; False when it is not there any more."""
        staged = self._target.lake / STAGING / f"{secrets.token_hex(8)}.parquet"
        try:
            _, crc32 = _copy(self._data / "lake" / entry.path, staged)
        except FileNotFoundError:
            return False
        self._here.add(entry.path)
        is_right = entry.crc32 is None or crc32 == entry.crc32
        if not is_right or not is_whole(staged, entry.bytes):
            remove_quietly([staged])
            self._damaged.append(entry.path)
            return True
        path = self._target.lake / entry.path
        make_directories(path.parent)
        staged.rename(path)
        self._report.copied_files += 1
        self._report.copied_bytes += entry.bytes
        return True

    def _blame(self, vanished: list[FileEntry]) -> None:
        """Raise when what is not there is in the manifest still: no commit took it away."""
        files = _read(self._data)[1].files
        lost = [entry.path for entry in vanished if entry.path in files]
        if lost:
            raise UpkeepFailed(f"{_named(lost)}: in the manifest and not there; clearspan repair")

    def _copy_empty_files(self, state: ManifestState) -> None:
        for table in state.tables:
            path = self._target.lake / empty_path(table)
            make_directories(path.parent)
            replace_file(path, empty_file(table, state.layout))
            sync_directory(path.parent)


def _read(data: Path) -> tuple[bytes, ManifestState]:
    """Return the manifest's text and what it says."""
    if not data.is_dir():
        raise StartupError(f"there is no data directory {data}")
    found = read_manifests(data / "lake")
    if found.is_newer or found.state is None:
        first = found.findings[0]
        raise StartupError(f"{data / first.file} {first.what}")
    return found.content, found.state


def _copy(source: Path, target: Path) -> tuple[int, int]:
    """Copy what a file holds now, durably; return its size and CRC-32.

    Read and written rather than ``copy_file_range``, which on some file systems shares the
    blocks: a copy that decays with the original is no backup, and its checksum would be unread.
    """
    size = crc32 = 0
    piece = memoryview(bytearray(_PIECE_BYTES))
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        while count := reader.readinto(piece):
            crc32 = zlib.crc32(piece[:count], crc32)
            left = piece[:count]
            while left:
                left = left[writer.write(left) :]
            size += count
        os.fsync(writer.fileno())
    return size, crc32


def _named(paths: list[str]) -> str:
    more = len(paths) - _MOST_NAMED
    shown = ", ".join(f"lake/{path}" for path in paths[:_MOST_NAMED])
    return shown + (f" and {more} more" if more > 0 else "")
