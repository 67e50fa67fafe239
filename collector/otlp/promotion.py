"""Promoted columns: hot attributes repeated as typed columns, copied from the *clean* maps.

Runs right behind redaction, so a promoted column can hold nothing that redaction has not seen.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model.schema import ATTRIBUTES, PROMOTIONS, RESOURCE_ATTRIBUTES, Promotion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from collector.model.batch import SpanBatch

_INTEGER: Final = r"^[+-]?[0-9]{1,18}$"
_NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_SOURCES: Final = (ATTRIBUTES, RESOURCE_ATTRIBUTES)


class Promoter:
    """A ``Processor`` that fills the columns of ``PROMOTIONS`` from the attribute maps."""

    def __init__(self) -> None:
        """Index the promotions by map and attribute key."""
        self._of_key = {source: _index(source) for source in _SOURCES}

    def process(self, batch: SpanBatch) -> SpanBatch:
        """Return the batch with its promoted columns set; null where a row has no such key."""
        columns: dict[str, pa.Array] = {}
        for source in _SOURCES:
            columns.update(self._promote(batch.column(source), self._of_key[source]))
        return batch.replace(columns) if columns else batch

    def _promote(
        self,
        attributes: pa.MapArray,
        of_key: dict[str, list[tuple[int, Promotion]]],
    ) -> Iterator[tuple[str, pa.Array]]:
        """Yield column name and array for every promotion that any row has a key of."""
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
            yield column, _typed(texts, types[column])


def _index(source: str) -> dict[str, list[tuple[int, Promotion]]]:
    ranked = chain.from_iterable(
        ((key, rank, promotion) for rank, key in enumerate(promotion.keys))
        for promotion in PROMOTIONS
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
    try:
        return texts.cast(wanted)
    except pa.ArrowInvalid:
        pattern = _INTEGER if pa.types.is_integer(wanted) else _NUMBER
        fits = pc.match_substring_regex(texts, pattern)
        return pc.if_else(fits, texts, pa.scalar(None, pa.string())).cast(wanted)
