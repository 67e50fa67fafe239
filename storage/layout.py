"""Which columns the files of ``spans`` have beside the schema's own, as the configuration says.

They are made of the attribute maps whenever a file is written (flush, merge, rewrite), so they hold
what redaction left, and a file that a merge makes has today's columns whatever its inputs had.
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
    from collections.abc import Iterable

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
    """The promoted columns of a file, in their order; equal when they are."""

    columns: tuple[PromotedColumn, ...] = ()

    @classmethod
    def of_settings(cls, promote: Iterable[PromotedAttribute]) -> Self:
        """Return the layout that ``exporters.lake.promote`` asks for."""
        return cls(tuple(PromotedColumn(p.column, p.source, p.key, p.type) for p in promote))

    @classmethod
    def of_json(cls, columns: Iterable[dict[str, Any]]) -> Self:
        """Return what ``plain`` gave; raises TypeError or ValueError when it is something else."""
        return cls(tuple(PromotedColumn(**column) for column in columns))

    @cached_property
    def id(self) -> str:
        """A short name of exactly these columns in any order; empty when there are none."""
        texts = sorted(json.dumps(column) for column in self.plain)
        return f"{zlib.crc32(json.dumps(texts).encode()):08x}" if texts else ""

    @property
    def plain(self) -> list[dict[str, str]]:
        """The columns as JSON has them."""
        return [
            {"column": one.column, "source": one.source, "key": one.key, "type": one.type}
            for one in self.columns
        ]

    def of_table(self, table: str) -> Layout:
        """Return the layout of the table's files: only those of ``spans`` have such columns."""
        return self if table == SPANS else OWN_COLUMNS

    def schema(self, table: str) -> pa.Schema:
        """Return the columns of a file of the table: the schema's own, then these."""
        columns = self.of_table(table).columns
        return pa.schema([*TABLES[table], *((one.column, _TYPES[one.type]) for one in columns)])

    def widen(self, spans: pa.Table) -> pa.Table:
        """Return rows of the schema's own columns with these behind them."""
        if not self.columns:
            return spans
        spans = spans.combine_chunks()
        made = self._attribute_columns.of(lambda name: spans.column(name).combine_chunks())
        for one in self.columns:
            field = pa.field(one.column, _TYPES[one.type])
            values = made.get(one.column)
            spans = spans.append_column(
                field, pa.nulls(spans.num_rows, field.type) if values is None else values
            )
        return spans

    @cached_property
    def _attribute_columns(self) -> AttributeColumns:
        return AttributeColumns(one.promotion for one in self.columns)


OWN_COLUMNS: Final = Layout()
"""No column but the schema's own."""


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
