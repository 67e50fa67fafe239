"""What is stored of a signal while a sidecar goes on writing it: read without a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.model.errors import ClearspanError
from storage.data_directory import JOURNAL, LAKE
from storage.files import is_locked, list_directory
from storage.journal_frame import FrameError, decode
from storage.journal_segment import Segment, scan
from storage.lake_tables import rows_of
from storage.manifest_check import read_manifests
from storage.manifest_text import empty_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from collector.model.batch import Batch
    from storage.layout import Layout
    from storage.manifest_text import ManifestState


class LiveData:
    """What is stored of a signal while a sidecar goes on writing, to find rows in; not locked."""

    def __init__(self, path: Path) -> None:
        """Take a data directory."""
        self._path = path
        self._lake = path / LAKE

    def journalled(self) -> Iterator[dict[str, pa.Table]]:
        """Yield what the journal holds, a batch as the lake would have it.

        To be asked before ``files_by_table``: what the journal drops meanwhile is in newer files.
        """
        for path in list_directory(self._path / JOURNAL):
            segment = Segment.named(path)
            try:
                data = path.read_bytes() if segment else b""
            except FileNotFoundError:
                continue
            if segment is None:
                continue
            scan(segment, data, None)
            for batch in batches_of(segment, data, ""):
                yield rows_of(batch.table)

    def files_by_table(self) -> dict[str, list[Path]]:
        """Return the lake's files as of now; raises ``ClearspanError`` without a manifest."""
        state = self._state()
        return {
            table: [self._lake / one.path for one in state.files.values() if one.table == table]
            for table in state.tables
        }

    @property
    def layout(self) -> Layout:
        """The promoted columns of files that are written now."""
        return self._state().layout

    def _state(self) -> ManifestState:
        state = read_manifests(self._lake).state
        if state is None:
            raise ClearspanError(f"there is no readable manifest in {self._lake}")
        return state

    def empty_file(self, table: str) -> Path:
        """Return a table's file without rows, with all columns of today."""
        return self._lake / empty_path(table)

    def relative(self, file: Path) -> str:
        """Return a file's path as the manifest has it."""
        return file.relative_to(self._lake).as_posix()

    @property
    def is_served(self) -> bool:
        """Tell whether a process holds the directory, in whatever container it may be."""
        return is_locked(self._path)


def batches_of(segment: Segment, data: bytes, source_id: str) -> Iterator[Batch]:
    """Yield a segment's batches; raises ``ClearspanError`` where another version wrote it."""
    view = memoryview(data)
    for frame in segment.frames:
        part = view[frame.offset : frame.offset + frame.size_bytes]
        try:
            yield decode(part, frame, segment.schema, source_id)
        except FrameError as error:
            raise ClearspanError(f"{segment.path} was written by another version") from error
