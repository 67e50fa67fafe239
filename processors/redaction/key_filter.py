"""Removes attributes whose keys are not allowed, wherever a row has attributes or a map as body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collector.model.log_schema import BODY
from processors.redaction.body import with_allowed_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from collector.model.batch import BatchT


class KeyFilter:
    """Keeps the attributes that ``is_allowed`` says yes to; asked once a distinct key of a map."""

    def __init__(self, is_allowed: Callable[[str], bool]) -> None:
        """Keep the question."""
        self._is_allowed = is_allowed

    def apply(self, batch: BatchT) -> tuple[BatchT, int]:
        """Return the batch without the other attributes, and how many those were."""
        columns: dict[str, pa.Array] = {}
        removed = 0
        for field in batch.schema:  # columns
            array = batch.column(field.name)
            kept, gone = self._filtered(array, is_tags=field.name.endswith("non_string_types"))
            if kept is not array:
                columns[field.name] = kept
                removed += gone
        bodies = with_allowed_keys(batch, self._is_allowed)
        if bodies is not None:
            columns[BODY], gone = bodies
            removed += gone
        return (batch.replace(columns) if columns else batch), removed

    def _filtered(self, array: pa.Array, *, is_tags: bool) -> tuple[pa.Array, int]:
        """Return the array with the maps in it filtered; the same array if nothing went."""
        if pa.types.is_map(array.type):
            return self._map(array, is_tags=is_tags)
        if pa.types.is_list(array.type) and pa.types.is_struct(array.type.value_type):
            first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
            items = array.values.slice(first, last - first)
            kept, removed = self._struct(items)
            if kept is items:
                return array, 0
            offsets = pa.array(array.offsets.to_numpy() - first, pa.int32())
            mask = array.is_null() if array.null_count else None
            return pa.ListArray.from_arrays(offsets, kept, type=array.type, mask=mask), removed
        return array, 0

    def _struct(self, items: pa.StructArray) -> tuple[pa.StructArray, int]:
        fields = list(items.type)
        children, removed = [], 0
        for index, field in enumerate(fields):
            child, gone = self._filtered(
                items.field(index), is_tags=field.name.endswith("non_string_types")
            )
            children.append(child)
            removed += gone
        same = all(child is items.field(index) for index, child in enumerate(children))
        if same or not removed:
            return items, 0
        return pa.StructArray.from_arrays(children, fields=fields), removed

    def _map(self, array: pa.MapArray, *, is_tags: bool) -> tuple[pa.MapArray, int]:
        offsets = array.offsets.to_numpy()
        first, last = int(offsets[0]), int(offsets[-1])
        keys = array.keys.slice(first, last - first)
        keep = self._kept(keys)
        if keep.all():
            return array, 0
        ends = np.concatenate([[0], np.cumsum(keep)]).astype(np.int32)
        mask = pa.array(keep)
        filtered = pa.MapArray.from_arrays(
            pa.array(ends[offsets - first]),
            keys.filter(mask),
            array.items.slice(first, last - first).filter(mask),
        )
        return filtered, 0 if is_tags else int(len(keep) - ends[-1])

    def _kept(self, keys: pa.StringArray) -> NDArray[np.bool_]:
        encoded = keys.dictionary_encode()
        allowed = np.array(list(map(self._is_allowed, encoded.dictionary.to_pylist())), bool)
        kept: NDArray[np.bool_] = allowed[encoded.indices.to_numpy()]
        return kept
