"""Lakes to be damaged, and ways to do it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from storage.manifest_text import FileEntry, ManifestState, parse, render
from tests.storage.batches import make_batch
from tests.storage.store import Store, lake_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ("_manifest.json", "_manifest.copy.json")
ROWS = 40


def make_lake(data: Path, *, flushes: int = 3, journalled: int = 1) -> Path:
    """Leave flushed files and batches that are only in the journal; return the lake directory."""
    store = Store(data, lake_settings(unlink_grace=3600.0))
    for seed in range(flushes):
        store.store(make_batch(ROWS, seed))
        store.lake.flush()
    for seed in range(journalled):
        store.store(make_batch(ROWS, 1000 + seed))
    store.abandon()
    return data / "lake"


def state_of(lake: Path) -> ManifestState:
    """Return what the manifest says."""
    return parse((lake / NAMES[0]).read_bytes())


def first_file(lake: Path, table: str = "spans") -> FileEntry:
    """Return the entry of the first file of a table."""
    return next(entry for entry in state_of(lake).files.values() if entry.table == table)


def write_manifest(lake: Path, state: ManifestState) -> None:
    """Make manifest and copy say this, with the right checksum."""
    for name in NAMES:
        (lake / name).write_bytes(render(state, 1_700_000_000.0))


def change_entry(lake: Path, path: str, /, **changes: Any) -> None:
    """Let the manifest say something else of one file."""
    state = state_of(lake)
    files = {
        (new := replace(entry, **changes) if entry.path == path else entry).path: new
        for entry in state.files.values()
    }
    write_manifest(lake, replace(state, files=files))


def forget_checksums(lake: Path) -> None:
    """Make the manifest one of before there were checksums of files."""
    state = state_of(lake)
    files = {path: replace(entry, crc32=None) for path, entry in state.files.items()}
    write_manifest(lake, replace(state, files=files))


def flip(path: Path, position: int, bits: int = 0x5A) -> None:
    """Change one byte of a file; a negative position counts from the end."""
    content = bytearray(path.read_bytes())
    content[position] ^= bits
    path.write_bytes(content)


def footer_start(content: bytes) -> int:
    """Return where the footer of a Parquet file begins."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return content and time of change of every file below a directory."""
    return {
        path.relative_to(directory).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file()
    }


DAMAGE: dict[str, Callable[[Path], object]] = {
    "begin": lambda path: flip(path, 1),
    "page": lambda path: flip(path, 100),
    "footer": lambda path: flip(path, footer_start(path.read_bytes()) + 40),
    "footer length": lambda path: flip(path, -6),
    "end": lambda path: flip(path, -1),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"PAR1"),
    "text": lambda path: path.write_bytes(b"x" * path.stat().st_size),
}
"""What can happen to a lake file, by name."""
