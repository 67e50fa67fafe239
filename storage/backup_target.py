"""The directory a backup goes to: whose it is, and how it becomes a data directory at the end.

``BACKUP.json`` says which lake it is of and which manifest was written, so that an update never
overwrites another lake, or one that a sidecar has run on since.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from collector.model.errors import StartupError
from storage.files import (
    DirectoryLock,
    cause,
    list_directory,
    make_directories,
    remove_quietly,
    replace_file,
    sync_directory,
)
from storage.journal_segment import Segment
from storage.manifest import MANIFEST, MANIFEST_COPY
from storage.manifest_recovery import STAGING, files_on_disk

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from storage.manifest_text import ManifestState

MARKER: Final = "BACKUP.json"
# what a first try that failed may leave beside nothing else
_NO_CONTENT: Final = frozenset({"LOCK", MARKER + ".tmp"})


class BackupTarget:
    """A locked destination; nothing in it is a lake until ``finish``, or it still is the old."""

    def __init__(self, path: Path, source_id: str, *, update: bool) -> None:
        """Check and lock the directory, made if only it is missing.

        Raises ``StartupError`` when it is not empty (without ``update``), no backup of this lake,
        changed since by a sidecar, in use, or not writable.
        """
        self.path = path
        self.lake: Final = path / "lake"
        self.journal: Final = path / "journal"
        self.incoming: Final = path / "journal" / "incoming"
        self._source_id = source_id
        try:
            self._check(update=update)
            self._owner = DirectoryLock(path)
        except OSError as error:
            raise StartupError(f"backup {path}: {cause(error)}") from error

    def close(self) -> None:
        """Let others have the directory."""
        self._owner.close()

    def prepare(self) -> None:
        """Make the marker and the directories, and clear what an earlier try left; OSError."""
        if not (self.path / MARKER).exists():
            self._mark(0, None)
        for directory in (self.lake / STAGING, self.incoming):
            make_directories(directory)
            remove_quietly(list_directory(directory))

    def finish(self, state: ManifestState, manifest: bytes) -> int:
        """Turn it into a data directory of this state; return how many old files were removed.

        From the first step to the last it has no manifest, so that no one takes a mixture of old
        and new for a lake. Raises OSError.
        """
        self._sync_hours(state.files)
        for name in (MANIFEST, MANIFEST_COPY):
            (self.lake / name).unlink(missing_ok=True)
        sync_directory(self.lake)
        self._take_in_journal()
        self._mark(state.generation, zlib.crc32(manifest))
        for name in (MANIFEST_COPY, MANIFEST):
            replace_file(self.lake / name, manifest)
        sync_directory(self.lake)
        return self._remove_surplus(state.files)

    def _check(self, *, update: bool) -> None:
        found = {path.name for path in list_directory(self.path)} - _NO_CONTENT
        if not found:
            return
        if not update:
            raise StartupError(
                f"backup {self.path}: the directory is not empty; --update brings an older backup "
                "of the same lake up to date"
            )
        marker = self._read_marker()
        if marker.get("source_id") != self._source_id:
            theirs = str(marker.get("source_id"))[:16]
            raise StartupError(
                f"backup {self.path}: it holds a backup of lake {theirs}, not of {self._source_id}"
                if marker
                else f"backup {self.path}: it holds something else than a backup"
            )
        try:
            manifest = (self.lake / MANIFEST).read_bytes()
        except FileNotFoundError:
            return
        if zlib.crc32(manifest) != marker.get("manifest_crc32"):
            raise StartupError(
                f"backup {self.path}: it has changed since the last backup; a sidecar has run on "
                "it, or it is damaged"
            )

    def _read_marker(self) -> dict[str, Any]:
        try:
            marker = json.loads((self.path / MARKER).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return marker if isinstance(marker, dict) else {}

    def _mark(self, generation: int, manifest_crc32: int | None) -> None:
        marker = {
            "source_id": self._source_id,
            "generation": generation,
            "manifest_crc32": manifest_crc32,
        }
        replace_file(self.path / MARKER, json.dumps(marker).encode() + b"\n")
        sync_directory(self.path)

    def _sync_hours(self, files: Collection[str]) -> None:
        for directory in {(self.lake / path).parent for path in files}:
            sync_directory(directory)

    def _take_in_journal(self) -> None:
        new = list_directory(self.incoming)
        old = [path for path in list_directory(self.journal) if Segment.named(path)]
        for path in old:
            path.unlink()
        for path in new:
            path.rename(self.journal / path.name)
        self.incoming.rmdir()
        sync_directory(self.journal)

    def _remove_surplus(self, files: Collection[str]) -> int:
        """Unlink what an older manifest or an earlier try listed, and hours that became empty."""
        surplus = [self.lake / path for path in files_on_disk(self.lake) if path not in files]
        remove_quietly(surplus)
        for hour in {path.parent for path in surplus}:
            for directory in (hour, hour.parent):
                if not list_directory(directory):
                    directory.rmdir()
        return len(surplus)
