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
from storage.files import means_damage
from storage.lake_tables import SPANS
from storage.parquet import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

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
        keys = [pa.array([], _KEY)]
        for entry in files:  # over files
            if entry.table != SPANS or entry.max_seq <= settled_through:
                continue
            try:
                with pq.ParquetFile(
                    directory / entry.path,
                    page_checksum_verification=True,
                ) as file:
                    table = file.read([s.TRACE_ID, s.BATCH_SEQ], use_threads=False)
            except UNREADABLE as error:
                if not means_damage(error):
                    raise
                set_aside(entry)
                continue
            keys.append(_keys(table.filter(pc.field(s.BATCH_SEQ) > settled_through)))
        self._keys = pc.unique(pa.concat_arrays(keys))

    def drop_from(self, batch: SpanBatch) -> SpanBatch:
        """Return the rows of a replayed batch that are not in the lake and not settled."""
        seqs = batch.column(s.BATCH_SEQ).to_numpy()
        unsettled = seqs > self._settled_through
        if not len(self._keys):
            return batch if unsettled.all() else batch.keep(unsettled)
        stored = pc.is_in(_keys(batch.table), value_set=self._keys).to_numpy(zero_copy_only=False)
        return batch.keep(unsettled & ~stored)


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
