"""Columns that repeat attributes: found in the maps and parsed, column by column.

Used on batches behind redaction, and by the lake for the columns that a configuration adds.
"""

from __future__ import annotations

from itertools import chain, groupby
from operator import itemgetter
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
    found = list(map(of_key.get, keys.dictionary.to_pylist()))  # over distinct keys
    by_type = sorted(
        {one.column: one.type for ranked in found for _, one in ranked or ()}.items(),
        key=lambda item: str(item[1]),
    )
    rows, numbers = len(attributes), {column: number for number, (column, _) in enumerate(by_type)}
    entries = np.full(len(by_type) * rows, -1)
    codes = keys.indices.to_numpy()
    for number_of in _passes(found, numbers):
        number = number_of[codes]
        at = np.flatnonzero(number >= 0)
        entries[number[at] * rows + row_of[at]] = at + first
    # all columns of a type at once: Arrow's calls cost more than rows
    for kind, columns in groupby(by_type, key=itemgetter(1)):
        names = [column for column, _ in columns]
        start = numbers[names[0]] * rows
        places = entries[start : start + len(names) * rows]
        texts = attributes.items.take(pa.array(places, mask=places < 0))
        if pa.types.is_dictionary(texts.type):
            texts = texts.dictionary_decode()
        parsed = _parsed(texts, kind)
        for number, name in enumerate(names):
            own = (number * rows, rows)
            yield name, _typed(texts.slice(*own), kind) if parsed is None else parsed.slice(*own)


def _passes(
    found: list[list[tuple[int, Promotion]] | None], numbers: dict[str, int]
) -> list[NDArray[np.int64]]:
    """Return, the least trusted first, which column each distinct key is for; -1 is for none."""
    passes: dict[tuple[int, int], NDArray[np.int64]] = {}
    for code, ranked in enumerate(found):
        for nth, (rank, one) in enumerate(ranked or ()):
            number_of = passes.setdefault((-rank, nth), np.full(len(found), -1))
            number_of[code] = numbers[one.column]
    return [passes[trust] for trust in sorted(passes)]


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


def _parsed(texts: pa.StringArray, wanted: pa.DataType) -> pa.Array | None:
    """Parse texts as the column's type in one go, None if some of them are no plain numbers."""
    if wanted == pa.string():
        return texts
    if pa.types.is_boolean(wanted):
        return _booleans(texts)
    if _is_exotic(texts, is_integer=pa.types.is_integer(wanted)):
        return None
    try:
        return texts.cast(wanted)
    except pa.ArrowInvalid:
        return None  # text among the numbers (it was redacted, say), or one beyond 64 bits


def _typed(texts: pa.StringArray, wanted: pa.DataType) -> pa.Array:
    """Parse texts as the column's type; what does not parse is null."""
    parsed = _parsed(texts, wanted)
    if parsed is not None:
        return parsed
    if pa.types.is_integer(wanted):
        return _integers(texts)
    return _fitting(texts, NUMBER_PATTERN).cast(wanted)


def _is_exotic(texts: pa.StringArray, *, is_integer: bool) -> bool:
    """Tell whether Arrow could read a number where the patterns see none: 0x1F, nan, infinity."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return False
    first, last = np.frombuffer(offsets, np.int32)[[texts.offset, texts.offset + len(texts)]]
    letters = np.frombuffer(data, np.uint8)[first:last]
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
