"""Files that survive a crash: what must be fsynced, in which order, and one owner a directory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collector.model.errors import DirectoryInUse, StartupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LOCK: Final = "LOCK"
_PIECE_BYTES: Final = 2**20
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The errors of a disk, or of a quota, that is full."""

# Together longer than `is_locked` holds the lock, by far, also where it is interrupted.
_ASKING_S: Final = 0.05
_RETRIES: Final = 4
_DAMAGE: Final = frozenset({None, errno.EIO, errno.EUCLEAN, errno.EBADMSG})


def cause(error: Exception) -> str:
    """Return the system's words for an error, or its type: no file name and no content."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else type(error).__name__


def means_damage(error: BaseException) -> bool:
    """Tell a file that cannot be understood from one that cannot be reached just now.

    Arrow raises OSError without errno and errors of its own for bytes that make no sense; the
    system says EIO when the medium lost them. Any other OSError (EMFILE, EACCES) passes.
    """
    return not isinstance(error, OSError) or error.errno in _DAMAGE


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable (created, renamed or removed entries)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file's content; raises OSError."""
    crc = 0
    # without a buffer of its own: each piece is read straight into ours
    with path.open("rb", buffering=0) as file:
        piece = bytearray(_PIECE_BYTES)
        while read := file.readinto(piece):
            crc = zlib.crc32(memoryview(piece)[:read], crc)
    return crc


def make_directories(path: Path) -> None:
    """Create a directory and its missing parents, each made durable in its own parent."""
    if path.is_dir():
        return
    make_directories(path.parent)
    _make_directory(path)


def replace_file(
    path: Path,
    content: bytes,
    before_rename: Callable[[], None] | None = None,
) -> None:
    """Give a file new content all at once; the caller syncs the directory.

    Raises OSError; then the old content is untouched and nothing is left behind.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if before_rename is not None:
            before_rename()
        temporary.replace(path)
    except OSError:
        remove_quietly([temporary])
        raise


def write_fully(descriptor: int, parts: Sequence[bytes | memoryview], offset: int) -> None:
    """Write all parts at the offset, however many calls that takes; raises OSError."""
    left = [memoryview(part).cast("B") for part in parts if len(part)]
    while left:
        written = os.pwritev(descriptor, left, offset)
        offset += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if left and written:
            left[0] = left[0][written:]


def remove_quietly(paths: Sequence[Path]) -> None:
    """Unlink files if they can be; one that cannot is found again at the next start."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def is_locked(directory: Path) -> bool:
    """Tell whether a process holds a data directory, in whatever container; raises OSError."""
    try:
        with (directory / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


class DirectoryLock:
    """The right to write to a data directory, held by one process until closed or dead."""

    def __init__(self, directory: Path) -> None:
        """Create the directory if only it is missing, and lock it.

        Raises ``StartupError`` naming the directory and the reason (not writable, no parent), or
        ``DirectoryInUse`` with the pid of the process that holds it.
        """
        try:
            if not directory.is_dir():
                _make_directory(directory)
            self._path = directory / _LOCK
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            msg = f"data directory {directory}: {cause(error)}"
            raise StartupError(msg) from error
        try:
            self._lock()
            self._write_pid()
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                msg = f"data directory {directory}: in use by process {holder or 'unknown'}"
                raise DirectoryInUse(msg, int(holder) if holder.isdigit() else 0) from error
            msg = f"data directory {directory}: {cause(error)}"
            raise StartupError(msg) from error

    def is_ours(self) -> bool:
        """Tell whether the directory is still the one that was locked, and not moved or replaced.

        Whoever has another one at the path writes to the same names.
        """
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        """Let the next process have the directory."""
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):  # closed all the same, or before
            os.close(descriptor)

    def _lock(self) -> None:
        """Lock the file, also when somebody asks just now whether it is locked."""
        for _ in range(_RETRIES):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(_ASKING_S)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _write_pid(self) -> None:
        """Leave the pid for the message of a second process; a full disk must not prevent start."""
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise


def walk_files(directory: Path, on_unreadable: Callable[[Path], None]) -> Iterator[Path]:
    """Yield all files below a directory, without what goes meanwhile; never raises.

    ``on_unreadable`` is told of directories that cannot be listed.
    """

    def tell(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            on_unreadable(Path(error.filename or directory))

    for parent, _, names in os.walk(directory, onerror=tell):
        yield from (Path(parent, name) for name in names)


def list_directory(path: Path) -> list[Path]:
    """Return the entries in name order; an absent directory has none."""
    try:
        return sorted(path.iterdir())
    except FileNotFoundError:
        return []


def set_aside(path: Path, quarantine: Path) -> Path | None:
    """Move a damaged file out of the way and return where to; None when that is impossible."""
    try:
        make_directories(quarantine)
        target = free_name(quarantine, path.name)
        path.rename(target)
        sync_directory(quarantine)
        sync_directory(path.parent)
    except OSError:
        return None
    return target


def free_name(directory: Path, name: str) -> Path:
    """Return a path in the directory that does not exist yet: the name, or with a number."""
    target, number = directory / name, 0
    while target.exists():
        number += 1
        target = directory / f"{name}.{number}"
    return target


def _make_directory(path: Path) -> None:
    """Create a directory, or leave none that is not durable: nobody would sync its name again."""
    path.mkdir(exist_ok=True)
    try:
        sync_directory(path.parent)
    except OSError:
        with contextlib.suppress(OSError):  # not empty: somebody else has it in use
            path.rmdir()
        raise
