"""The spans that wait for their trace's decision, in blocks that are freed as a whole.

A batch of some size is kept as it came: copying all of them into bigger blocks took 1.8 µs a span,
most of which are then dropped. Small batches are put together, because 84 columns weigh some 30 KB
however few rows they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model.batch import SpanBatch
from collector.model.schema import BATCH_SEQ, SPAN_SCHEMA
from processors.sampling.constants import NOTHING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SMALL_ROWS: Final = 128
_DECIDED: Final = np.iinfo(np.int64).max


@dataclass(slots=True)
class _Block:
    """Rows, the number of each row's trace, and where the row came from.

    A sealed block's ``table`` lacks the columns that hold only nulls.
    ``low`` is the lowest trace number that is still undecided in it, ``oldest_seq`` the lowest
    ``batch_seq`` of an undecided row.
    """

    table: pa.Table
    traces: NDArray[np.int64]
    seqs: NDArray[np.int64]
    low: int
    oldest_seq: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Released:
    """Rows that were decided: the kept ones with their trace numbers, and how many were dropped."""

    kept: SpanBatch
    traces: NDArray[np.int64]
    dropped: int


class HeldSpans:
    """Blocks in order of arrival.

    ``size_bytes`` is what the blocks take, decided rows that still are in them included.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._blocks: list[_Block] = []
        self._small = 0  # how many of the last blocks are small
        self.rows = 0
        self.size_bytes = 0
        self.oldest_seq: int | None = None

    def add(self, batch: SpanBatch, traces: NDArray[np.int64]) -> None:
        """Hold a batch whose rows belong to the traces of these numbers."""
        seqs = pc.fill_null(batch.column(BATCH_SEQ), 0).to_numpy()
        block = _block(batch.table, traces, seqs)
        self.rows += len(batch)
        self.size_bytes += block.size_bytes
        oldest = block.oldest_seq
        self.oldest_seq = oldest if self.oldest_seq is None else min(self.oldest_seq, oldest)
        if len(batch) >= SMALL_ROWS:
            self._join_small()
            self._blocks.append(block)
            return
        self._blocks.append(block)
        self._small += 1
        if sum(len(each.traces) for each in self._blocks[-self._small :]) >= SMALL_ROWS:
            self._join_small()

    def release(self, first: int, end: int, is_kept: NDArray[np.bool_]) -> Released:
        """Let go of the traces ``first`` to ``end``, of which ``is_kept`` tells the kept ones."""
        touched = [block for block in self._blocks if block.low < end]
        if not touched:
            return Released(NOTHING, np.zeros(0, np.int64), 0)
        traces = np.concatenate([block.traces for block in touched])
        decided = np.flatnonzero((traces >= first) & (traces < end))
        wanted = decided[is_kept[traces[decided] - first]]
        kept = _rows_of([block.table for block in touched], wanted)
        seqs = np.concatenate([block.seqs for block in touched])
        sizes = np.array([len(block.traces) for block in touched])
        starts = np.cumsum(sizes) - sizes
        remains = traces >= end
        lows = np.minimum.reduceat(np.where(remains, traces, _DECIDED), starts).tolist()
        oldest = np.minimum.reduceat(np.where(remains, seqs, _DECIDED), starts).tolist()
        for block, low, seq in zip(touched, lows, oldest, strict=True):  # blocks, not spans
            block.low, block.oldest_seq = low, seq
        self._drop_decided()
        self.rows -= len(decided)
        return Released(kept, traces[wanted], len(decided) - len(wanted))

    def end_to_free(self, first: int, most_bytes: float) -> int:
        """Return up to which trace to decide so that the rest takes about that many bytes.

        ``first`` is the first undecided trace. Reads every row's trace number.
        """
        traces = np.concatenate([block.traces for block in self._blocks])
        most_rows = int(len(traces) * most_bytes / self.size_bytes)
        traces = traces[traces >= first]
        leaving = len(traces) - most_rows
        return int(np.partition(traces, leaving - 1)[leaving - 1]) + 1 if leaving > 0 else first

    def compact(self, first: int) -> None:
        """Free the rows of decided traces (those before ``first``) that undecided ones keep alive.

        Copies the rest of their blocks, so it is for when memory is short.
        """
        for block in self._blocks:  # blocks, not spans
            remaining = block.traces >= first
            if not remaining.all():
                block.table = block.table.take(pa.array(np.flatnonzero(remaining)))
                block.traces, block.seqs = block.traces[remaining], block.seqs[remaining]
                block.size_bytes = int(block.table.nbytes)
        self._recount()

    def _join_small(self) -> None:
        """Copy the small blocks at the end into one."""
        small = self._blocks[-self._small :] if self._small else []
        self._small = 0
        if len(small) > 1:
            columns = pa.concat_tables([block.table for block in small]).columns
            arrays = [pa.concat_arrays(column.chunks) for column in columns]
            joined = _block(
                pa.Table.from_arrays(arrays, schema=SPAN_SCHEMA),
                np.concatenate([block.traces for block in small]),
                np.concatenate([block.seqs for block in small]),
            )
            joined.low = min(block.low for block in small)
            joined.oldest_seq = min(block.oldest_seq for block in small)
            self._blocks[-len(small) :] = [joined]
            self.size_bytes += joined.size_bytes - sum(block.size_bytes for block in small)

    def _drop_decided(self) -> None:
        small = self._blocks[-self._small :] if self._small else []
        self._small = sum(block.low != _DECIDED for block in small)
        self._blocks = [block for block in self._blocks if block.low != _DECIDED]
        self._recount()

    def _recount(self) -> None:
        self.size_bytes = sum(block.size_bytes for block in self._blocks)
        self.oldest_seq = min((block.oldest_seq for block in self._blocks), default=None)


def _block(table: pa.Table, traces: NDArray[np.int64], seqs: NDArray[np.int64]) -> _Block:
    return _Block(
        table,
        traces,
        seqs,
        int(traces.min()),
        int(seqs.min()),
        int(table.get_total_buffer_size()),
    )


def _rows_of(tables: Sequence[pa.Table], wanted: NDArray[np.int64]) -> SpanBatch:
    """Return these rows of the tables put together.

    Columns of nulls only, half of them in most traffic, are made anew: to take rows out of one
    costs as much as out of any other.
    """
    if not len(wanted):
        return NOTHING
    together = pa.concat_tables(tables)
    used = [
        name
        for name, column in zip(together.column_names, together.columns, strict=True)
        if column.null_count < len(column)
    ]
    taken = together.select(used).take(pa.array(wanted))
    columns = dict(zip(used, taken.columns, strict=True))
    return SpanBatch.from_columns(columns, len(wanted))
