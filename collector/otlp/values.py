"""Attribute lists to MAP columns: every value as text, with a type tag where it was no string."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from collector.model.schema import TYPE_TAGS
from collector.otlp.salvage import replace_in_nested

if TYPE_CHECKING:
    from collections.abc import Callable
    from functools import _lru_cache_wrapper

    from numpy.typing import NDArray

    from collector.otlp.salvage import NestedKind, Salvage

    _Parser = _lru_cache_wrapper[tuple[str, int]]

# A nested value that is no message, or deeper than protobuf's own limit of 100 messages: its span
# is kept, it is not.
UNREADABLE: Final = "<unreadable nested value>"
_TAGS: Final = pa.array(TYPE_TAGS, pa.string())
_NO_TAG: Final = -1
# Longer nested values (tool definitions, messages) rarely repeat and would make the memory large.
_REMEMBERED_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class AttributeMaps:
    """Two MAP columns of equal length: all values as text, and the tags of the non-strings."""

    values: pa.MapArray
    types: pa.MapArray

    def take(self, rows: pa.Array) -> AttributeMaps:
        """Repeat or pick rows of both."""
        return AttributeMaps(self.values.take(rows), self.types.take(rows))


def attribute_maps(attributes: pa.ListArray, salvage: Salvage) -> AttributeMaps:
    """Turn ``list<struct<key, value: AnyValue>>`` into maps; one row a list, order kept.

    Invalid UTF-8 within nested values becomes U+FFFD, which is noted in ``salvage``.
    """
    entries = attributes.values
    offsets = attributes.offsets
    keys, value = entries.field("key"), entries.field("value")
    text, codes = _as_text(value, salvage)
    values = pa.MapArray.from_arrays(offsets, keys, text)
    if codes is None:
        none = pa.array(np.zeros(len(offsets), np.int32))
        return AttributeMaps(
            values, pa.MapArray.from_arrays(none, keys.slice(0, 0), keys.slice(0, 0))
        )
    tagged = np.flatnonzero(codes != _NO_TAG)
    types = pa.MapArray.from_arrays(
        pa.array(np.searchsorted(tagged, offsets.to_numpy()).astype(np.int32)),
        keys.take(pa.array(tagged)),
        _TAGS.take(pa.array(codes[tagged])),
    )
    return AttributeMaps(values, types)


@dataclass(frozen=True, slots=True)
class TypedTexts:
    """Values as text, and the type tag of each that is no string; both null where there is none."""

    texts: pa.StringArray
    types: pa.StringArray


def typed_texts(value: pa.StructArray, salvage: Salvage) -> TypedTexts:
    """Turn ``AnyValue`` messages that stand alone, or are not there, into text (see above)."""
    # the child of a null struct may hold anything
    fields = list(value.type)
    value = pa.StructArray.from_arrays(value.flatten(), fields=fields, mask=value.is_null())
    texts, codes = _as_text(value, salvage)
    if codes is None:
        return TypedTexts(texts, pa.nulls(len(texts), pa.string()))
    is_untagged = (codes == _NO_TAG) | (codes == TYPE_TAGS.index("absent"))
    return TypedTexts(texts, _TAGS.take(pa.array(codes, mask=is_untagged)))


def _as_text(value: pa.StructArray, salvage: Salvage) -> tuple[pa.Array, NDArray[np.int8] | None]:
    """Return every AnyValue as text, and its tag's position in TYPE_TAGS (None: all strings)."""
    count = len(value)
    strings = value.field("string_value")
    if strings.null_count == 0:
        return strings, None
    codes = np.full(count, _NO_TAG, np.int8)
    parts = [strings]
    for field, tag, convert in _CONVERSIONS:
        array = value.field(field)
        if array.null_count == count:
            continue
        codes[array.is_valid().to_numpy(zero_copy_only=False)] = TYPE_TAGS.index(tag)
        parts.append(convert(array))
    for kind, parse in _PARSERS:
        array = value.field(kind)
        if array.null_count == count:
            continue
        text, tags = _nested(array, kind, parse, salvage)
        present = array.is_valid().to_numpy(zero_copy_only=False)
        codes[present] = tags[present]
        parts.append(text)
    text = pc.coalesce(*parts) if len(parts) > 1 else strings
    if text.null_count:
        missing = text.is_null().to_numpy(zero_copy_only=False)
        absent = value.is_null().to_numpy(zero_copy_only=False)
        codes[missing] = TYPE_TAGS.index("empty")
        codes[missing & absent] = TYPE_TAGS.index("absent")
    return text, codes


def _scalar_text(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


def _base64_text(array: pa.Array) -> pa.Array:
    # rare type; once a distinct value
    encoded = array.dictionary_encode()
    texts = [base64.b64encode(raw).decode() for raw in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)


_CONVERSIONS: Final[tuple[tuple[str, str, Callable[[pa.Array], pa.Array]], ...]] = (
    ("int_value", "int", _scalar_text),
    ("double_value", "double", _scalar_text),
    ("bool_value", "bool", _scalar_text),
    ("bytes_value", "bytes", _base64_text),
)


def _nested(
    array: pa.Array, kind: NestedKind, parse: _Parser, salvage: Salvage
) -> tuple[pa.Array, NDArray[np.int8]]:
    """Parse each distinct nested value once (the parser remembers them between batches)."""
    encoded = array.dictionary_encode()
    parsed = []
    for raw in encoded.dictionary.to_pylist():  # distinct values
        try:
            found = parse(raw) if len(raw) <= _REMEMBERED_BYTES else parse.__wrapped__(raw)
        except DecodeError:
            found = _salvaged(raw, kind, parse, salvage)
        parsed.append(found)
    texts = pa.array([text for text, _ in parsed], pa.string()).take(encoded.indices)
    tags = np.array([tag for _, tag in parsed], np.int8)
    return texts, tags[encoded.indices.fill_null(0).to_numpy()]


def _salvaged(raw: bytes, kind: NestedKind, parse: _Parser, salvage: Salvage) -> tuple[str, int]:
    """Parse a broken value: again where it is text that was broken, else it is lost."""
    try:
        parsed = parse.__wrapped__(replace_in_nested(raw, kind))
    except DecodeError:
        return UNREADABLE, _NO_TAG
    salvage.has_replaced_nested = True
    return parsed


@lru_cache(maxsize=4096)
def _array_text(raw: bytes) -> tuple[str, int]:
    value = AnyValue()
    value.array_value.ParseFromString(raw)
    return _json_text(value, "array")


@lru_cache(maxsize=4096)
def _kvlist_text(raw: bytes) -> tuple[str, int]:
    value = AnyValue()
    value.kvlist_value.ParseFromString(raw)
    return _json_text(value, "kvlist")


_PARSERS: Final[tuple[tuple[NestedKind, _Parser], ...]] = (
    ("array_value", _array_text),
    ("kvlist_value", _kvlist_text),
)


def _json_text(value: AnyValue, tag: str) -> tuple[str, int]:
    """Return plain JSON where it says everything, else the OTLP/JSON form under ``otlp``."""
    try:
        plain = _plain(value)
    except _NotPlainError:
        return json.dumps(_typed(value), ensure_ascii=False), TYPE_TAGS.index("otlp")
    return json.dumps(plain, ensure_ascii=False), TYPE_TAGS.index(tag)


class _NotPlainError(Exception):
    """Plain JSON would change this value."""


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "kvlist_value":
            pairs = value.kvlist_value.values
            plain = {pair.key: _plain(pair.value) for pair in pairs if pair.HasField("value")}
            if len(plain) != len(pairs):
                raise _NotPlainError
            return plain
        case "double_value" if math.isfinite(value.double_value):
            return value.double_value
        case "string_value" | "bool_value" | "int_value" as kind:
            return getattr(value, kind)
        case _:
            raise _NotPlainError


def _typed(value: AnyValue) -> dict[str, Any]:
    """Return the OTLP/JSON form, in which every value says its type."""
    kind = value.WhichOneof("value") or ""
    written = _TYPED.get(kind)  # a kind without a form, as string_value_strindex, says nothing
    return {} if written is None else written(getattr(value, kind))


def _typed_pair(pair: Any) -> dict[str, Any]:
    return {"key": pair.key, **({"value": _typed(pair.value)} if pair.HasField("value") else {})}


_TYPED: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {
    "array_value": lambda array: {"arrayValue": {"values": [_typed(v) for v in array.values]}},
    "kvlist_value": lambda pairs: {
        "kvlistValue": {"values": [_typed_pair(pair) for pair in pairs.values]},
    },
    "int_value": lambda number: {"intValue": str(number)},
    "double_value": lambda number: {
        "doubleValue": number if math.isfinite(number) else str(number),
    },
    "bytes_value": lambda raw: {"bytesValue": base64.b64encode(raw).decode()},
    "bool_value": lambda flag: {"boolValue": flag},
    "string_value": lambda text: {"stringValue": text},
}
