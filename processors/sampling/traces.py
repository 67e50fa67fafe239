"""The traces that wait for a decision, in order of arrival, and what is known of each so far."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from collector.model.batch import SpanBatch

START: Final = "start_ns"
END: Final = "end_ns"
STATUS: Final = "status"
COST: Final = "cost_nano_usd"
IS_PRICED: Final = "is_priced"
EXPLICIT: Final = "explicit_randomness"

TRACE: Final = np.dtype(
    [
        ("id", "V16"),
        ("deadline", "f8"),
        (START, "i8"),
        (END, "i8"),
        (STATUS, "u1"),
        (COST, "f8"),
        (IS_PRICED, "?"),
        (EXPLICIT, "i8"),
    ],
    align=True,
)
_MAX_NS: Final = np.iinfo(np.int64).max
_FIRST_ROOM: Final = 1024
_UNKNOWN: Final = -1
STATUS_BIT: Final = {name: 1 << position for position, name in enumerate(s.STATUS_NAMES)}


class TraceQueue:
    """A queue of traces, each with a number that rises by one a trace and never comes again.

    The first span of a trace sets its place and its deadline, so the traces that are due are
    always the first ones. What policies ask about is kept up to date as spans arrive: a decision
    reads no span.
    """

    def __init__(self, facts: Collection[str]) -> None:
        """Wait for traces, and keep only these ``facts`` of them (names above)."""
        self._facts = frozenset(facts)
        self._numbers: dict[bytes, int] = {}
        self._traces = np.zeros(_FIRST_ROOM, TRACE)
        self._offset = 0  # where the first trace stands in the array
        self.first = 0
        self.end = 0

    def __len__(self) -> int:
        """Return how many traces wait."""
        return self.end - self.first

    def find(self, ids: NDArray[np.void]) -> NDArray[np.int64]:
        """Return the number of each trace, -1 where it does not wait."""
        found = map(self._numbers.get, ids.tolist(), repeat(_UNKNOWN))
        return np.fromiter(found, np.int64, len(ids))

    def add(self, ids: NDArray[np.void], deadline: float) -> NDArray[np.int64]:
        """Let new traces wait until ``deadline``; return their numbers."""
        numbers = np.arange(self.end, self.end + len(ids))
        self._make_room(len(ids))
        new = self._slice(self.end, self.end + len(ids))
        new["id"] = ids
        new["deadline"] = deadline
        new[START] = _MAX_NS
        new[END] = 0
        new[STATUS] = 0
        new[COST] = 0
        new[IS_PRICED] = False
        new[EXPLICIT] = _UNKNOWN
        self._numbers.update(zip(ids.tolist(), numbers.tolist(), strict=True))
        self.end += len(ids)
        return numbers

    def observe(
        self,
        numbers: NDArray[np.int64],
        batch: SpanBatch,
        explicit_randomness: NDArray[np.int64] | None,
    ) -> None:
        """Add the rows of a batch to what is known of their traces."""
        traces, at = self._slice(self.first, self.end), numbers - self.first
        if START in self._facts:
            start = np.maximum(_whole(batch, s.START_TIME_UNIX_NANO), 0)
            duration = np.maximum(_whole(batch, s.DURATION_NS), 0)
            np.minimum.at(traces[START], at, start)
            np.maximum.at(traces[END], at, start + np.minimum(duration, _MAX_NS - start))
        if STATUS in self._facts:
            np.bitwise_or.at(traces[STATUS], at, _status_bits(batch))
        if COST in self._facts:
            column = batch.column(s.COST_USD)
            if column.null_count < len(column):
                is_priced = np.asarray(column.is_valid())
                np.add.at(traces[COST], at[is_priced], _nano_usd(column)[is_priced])
                traces[IS_PRICED][at[is_priced]] = True
        if explicit_randomness is not None:
            np.maximum.at(traces[EXPLICIT], at, explicit_randomness)

    def due(self, now: float) -> int:
        """Return the number of the first trace whose deadline has not come yet."""
        deadlines = self._slice(self.first, self.end)["deadline"]
        return self.first + int(np.searchsorted(deadlines, now, side="right"))

    def peek(self, end: int) -> NDArray[np.void]:
        """Return what is known of the traces before ``end``; valid until the next ``add``."""
        return self._slice(self.first, end)

    def forget(self, end: int) -> None:
        """Let the traces before ``end`` go."""
        leaving = np.ascontiguousarray(self._slice(self.first, end)["id"]).tolist()
        for trace_id in leaving:  # traces that were decided, not spans
            del self._numbers[trace_id]
        self._offset += end - self.first
        self.first = end

    def _slice(self, start: int, end: int) -> NDArray[np.void]:
        shift = self._offset - self.first
        return self._traces[start + shift : end + shift]

    def _make_room(self, count: int) -> None:
        """Move the waiting traces to the front, of a bigger array if they fill half of this one."""
        if self._offset + len(self) + count <= len(self._traces):
            return
        waiting = self._slice(self.first, self.end)
        room = np.zeros(max(2 * (len(self) + count), _FIRST_ROOM), TRACE)
        room[: len(waiting)] = waiting
        self._traces, self._offset = room, 0


def _whole(batch: SpanBatch, name: str) -> NDArray[np.int64]:
    values: NDArray[np.int64] = pc.fill_null(batch.column(name), 0).to_numpy()
    return values


def _status_bits(batch: SpanBatch) -> NDArray[np.uint8]:
    encoded = batch.column(s.STATUS_CODE).dictionary_encode(null_encoding="encode")
    unset = STATUS_BIT["UNSET"]
    bits = [STATUS_BIT.get(name, unset) for name in encoded.dictionary.to_pylist()]  # at most 4
    of_row: NDArray[np.uint8] = np.array(bits, np.uint8)[encoded.indices.to_numpy()]
    return of_row


def _nano_usd(column: pa.Array) -> NDArray[np.int64]:
    """Return the low halves of a DECIMAL(18,9) column, which hold the whole value."""
    halves = np.frombuffer(column.buffers()[1], np.int64)
    return halves[2 * column.offset : 2 * (column.offset + len(column)) : 2]
