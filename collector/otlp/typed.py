"""MAP columns back to attribute lists: text and type tag become the AnyValue they came from."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from collector.model.schema import TYPE_TAGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_STRING: Final = len(TYPE_TAGS)


def key_values(values: pa.MapArray, types: pa.MapArray, wanted: pa.ListType) -> pa.ListArray:
    """Return ``list<struct<key, value: AnyValue>>`` in the wire's nested type, one list a row."""
    offsets = values.offsets.to_numpy()
    first, last = int(offsets[0]), int(offsets[-1])
    keys = values.keys.slice(first, last - first)
    texts = values.items.slice(first, last - first)
    tags = _aligned_tags(values, types, keys)
    value_type = wanted.value_type.field("value").type
    unparsed = np.zeros(len(keys), bool)
    fields: dict[str, pa.Array] = {}
    for tag, field, parse in _PARSERS:
        parsed = _parse_where(
            texts, tags == TYPE_TAGS.index(tag), parse, value_type.field(field).type
        )
        if parsed is not None:
            failed = (tags == TYPE_TAGS.index(tag)) & parsed.is_null().to_numpy(
                zero_copy_only=False
            )
            unparsed |= failed
            fields[field] = parsed
    _add_otlp(fields, unparsed, texts, tags, value_type)
    is_text = (tags == _STRING) | unparsed
    fields["string_value"] = _where(is_text, texts)
    children = [
        fields.get(child.name, pa.nulls(len(keys), child.type)).cast(child.type)
        for child in value_type
    ]
    absent = pa.array(tags == TYPE_TAGS.index("absent"))
    value = pa.StructArray.from_arrays(children, fields=list(value_type), mask=absent)
    entry_type = wanted.value_type
    strindex = pa.array(np.zeros(len(keys), np.int32))
    entries = pa.StructArray.from_arrays([keys, value, strindex], fields=list(entry_type))
    return pa.ListArray.from_arrays(pa.array(offsets - first), entries, type=wanted)


def _where(mask: NDArray[np.bool_], array: pa.Array) -> pa.Array:
    """Return the array with null where the mask is false."""
    return array.take(pa.array(np.arange(len(array)), mask=~mask))


def _aligned_tags(values: pa.MapArray, types: pa.MapArray, keys: pa.Array) -> NDArray[np.int64]:
    """Return for every entry of ``values`` the position of its tag, or ``_STRING``."""
    tag_offsets = types.offsets.to_numpy()
    first, last = int(tag_offsets[0]), int(tag_offsets[-1])
    tags = np.full(len(keys), _STRING)
    if first == last:
        return tags
    tag_keys = types.keys.slice(first, last - first)
    names = types.items.slice(first, last - first).dictionary_encode()
    positions = np.array([TYPE_TAGS.index(name) for name in names.dictionary.to_pylist()])
    codes = pa.chunked_array([keys, tag_keys]).dictionary_encode().combine_chunks().indices
    size = len(codes)
    entry_rows = np.repeat(np.arange(len(values)), np.diff(values.offsets.to_numpy()))
    tag_rows = np.repeat(np.arange(len(types)), np.diff(tag_offsets))
    entry_ids = entry_rows * size + codes.to_numpy()[: len(keys)]
    tag_ids = tag_rows * size + codes.to_numpy()[len(keys) :]
    order = np.argsort(tag_ids, kind="stable")
    found = np.searchsorted(tag_ids[order], entry_ids)
    found[found == len(order)] = 0
    hit = tag_ids[order[found]] == entry_ids
    tags[hit] = positions[names.indices.to_numpy()[order[found[hit]]]]
    return tags


def _parse_where(
    texts: pa.StringArray,
    mask: NDArray[np.bool_],
    parse: Callable[[str], Any],
    wanted: pa.DataType,
) -> pa.Array | None:
    """Parse the texts under the mask, once a distinct one; null elsewhere and on failure."""
    if not mask.any():
        return None
    encoded = _where(mask, texts).dictionary_encode()
    parsed = pa.array([_or_none(parse, text) for text in encoded.dictionary.to_pylist()], wanted)
    return parsed.take(encoded.indices)


def _or_none(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error):
        return None


def _int64(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError("out of range")
    return number


def _bool(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _array(text: str) -> bytes:
    raw: bytes = _plain(_a(json.loads(text), list)).array_value.SerializeToString()
    return raw


def _kvlist(text: str) -> bytes:
    raw: bytes = _plain(_a(json.loads(text), dict)).kvlist_value.SerializeToString()
    return raw


def _a(value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise ValueError("another kind of JSON")  # noqa: TRY004 - a failed parse, caught above
    return value


def _plain(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=map(_plain, value)))
        case dict():
            pairs = [KeyValue(key=key, value=_plain(item)) for key, item in value.items()]
            return AnyValue(kvlist_value=KeyValueList(values=pairs))
        case _:
            raise ValueError("no AnyValue")


def _typed(value: dict[str, Any]) -> AnyValue:
    if not value:
        return AnyValue()
    [(kind, item)] = value.items()
    return _TYPED[kind](item)


def _typed_pair(pair: dict[str, Any]) -> KeyValue:
    value = _typed(pair["value"]) if "value" in pair else None
    return KeyValue(key=pair["key"], value=value)


_TYPED: Final[dict[str, Callable[[Any], AnyValue]]] = {
    "stringValue": lambda v: AnyValue(string_value=v),
    "boolValue": lambda v: AnyValue(bool_value=v),
    "intValue": lambda v: AnyValue(int_value=int(v)),
    "doubleValue": lambda v: AnyValue(double_value=float(v)),
    "bytesValue": lambda v: AnyValue(bytes_value=_bytes(v)),
    "arrayValue": lambda v: AnyValue(array_value=ArrayValue(values=map(_typed, v["values"]))),
    "kvlistValue": lambda v: AnyValue(
        kvlist_value=KeyValueList(values=map(_typed_pair, v["values"])),
    ),
}


def _otlp(kind: str) -> Callable[[str], bytes | None]:
    def parse(text: str) -> bytes | None:
        value = _typed(_a(json.loads(text), dict))
        nested: bytes = getattr(value, kind).SerializeToString()
        return nested if value.WhichOneof("value") == kind else None

    return parse


def _add_otlp(
    fields: dict[str, pa.Array],
    unparsed: NDArray[np.bool_],
    texts: pa.StringArray,
    tags: NDArray[np.int64],
    value_type: pa.StructType,
) -> None:
    """Parse the ``otlp`` texts, which are arrays or maps, into the field of their kind."""
    mask = tags == TYPE_TAGS.index("otlp")
    left = mask.copy()
    for field in ("array_value", "kvlist_value"):
        parsed = _parse_where(texts, mask, _otlp(field), value_type.field(field).type)
        if parsed is not None:
            left &= parsed.is_null().to_numpy(zero_copy_only=False)
            known = fields.get(field)
            fields[field] = parsed if known is None else pc.coalesce(known, parsed)
    unparsed |= left


_PARSERS: Final[tuple[tuple[str, str, Callable[[str], Any]], ...]] = (
    ("int", "int_value", _int64),
    ("double", "double_value", float),
    ("bool", "bool_value", _bool),
    ("bytes", "bytes_value", _bytes),
    ("array", "array_value", _array),
    ("kvlist", "kvlist_value", _kvlist),
)
