"""Groups the rows of a batch by their label values, column by column.

Each label column becomes integer codes; the codes of several columns become one integer key; the
distinct keys are the groups. Python only ever sees the distinct groups of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

MAX_LABEL_CHARS: Final = 256
_CUT: Final = itemgetter(slice(MAX_LABEL_CHARS))
# Keys are int64: above this the product of two columns' sizes could overflow.
_MAX_KEY: Final = 2**62


@dataclass(frozen=True, slots=True)
class Codes:
    """One label of every row: ``values[codes[row]]``. Values need not be distinct."""

    codes: NDArray[np.int64]
    values: list[str]

    def take(self, rows: NDArray[np.int64]) -> Codes:
        """Return the label of these rows only."""
        return Codes(self.codes[rows], self.values)


@dataclass(frozen=True, slots=True)
class Groups:
    """The label values of every row: ``labels[codes[row]]``; every group has a row."""

    codes: NDArray[np.int64]
    labels: list[tuple[str, ...]]

    def select(self, rows: NDArray[np.int64]) -> Groups:
        """Return the groups of these rows only, without those that no row is left of."""
        present, codes = np.unique(self.codes[rows], return_inverse=True)
        return Groups(codes, list(map(self.labels.__getitem__, present.tolist())))

    def labelled(self, value: str) -> Groups:
        """Return the same groups with one more label, the same for all."""
        return Groups(self.codes, [(*label, value) for label in self.labels])

    def refine(self, column: Codes) -> Groups:
        """Return the groups split by one more label."""
        first, codes = _distinct(
            [(self.codes, len(self.labels)), (column.codes, len(column.values))]
        )
        heads = map(self.labels.__getitem__, self.codes[first].tolist())
        tails = map(column.values.__getitem__, column.codes[first].tolist())
        return Groups(codes, [(*head, tail) for head, tail in zip(heads, tails, strict=True)])


def encode(column: pa.Array, prefix: str = "") -> Codes:
    """Return a string column as codes: null is "", long values are cut, ``prefix`` goes before.

    The column has at least one row.
    """
    encoded = column.dictionary_encode(null_encoding="encode")
    # the values are distinct and few; each Arrow call on them would cost 6 us
    values = encoded.dictionary.to_pylist()
    if None in values:
        values[values.index(None)] = ""
    if max(map(len, values)) > MAX_LABEL_CHARS:
        values = list(map(_CUT, values))
    if prefix:
        values = list(map(prefix.__add__, values))
    return Codes(encoded.indices.to_numpy(), values)


def group(*columns: Codes) -> Groups:
    """Return the rows grouped by all columns; there is at least one row."""
    first, codes = _distinct([(column.codes, len(column.values)) for column in columns])
    labels: list[Any] = [
        map(column.values.__getitem__, column.codes[first].tolist()) for column in columns
    ]
    return Groups(codes, list(zip(*labels, strict=True)))


def _distinct(
    columns: list[tuple[NDArray[np.int64], int]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return one row of each distinct combination, and each row's combination."""
    key, size = columns[0][0].astype(np.int64), columns[0][1]
    for codes, values in columns[1:]:
        if size * values > _MAX_KEY:
            distinct, key = np.unique(key, return_inverse=True)
            size = len(distinct)
        key = key * values + codes
        size *= values
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return first, inverse
