"""Which journalled rows are in the lake already, when a replay meets batches stored in part.

Tail sampling settles one trace of a batch before another. A row's identity for this is
(batch_seq, trace_id), because all rows of one trace in one batch are committed together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector.model import schema as s
from storage.files import checksum, means_damage
from storage.lake_tables import SPAN_EVENTS, SPANS, TABLES
from storage.parquet import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from collector.model.batch import SpanBatch
    from storage.manifest_text import FileEntry

_TRACE_ID_BYTES = 16
_SEQ_BYTES = 8
_KEY = pa.binary(_SEQ_BYTES + _TRACE_ID_BYTES)


class CommittedRows:
    """The identities of stored rows that belong to batches not settled as a whole."""

    def __init__(
        self,
        directory: Path,
        files: Iterable[FileEntry],
        settled_through: int,
        set_aside: Callable[[FileEntry], None],
    ) -> None:
        """Read the identities; a damaged file is handed to ``set_aside``, so its rows come back.

        Raises OSError when a file cannot be reached for another reason.
        """
        self._settled_through = settled_through
        keys = {table: [pa.array([], _KEY)] for table in TABLES}
        for entry in files:  # over files
            if entry.max_seq <= settled_through:
                continue
            try:
                table = _read(directory, entry)
            except UNREADABLE as error:
                if not means_damage(error):
                    raise
                set_aside(entry)
                continue
            keys[entry.table].append(_keys(table.filter(pc.field(s.BATCH_SEQ) > settled_through)))
        self._keys = {table: pc.unique(pa.concat_arrays(found)) for table, found in keys.items()}

    def drop_from(self, batch: SpanBatch) -> SpanBatch:
        """Return the rows of a replayed batch that are not in the lake and not settled.

        A row whose span went with a damaged file comes back without its events if those are in
        the lake still.
        """
        seqs = batch.column(s.BATCH_SEQ).to_numpy()
        wanted = (seqs > self._settled_through) & ~self._is_stored(SPANS, batch)
        rest = batch if wanted.all() else batch.keep(wanted)
        has_events = self._is_stored(SPAN_EVENTS, rest)
        if not has_events.any():
            return rest
        events = rest.column(s.EVENTS)
        none = pa.scalar(None, events.type)
        return rest.replace({s.EVENTS: pc.if_else(pa.array(~has_events), events, none)})

    def _is_stored(self, table: str, batch: SpanBatch) -> NDArray[np.bool_]:
        if not len(self._keys[table]):
            return np.zeros(len(batch), bool)
        found = pc.is_in(_keys(batch.table), value_set=self._keys[table])
        stored: NDArray[np.bool_] = found.to_numpy(zero_copy_only=False)
        return stored


def _read(directory: Path, entry: FileEntry) -> pa.Table:
    """Return trace ids and batch numbers; raises one of ``UNREADABLE``."""
    path = directory / entry.path
    if entry.crc32 is not None and checksum(path) != entry.crc32:
        raise ValueError("checksum of the file")
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read([s.TRACE_ID, s.BATCH_SEQ], use_threads=False)


def _keys(table: pa.Table) -> pa.Array:
    """Return batch_seq and trace_id as one fixed-size value a row."""
    rows = table.num_rows
    if not rows:
        return pa.array([], _KEY)
    joined = np.empty((rows, _SEQ_BYTES + _TRACE_ID_BYTES), np.uint8)
    seqs = table.column(s.BATCH_SEQ).to_numpy().astype(">i8")
    joined[:, :_SEQ_BYTES] = seqs.view(np.uint8).reshape(rows, _SEQ_BYTES)
    ids = table.column(s.TRACE_ID).combine_chunks()
    start = ids.offset * _TRACE_ID_BYTES
    flat = np.frombuffer(ids.buffers()[1], np.uint8)[start : start + rows * _TRACE_ID_BYTES]
    joined[:, _SEQ_BYTES:] = flat.reshape(rows, _TRACE_ID_BYTES)
    return pa.FixedSizeBinaryArray.from_buffers(_KEY, rows, [None, pa.py_buffer(joined)])
