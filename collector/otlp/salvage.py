"""Requests with invalid UTF-8 in a string: kept, with U+FFFD where the bytes were wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collector.otlp.descriptor import Handlers


def replace_invalid_utf8(raw: pa.RecordBatch, handlers: Handlers) -> pa.RecordBatch:
    """Turn a batch of the lenient handler into the types of the strict one.

    Only requests that are broken come here, so this may look at strings one at a time.
    """
    target = handlers.strict.list_to_record_batch([]).schema
    columns = [_as(raw.column(field.name), field.type) for field in target]
    return pa.RecordBatch.from_arrays(columns, schema=target)


def _as(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type.equals(wanted):
        return array
    if pa.types.is_list(wanted):
        return pa.ListArray.from_arrays(
            array.offsets,
            _as(array.values, wanted.value_type),
            type=wanted,
        )
    if pa.types.is_struct(wanted):
        children = [_as(array.field(field.name), field.type) for field in wanted]
        return pa.StructArray.from_arrays(children, fields=list(wanted), mask=array.is_null())
    texts = [
        None if text is None else text.decode("utf-8", "replace") for text in array.to_pylist()
    ]
    return pa.array(texts, wanted)
