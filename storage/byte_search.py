"""Looks for bytes in every file of a data directory, and in what its files hold compressed."""

from __future__ import annotations

import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from storage.files import is_locked, walk_files
from storage.journal_frame import HEADER_BYTES, decompress
from storage.journal_segment import Segment, scan
from storage.manifest_recovery import STAGING
from storage.parquet import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ROWS: Final = 8192
_LONGEST_WAIT_S: Final = 60.0
_POLL_S: Final = 0.05
# From the second on only what is new is read, which takes a moment.
_MOST_LISTINGS: Final = 100
# at the top of an ext volume, for root alone: nothing of ours is in it
_OF_FSCK: Final = "lost+found"


class DamagedError(Exception):
    """A file cannot be read to its end; never leaves this module."""


@dataclass(frozen=True, slots=True)
class Searched:
    """How much was looked through, the files in which something was found, and what was not.

    Of ``damaged`` files a part could not be looked through, of ``unreadable`` files and directories
    nothing.
    """

    files: int
    bytes: int
    hits: tuple[Path, ...]
    damaged: tuple[Path, ...]
    unreadable: tuple[Path, ...]


def search(directory: Path, needles: Sequence[bytes], *, ignore_case: bool = False) -> Searched:
    """Look for any of the needles below a data directory or one that holds it.

    What a running sidecar is writing when this begins is waited for, a minute at most, and searched
    once it is written; what it moves or replaces meanwhile is searched where it is then. Pipes and
    the like, and directories behind links, are left out. Ignoring case is for ASCII.
    """
    return _Search(directory, needles, ignore_case=ignore_case).run()


class _Search:
    """One search: passes over what was listed, and listed again where something has gone."""

    def __init__(self, directory: Path, needles: Sequence[bytes], *, ignore_case: bool) -> None:
        self._directory = directory
        self._needles = [one.lower() for one in needles] if ignore_case else needles
        self._ignore_case = ignore_case
        self._first: set[Path] = set()
        self._cut: dict[Path, float] = {}  # and until when they are waited for
        self._listings = 0
        self._files = self._bytes = 0
        self._hits: list[Path] = []
        self._damaged: list[Path] = []
        self._unreadable: list[Path] = []

    def run(self) -> Searched:
        self._first = todo = self._listed()
        done: set[Path] = set()
        # what went while they were listed, to where had been looked already, is in a second listing
        shall_list = True
        while todo or shall_list:
            unfinished: set[Path] = set()
            for path in sorted(todo):
                try:
                    if self._is_awaited(path) or not self._has_searched(path):
                        unfinished.add(path)
                except FileNotFoundError:
                    shall_list |= self._is_followed(path)
                except OSError:
                    self._unreadable.append(path)
            done |= todo - unfinished
            todo = unfinished
            if shall_list:
                shall_list = False
                todo |= self._listed() - done
            if unfinished:
                time.sleep(_POLL_S)
        return Searched(
            self._files,
            self._bytes,
            tuple(self._hits),
            tuple(self._damaged),
            tuple(dict.fromkeys(self._unreadable)),
        )

    def _listed(self) -> set[Path]:
        def note(path: Path) -> None:
            if path.name != _OF_FSCK:
                self._unreadable.append(path)

        self._listings += 1
        return set(walk_files(self._directory, note))

    def _is_awaited(self, path: Path) -> bool:
        """Tell whether a file was cut and is still being written; raises OSError when it is gone.

        It is read again where it is then: whoever writes it moves it.
        """
        if time.monotonic() > self._cut.get(path, 0.0):
            return False
        path.stat()
        return _is_being_written(path)

    def _is_followed(self, path: Path) -> bool:
        """Tell whether to look for where a file went.

        Not of what a sidecar began to write since: until that is in its place all rows in it are in
        other files.
        """
        if _is_staged(path) and path not in self._first:
            return False
        if self._listings == _MOST_LISTINGS:
            self._unreadable.append(path)
        return self._listings < _MOST_LISTINGS

    def _has_searched(self, path: Path) -> bool:
        """Search a file; tell whether that is all there is to do. Raises OSError."""
        if not stat.S_ISREG(path.stat().st_mode):
            return True
        is_hit = is_cut = False
        size = 0
        try:
            for content in _contents(path):
                size += len(content)
                text = content.lower() if self._ignore_case else content
                is_hit = is_hit or any(needle in text for needle in self._needles)
        except DamagedError:
            is_cut = True
        if is_cut and _is_being_written(path):
            if path not in self._first:
                return True
            until = self._cut.setdefault(path, time.monotonic() + _LONGEST_WAIT_S)
            if time.monotonic() <= until:
                return False
            path.stat()  # raises where it was finished and moved after all
        self._files += 1
        self._bytes += size
        if is_cut:
            self._damaged.append(path)
        if is_hit:
            self._hits.append(path)
        return True


def _is_staged(path: Path) -> bool:
    return path.parent.name == STAGING


def _is_being_written(path: Path) -> bool:
    return _is_staged(path) and is_locked(path.parent.parent.parent)


def _contents(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        yield from _rows(data)
    segment = Segment.named(path)
    if segment is not None:
        scan(segment, data, None)
        for frame in segment.frames:
            start = frame.offset + HEADER_BYTES + frame.bitmap_bytes
            end = frame.offset + frame.size_bytes
            yield decompress(memoryview(data)[start:end], frame)


def _rows(data: bytes) -> Iterator[bytes]:
    """Yield the values of a Parquet file, as far as it can be read; raises ``DamagedError``."""
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            for piece in file.iter_batches(_ROWS, use_threads=False):
                content: bytes = piece.serialize().to_pybytes()
                yield content
    except UNREADABLE as error:
        raise DamagedError from error
