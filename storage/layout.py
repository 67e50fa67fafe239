"""Which columns a file has: those of the schema as it was then, and those the configuration adds.

The latter are made of the attribute maps whenever a file of ``spans`` is written (flush, merge,
rewrite), so they hold what redaction left, and a merged file has today's whatever its inputs had.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa

from collector.model.promotion import INTEGER_PATTERN, NUMBER_PATTERN, AttributeColumns
from collector.model.schema import ATTRIBUTES, RESOURCE_ATTRIBUTES, Promotion
from storage.lake_tables import SPANS, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from config.exporters import PromotedAttribute

_SOURCES: Final = {"span": ATTRIBUTES, "resource": RESOURCE_ATTRIBUTES}
_TYPES: Final = {
    "string": pa.string(),
    "int": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
}


@dataclass(frozen=True, slots=True)
class PromotedColumn:
    """A column and the attribute it repeats; ``source`` is span or resource."""

    column: str
    source: str
    key: str
    type: str

    def __post_init__(self) -> None:
        """Refuse what this version cannot make; raises ValueError."""
        texts = (self.column, self.source, self.key, self.type)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("promoted column")
        if self.source not in _SOURCES or self.type not in _TYPES:
            raise ValueError("promoted column")

    @property
    def promotion(self) -> Promotion:
        """The same for ``AttributeColumns``."""
        return Promotion(self.column, _SOURCES[self.source], (self.key,), _TYPES[self.type])

    @property
    def name_sql(self) -> str:
        """The column's name in SQL: it may be a word of the language."""
        return f'"{self.column}"'

    @property
    def value_sql(self) -> str:
        """The column's value as an SQL expression over the maps, for files without the column."""
        value = f"{_SOURCES[self.source]}[{_quote(self.key)}]"
        match self.type:
            case "int":
                fits = f"regexp_matches({value}, {_quote(INTEGER_PATTERN)})"
                return f"CASE WHEN {fits} THEN TRY_CAST({value} AS BIGINT) END"
            case "double":
                fits = f"regexp_matches({value}, {_quote(NUMBER_PATTERN)})"
                return f"CASE WHEN {fits} THEN TRY_CAST({value} AS DOUBLE) END"
            case "bool":
                return f"CASE lower({value}) WHEN 'true' THEN true WHEN 'false' THEN false END"
            case _:
                return value


@dataclass(frozen=True)
class Layout:
    """A file's columns; equal when they are.

    ``schema`` stands for the names of the schema's own columns (a column never changes its type),
    empty when that is not known; ``columns`` are the promoted ones, in their order.
    """

    schema: str = ""
    columns: tuple[PromotedColumn, ...] = ()

    @classmethod
    def of_today(cls, table: str, columns: Iterable[PromotedColumn] = ()) -> Self:
        """Return what a file of the table gets now; only ``spans`` have promoted columns."""
        return cls(_OWN[table], tuple(columns) if table == SPANS else ())

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Return what ``plain`` gave; else raises TypeError, ValueError or LookupError."""
        columns = tuple(PromotedColumn(**column) for column in plain["promoted"])
        return cls(str(plain["schema"]), columns)

    @property
    def plain(self) -> dict[str, Any]:
        """The layout as JSON has it."""
        return {
            "schema": self.schema,
            "promoted": [
                {"column": one.column, "source": one.source, "key": one.key, "type": one.type}
                for one in self.columns
            ],
        }

    @cached_property
    def id(self) -> str:
        """A short name of these columns in any order; empty for the unknown layout."""
        if self == UNKNOWN:
            return ""
        plain = self.plain
        texts = [plain["schema"], *sorted(json.dumps(column) for column in plain["promoted"])]
        return _crc(json.dumps(texts))

    def of_table(self, table: str) -> Layout:
        """Return what the table's files get where those of ``spans`` get this."""
        return self if table == SPANS else Layout.of_today(table)

    def arrow(self, table: str, own: pa.Schema | None = None) -> pa.Schema:
        """Return the table's schema of today (or ``own``), then the promoted columns."""
        columns = TABLES[table] if own is None else own
        return pa.schema([*columns, *((one.column, _TYPES[one.type]) for one in self.columns)])

    def widen(self, rows: pa.Table) -> pa.Table:
        """Return rows of the schema's own columns with the promoted ones behind them."""
        if not self.columns:
            return rows
        rows = rows.combine_chunks()
        made = self._attribute_columns.of(lambda name: rows.column(name).combine_chunks())
        for one in self.columns:
            field = pa.field(one.column, _TYPES[one.type])
            values = made.get(one.column)
            rows = rows.append_column(
                field, pa.nulls(rows.num_rows, field.type) if values is None else values
            )
        return rows

    @cached_property
    def _attribute_columns(self) -> AttributeColumns:
        return AttributeColumns(one.promotion for one in self.columns)


def promoted_columns(promote: Iterable[PromotedAttribute]) -> tuple[PromotedColumn, ...]:
    """Return the columns that ``exporters.lake.promote`` asks for."""
    return tuple(PromotedColumn(p.column, p.source, p.key, p.type) for p in promote)


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


UNKNOWN: Final = Layout()
"""That of a file made before layouts were noted."""
_OWN: Final = {table: _crc(",".join(schema.names)) for table, schema in TABLES.items()}


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
