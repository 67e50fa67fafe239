"""The span attributes that say what was redacted, as the Collector's redaction processor has them.

``redaction.masked.keys`` has the keys of the span's attributes whose values changed, sorted, with
commas between them; ``redaction.masked.count`` their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from processors.redaction.encoded import int32_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processors.redaction.encoded import Encoded

MASKED_KEYS: Final = "redaction.masked.keys"
MASKED_COUNT: Final = "redaction.masked.count"


class MaskedKeys:
    """The changed attribute values of a batch's spans, by row and key."""

    def __init__(self, key_side: Encoded, value_side: Encoded, changed: NDArray[np.bool_]) -> None:
        """Take the keys as they are written, of the values at the changed positions."""
        values = next((x for x in value_side.leaves if x.path == (s.ATTRIBUTES, "value")), None)
        keys = next((x for x in key_side.leaves if x.path == (s.ATTRIBUTES, "key")), None)
        self.rows = np.empty(0, np.int64)
        if values is None or keys is None:
            return
        positions = np.flatnonzero(changed[value_side.place(values)])
        codes = key_side.codes[key_side.place(keys)][positions]
        distinct, inverse = np.unique(codes, return_inverse=True)
        texts = np.array([key_side.text(code) for code in distinct.tolist()], object)
        order = np.argsort(texts)
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        rows = values.rows(positions)
        by_row = np.lexsort((ranks[inverse], rows))
        self.rows, starts = np.unique(rows[by_row], return_index=True)
        ends = np.append(starts, len(by_row)).astype(np.int32)
        self._keys = pa.ListArray.from_arrays(
            int32_array(ends),
            pa.array(texts, pa.string()).take(pa.array(inverse[by_row])),
        )

    def write(self, columns: dict[str, pa.Array], *, with_keys: bool) -> None:
        """Put the summary of each such span into its attributes."""
        if not len(self.rows):
            return
        entries = {MASKED_COUNT: pc.cast(pc.list_value_length(self._keys), pa.string())}
        if with_keys:
            entries[MASKED_KEYS] = pc.binary_join(self._keys, ",")
        for key, values in entries.items():
            columns[s.ATTRIBUTES] = _with_entry(columns[s.ATTRIBUTES], self.rows, key, values)
        tags = pa.repeat("int", len(self.rows))
        columns[s.NON_STRING_TYPES] = _with_entry(
            columns[s.NON_STRING_TYPES], self.rows, MASKED_COUNT, tags
        )


def _with_entry(
    column: pa.MapArray, rows: NDArray[np.int64], key: str, values: pa.Array
) -> pa.MapArray:
    """Return the maps with one entry more in these rows; an entry of that key there goes.

    ``rows`` are ascending and distinct, and ``values`` has one for each.
    """
    offsets = column.offsets.to_numpy()
    first, last = int(offsets[0]), int(offsets[-1])
    keys, items = column.keys[first:last], column.items[first:last]
    lengths = np.diff(offsets)
    same = np.flatnonzero(pc.equal(keys, key).to_numpy(zero_copy_only=False))
    owners = np.searchsorted(offsets - first, same, side="right") - 1
    gone = same[np.isin(owners, rows)]
    kept = np.delete(np.arange(len(keys)), gone)
    lengths = lengths - np.bincount(owners[np.isin(owners, rows)], minlength=len(lengths))
    ends = np.cumsum(lengths)
    order = np.insert(kept, ends[rows], len(keys) + np.arange(len(rows)))
    lengths[rows] += 1
    is_null = column.is_null().to_numpy(zero_copy_only=False)
    is_null[rows] = False
    take = pa.array(order)
    return pa.MapArray.from_arrays(
        int32_array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)),
        pa.concat_arrays([keys, pa.repeat(key, len(rows))]).take(take),
        pa.concat_arrays([items, values]).take(take),
        type=column.type,
        mask=pa.array(is_null) if is_null.any() else None,
    )
