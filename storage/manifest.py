"""The one point at which files become part of the lake, or stop being part of it.

Commit order: rename the new files, fsync their directories, write the manifest beside the old
one, fsync, rename over it, the same with the copy, fsync the directory. Readers see one generation
or the next, never a mixture.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog

from storage import environment as env
from storage.files import (
    NO_ROOM,
    cause,
    checksum,
    make_directories,
    remove_quietly,
    replace_file,
    sync_directory,
)
from storage.manifest_text import FileEntry, render

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from storage.environment import Environment
    from storage.files import DirectoryLock
    from storage.manifest_text import ManifestState
    from storage.parquet import Facts

MANIFEST: Final = "_manifest.json"
MANIFEST_COPY: Final = "_manifest.copy.json"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A complete, fsynced Parquet file that no reader knows yet."""

    path: Path
    table: str
    partition: str
    size_bytes: int
    facts: Facts

    def entry(self, generation: int, crc32: int) -> FileEntry:
        """Return what the manifest will say; the generation is in the name for recovery."""
        name = f"{generation:012d}-{secrets.token_hex(4)}.parquet"
        return FileEntry(
            path=f"{self.table}/{self.partition}/{name}",
            table=self.table,
            rows=self.facts.rows,
            bytes=self.size_bytes,
            min_start_us=self.facts.min_start_us,
            max_start_us=self.facts.max_start_us,
            min_seq=self.facts.min_seq,
            max_seq=self.facts.max_seq,
            rules=self.facts.rules,
            crc32=crc32,
            layout=self.facts.layout,
        )


class Manifest:
    """The committed state of a lake; thread-safe."""

    def __init__(
        self,
        directory: Path,
        state: ManifestState,
        next_generation: int,
        environment: Environment,
    ) -> None:
        """Go on from a state. ``next_generation`` is above that of any file in the directory.

        ``owner``, once it is set, must still have the directory when something is committed.
        """
        self.owner: DirectoryLock | None = None
        self._directory = directory
        self._state = state
        self._next_generation = next_generation
        self._environment = environment
        self.lock: Final = threading.RLock()

    @property
    def state(self) -> ManifestState:
        """The newest committed generation; its ``files`` must not be changed."""
        return self._state

    def commit(
        self,
        add: Sequence[StagedFile] = (),
        remove: Collection[str] = (),
        settled_through: int = 0,
    ) -> bool:
        """Add and remove files and raise ``settled_through`` in one step.

        Returns whether the step also survives a power loss: only then may journal segments and
        replaced files be dropped. Raises OSError, also when another directory has taken the place
        of ours; then nothing is committed and the staged files are gone.
        """
        try:
            self._check_owner()
            # before the lock: 0.2 ms a MB, of a file that is still in the page cache
            checksums = [checksum(staged.path) for staged in add]
        except OSError:
            remove_quietly([staged.path for staged in add])
            raise
        with self.lock:
            generation = self._next_generation
            self._next_generation += 1
            entries = [
                staged.entry(generation, crc32)
                for staged, crc32 in zip(add, checksums, strict=True)
            ]
            files = {path: e for path, e in self._state.files.items() if path not in remove}
            files.update({entry.path: entry for entry in entries})
            now_s = self._environment.now()
            state = replace(
                self._state,
                generation=generation,
                settled_through=max(settled_through, self._state.settled_through),
                files=files,
                updated_s=now_s,
            )
            text = render(state, now_s)
            try:
                self._move_in(add, entries)
                self._replace(text, is_smaller=not any(entry.rows for entry in entries))
            except OSError:
                remove_quietly([self._directory / entry.path for entry in entries])
                remove_quietly([staged.path for staged in add])
                raise
            self._state = state
            self._environment.reached(env.MANIFEST_RENAMED)
            return self._make_lasting(text)

    def _check_owner(self) -> None:
        if self.owner is not None and not self.owner.is_ours():
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def _move_in(self, add: Sequence[StagedFile], entries: Sequence[FileEntry]) -> None:
        targets = [self._directory / entry.path for entry in entries]
        for staged, target in zip(add, targets, strict=True):  # over files
            make_directories(target.parent)
            staged.path.rename(target)
        for directory in {target.parent for target in targets}:
            sync_directory(directory)
        if targets:
            self._environment.reached(env.PARQUET_RENAMED)

    def _replace(self, text: bytes, *, is_smaller: bool) -> None:
        def write() -> None:
            reached = self._environment.reached
            replace_file(self._directory / MANIFEST, text, lambda: reached(env.MANIFEST_WRITTEN))

        try:
            write()
        except OSError as error:
            if not is_smaller or error.errno not in NO_ROOM:
                raise
            # Retention must not wait for room on a full disk: the copy's is enough for it, and the
            # old manifest's is free then for a new copy.
            remove_quietly([self._directory / MANIFEST_COPY])
            write()

    def _make_lasting(self, text: bytes) -> bool:
        """Write the copy that stands in for a damaged manifest, and sync both names."""
        try:
            replace_file(self._directory / MANIFEST_COPY, text)
            self._environment.reached(env.MANIFEST_COPIED)
            sync_directory(self._directory)
        except OSError as error:
            _log.warning("manifest is committed but not durable yet", cause=cause(error))
            return False
        return True
