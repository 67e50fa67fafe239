"""Columns that repeat attributes: found in the maps and parsed, column by column.

Used on batches behind redaction, and by the lake for the columns that a configuration adds.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model.schema import ATTRIBUTES, RESOURCE_ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from collector.model.schema import Promotion

INTEGER_PATTERN: Final = r"^[+-]?[0-9]{1,30}$"
NUMBER_PATTERN: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_SOURCES: Final = (ATTRIBUTES, RESOURCE_ATTRIBUTES)
_WIDE: Final = pa.decimal128(38, 0)
_MOST: Final = 2**63


class AttributeColumns:
    """Makes the columns of promotions from the attribute maps."""

    def __init__(self, promotions: Iterable[Promotion]) -> None:
        """Index the promotions by map and attribute key."""
        promotions = tuple(promotions)
        self._of_key = {source: _index(source, promotions) for source in _SOURCES}

    def of(self, map_of: Callable[[str], pa.MapArray]) -> dict[str, pa.Array]:
        """Return name and values of every column that any row has a key of; null without it.

        ``map_of`` gives the map column of a name, one entry a row, of strings or dictionaries of
        them. A value that does not parse as the column's type is null, whatever the rows beside it
        hold.
        """
        columns: dict[str, pa.Array] = {}
        for source, of_key in self._of_key.items():
            if of_key:
                columns.update(_promote(map_of(source), of_key))
        return columns


def _promote(
    attributes: pa.MapArray,
    of_key: dict[str, list[tuple[int, Promotion]]],
) -> Iterator[tuple[str, pa.Array]]:
    offsets = attributes.offsets.to_numpy()
    first, last = offsets[0], offsets[-1]
    keys = attributes.keys.slice(first, last - first).dictionary_encode()
    row_of = np.repeat(np.arange(len(attributes)), np.diff(offsets))
    codes = keys.indices.to_numpy()
    present = keys.dictionary.to_pylist()
    wanted = sorted(
        (
            (rank, promotion, code)
            for code, found in enumerate(map(of_key.get, present))
            if found
            for rank, promotion in found
        ),
        key=lambda item: -item[0],
    )  # a few dozen distinct keys; the most trusted last, so that it wins
    entries: dict[str, NDArray[np.int64]] = {}
    for _, promotion, code in wanted:
        entry = entries.setdefault(promotion.column, np.full(len(attributes), -1))
        places = np.flatnonzero(codes == code)
        entry[row_of[places]] = places + first
    types = {promotion.column: promotion.type for _, promotion, _ in wanted}
    for column, entry in entries.items():
        texts = attributes.items.take(pa.array(entry, mask=entry < 0))
        if pa.types.is_dictionary(texts.type):
            texts = texts.dictionary_decode()
        yield column, _typed(texts, types[column])


def _index(source: str, promotions: Iterable[Promotion]) -> dict[str, list[tuple[int, Promotion]]]:
    ranked = chain.from_iterable(
        ((key, rank, promotion) for rank, key in enumerate(promotion.keys))
        for promotion in promotions
        if promotion.source == source
    )
    index: dict[str, list[tuple[int, Promotion]]] = {}
    for key, rank, promotion in ranked:
        index.setdefault(key, []).append((rank, promotion))
    return index


def _typed(texts: pa.StringArray, wanted: pa.DataType) -> pa.Array:
    """Parse texts as the column's type; what does not parse (it was redacted, say) is null."""
    if wanted == pa.string():
        return texts
    if pa.types.is_boolean(wanted):
        return _booleans(texts)
    is_integer = pa.types.is_integer(wanted)
    if not _is_exotic(texts, is_integer=is_integer):
        try:
            return texts.cast(wanted)
        except pa.ArrowInvalid:
            pass  # text among the numbers, or one beyond 64 bits
    return _integers(texts) if is_integer else _fitting(texts, NUMBER_PATTERN).cast(wanted)


def _is_exotic(texts: pa.StringArray, *, is_integer: bool) -> bool:
    """Tell whether Arrow could read a number where the patterns see none: 0x1F, nan, infinity."""
    data = texts.buffers()[2]
    if data is None:
        return False
    # a superset is enough, so neither offset nor length is looked at
    letters = np.frombuffer(data, np.uint8)
    return bool((letters > ord("9")).any() if is_integer else (letters | 0x20 == ord("n")).any())


def _booleans(texts: pa.StringArray) -> pa.Array:
    lower = pc.utf8_lower(texts)
    is_either = pc.is_in(lower, value_set=pa.array(["true", "false"]))
    return pc.if_else(is_either, pc.equal(lower, "true"), pa.scalar(None, pa.bool_()))


def _integers(texts: pa.StringArray) -> pa.Array:
    wide = _fitting(texts, INTEGER_PATTERN).cast(_WIDE)
    low, high = (pa.scalar(bound, pa.decimal128(20, 0)) for bound in (-_MOST, _MOST - 1))
    is_in_range = pc.and_(pc.greater_equal(wide, low), pc.less_equal(wide, high))
    return pc.if_else(is_in_range, wide, pa.scalar(None, _WIDE)).cast(pa.int64())


def _fitting(texts: pa.StringArray, pattern: str) -> pa.StringArray:
    fits = pc.match_substring_regex(texts, pattern)
    return pc.if_else(fits, texts, pa.scalar(None, pa.string()))
