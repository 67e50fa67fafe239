"""Which journalled rows are in the lake already, when a replay meets batches stored in part.

Tail sampling settles one trace of a batch before another. A span's identity for this is
(batch_seq, trace_id), because all rows of one trace in one batch are committed together; a log
record's is (batch_seq, record_idx).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector.model import schema as s
from storage.compaction import DamagedInputError, blame
from storage.files import checksum
from storage.lake_tables import IDENTITY, LOGS, SPAN_EVENTS, SPANS, TABLES, TABLES_OF
from storage.parquet import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from collector.model.batch import Batch, BatchT
    from storage.manifest_text import FileEntry

_SEQ_BYTES: Final = 8
_IDENTITY_BYTES: Final = {SPANS: 16, SPAN_EVENTS: 16, LOGS: 8}
_KEYS: Final = {
    table: pa.binary(_SEQ_BYTES + size_bytes) for table, size_bytes in _IDENTITY_BYTES.items()
}


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
        keys = {table: [pa.array([], _KEYS[table])] for table in TABLES}
        for entry in files:  # over files
            if entry.max_seq <= settled_through:
                continue
            try:
                table = _read(directory, entry)
            except UNREADABLE as error:
                problem = blame(error, directory / entry.path, entry)
                if not isinstance(problem, DamagedInputError):
                    raise problem from error
                set_aside(entry)
                continue
            later = table.filter(pc.field(s.BATCH_SEQ) > settled_through)
            keys[entry.table].append(_keys(later, entry.table))
        self._keys = {table: pc.unique(pa.concat_arrays(found)) for table, found in keys.items()}

    def drop_from(self, batch: BatchT) -> BatchT:
        """Return the rows of a replayed batch that are not in the lake and not settled.

        A row whose span went with a damaged file comes back without its events if those are in
        the lake still.
        """
        seqs = batch.column(s.BATCH_SEQ).to_numpy()
        table, *others = TABLES_OF[type(batch)]
        wanted = (seqs > self._settled_through) & ~self._is_stored(table, batch)
        rest = batch if wanted.all() else batch.keep(wanted)
        if SPAN_EVENTS not in others:
            return rest
        has_events = self._is_stored(SPAN_EVENTS, rest)
        if not has_events.any():
            return rest
        events = rest.column(s.EVENTS)
        none = pa.scalar(None, events.type)
        return rest.replace({s.EVENTS: pc.if_else(pa.array(~has_events), events, none)})

    def _is_stored(self, table: str, batch: Batch) -> NDArray[np.bool_]:
        if not len(self._keys[table]):
            return np.zeros(len(batch), bool)
        found = pc.is_in(_keys(batch.table, table), value_set=self._keys[table])
        stored: NDArray[np.bool_] = found.to_numpy(zero_copy_only=False)
        return stored


def _read(directory: Path, entry: FileEntry) -> pa.Table:
    """Return the columns of the rows' identities; raises one of ``UNREADABLE``."""
    path = directory / entry.path
    if entry.crc32 is not None and checksum(path) != entry.crc32:
        raise ValueError("checksum of the file")
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read([IDENTITY[entry.table], s.BATCH_SEQ], use_threads=False)


def _keys(rows: pa.Table, table: str) -> pa.Array:
    """Return batch_seq and what tells its rows apart as one fixed-size value a row."""
    count, key = rows.num_rows, _KEYS[table]
    if not count:
        return pa.array([], key)
    joined = np.empty((count, key.byte_width), np.uint8)
    joined[:, :_SEQ_BYTES] = _bytes_of(rows.column(s.BATCH_SEQ))
    if table == LOGS:
        joined[:, _SEQ_BYTES:] = _bytes_of(rows.column(IDENTITY[LOGS]))
    else:
        ids = rows.column(IDENTITY[table]).combine_chunks()
        width = _IDENTITY_BYTES[table]
        start = ids.offset * width
        flat = np.frombuffer(ids.buffers()[1], np.uint8)[start : start + count * width]
        joined[:, _SEQ_BYTES:] = flat.reshape(count, width)
    return pa.FixedSizeBinaryArray.from_buffers(key, count, [None, pa.py_buffer(joined)])


def _bytes_of(numbers: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Return integers as eight bytes each."""
    big_endian: NDArray[np.uint8] = numbers.to_numpy().astype(">i8").view(np.uint8)
    return big_endian.reshape(len(numbers), _SEQ_BYTES)
