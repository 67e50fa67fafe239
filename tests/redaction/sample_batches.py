"""Batches with text planted in them, and a processor whose counters can be looked into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from collector.model import schema as s
from collector.model.batch import SpanBatch
from config.settings import RedactionSettings
from processors.redaction import RedactionProcessor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.model.metric import Metric

KEY = "a key of the tests, 32 bytes long"
CARD = "4111111111111111"
MAIL = "ann.person@example.com"


class Recorded:
    """Telemetry that keeps counters and gauges."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.values: dict[tuple[str, ...], float] = {}

    def add(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """Add to a counter."""
        assert len(labels) == len(metric.labels)
        place = (metric.name, *labels)
        self.values[place] = self.values.get(place, 0) + amount

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        self.values[(metric.name, *labels)] = value

    observe = sample = set  # noqa: A003 - the protocol's names

    def of(self, metric: Metric) -> dict[tuple[str, ...], float]:
        """Return the values of a metric by its labels."""
        return {labels: value for (name, *labels), value in self.values.items()
                if name == metric.name for labels in [tuple(labels)]}  # fmt: skip


def made(**options: Any) -> tuple[RedactionProcessor, Recorded]:
    """Return a processor with these options, and what it reports to."""
    recorded = Recorded()
    return RedactionProcessor(RedactionSettings(hmac_key=KEY, **options), recorded), recorded


def batch_of(*rows: list[tuple[str, str]], **columns: pa.Array) -> SpanBatch:
    """Return a batch of spans with these attributes; values of digits are integers."""
    made_of = {
        s.TRACE_ID: pa.array([bytes(15) + bytes([row]) for row in range(len(rows))], pa.binary(16)),
        s.NAME: pa.array(["work"] * len(rows)),
        s.ATTRIBUTES: pa.array(rows, s.STRING_MAP),
        s.NON_STRING_TYPES: pa.array(
            [[(k, "int") for k, v in row if v.isdigit()] or None for row in rows], s.STRING_MAP
        ),
    }
    return SpanBatch.from_columns(made_of | columns, len(rows))


def rows_of(batch: SpanBatch) -> list[dict[str, str]]:
    """Return the attributes of each span; no key is there twice."""
    rows = [row or [] for row in batch.column(s.ATTRIBUTES).to_pylist()]
    assert all(len(dict(row)) == len(row) for row in rows)
    return list(map(dict, rows))


def plant(kind: pa.DataType, path: tuple[str, ...], target: tuple[str, ...], text: str) -> Any:
    """Return a value of the type with ``text`` at the target path and nothing else of interest."""
    if pa.types.is_string(kind):
        return text if path == target else "fine"
    if pa.types.is_map(kind):
        tags = path[-1].endswith("non_string_types")
        key = text if (*path, "key") == target else "plain.key"
        return [(key, "int" if tags else plant(pa.string(), (*path, "value"), target, text))]
    if pa.types.is_list(kind):
        return [plant(kind.value_type, path, target, text)]
    if pa.types.is_struct(kind):
        return {
            field.name: plant(field.type, (*path, field.name), target, text)
            for field in (kind.field(index) for index in range(kind.num_fields))
        }
    if pa.types.is_fixed_size_binary(kind):
        return bytes(kind.byte_width)
    return {"binary": b"12345678", "int64": 7, "int32": 7}.get(str(kind))


def planted(target: tuple[str, ...], text: str, rows: int = 3) -> SpanBatch:
    """Return a batch in which the second row has the text at the target."""
    none: tuple[str, ...] = ()
    columns = {}
    for field in s.SPAN_SCHEMA:
        values = [
            plant(field.type, (field.name,), target if row == 1 else none, text)
            for row in range(rows)
        ]
        columns[field.name] = pa.array(values, field.type)
    return SpanBatch.from_columns(columns, rows)


def buffers_of(batch: SpanBatch) -> bytes:
    """Return all bytes of all buffers of a batch, dictionaries included."""
    return b"\0".join(
        part for column in batch.table.columns for chunk in column.chunks for part in _held(chunk)
    )


def _held(array: pa.Array) -> Iterator[bytes]:
    for buffer in array.buffers():
        if buffer is not None:
            yield buffer.to_pybytes()
    if pa.types.is_dictionary(array.type):
        yield from _held(array.dictionary)
