"""A query's rows as a terminal table, JSON, CSV, Parquet or Arrow."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import duckdb
import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collector.model.errors import QueryError
from collector.model.printable import printable
from storage.sql_files import quote
from storage.sql_types import with_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, TextIO

Format = Literal["table", "json", "csv", "parquet", "arrow", "arrows"]
FORMATS: Final[tuple[Format, ...]] = ("table", "json", "csv", "parquet", "arrow", "arrows")
BINARY: Final = frozenset({"parquet", "arrow", "arrows"})

_COPY_OPTIONS: Final = {
    "csv": "FORMAT csv, HEADER true",
    "parquet": "FORMAT parquet, COMPRESSION zstd",
}
_MOST_ROWS: Final = 40
_MOST_RECORDS: Final = 5
# Through a pager one can go on reading; 1,000 rows of 8 columns take 0.3 s to lay out.
_MOST_PAGED_ROWS: Final = 1_000
_MOST_PAGED_RECORDS: Final = 100
_CELL_CHARS: Final = 60
_ARROW_BATCH_ROWS: Final = 65_536
_JSON_BATCH_ROWS: Final = 2_048
# a string, to be left as it is, or what DuckDB writes for a number that JSON does not have
_JSON_NAN: Final = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+")|NaN|-?Infinity')
# Python's times end with the year 9999, and a large number would be bytes.
_SHOWN_AS_TEXT: Final = ("date", "time", "interval", "bignum")
# What a column needs at least, in characters: a trace id whole, the start of a map.
_SCALAR: Final = 32
_NESTED: Final = 20
_GAP: Final = 3


@dataclass(frozen=True, slots=True)
class Result:
    """All rows of a query; column names are distinct."""

    table: pa.Table

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """Return the rows as a result; a repeated column name gets a number."""
        seen: Counter[str] = Counter()
        names = []
        for name in table.column_names:  # over columns
            names.append(f"{name}_{seen[name]}" if seen[name] else name)
            seen[name] += 1
        return cls(table.rename_columns(names))

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.table.num_rows)

    def write(self, output: BinaryIO, form: Format) -> None:
        """Write the whole result as UTF-8 text or as bytes; ``table`` is 120 wide.

        ``arrow`` is an IPC file, ``arrows`` an IPC stream, which a reader can begin before its end.
        Raises QueryError when it cannot be written in this format.
        """
        if form in {"arrow", "arrows"}:
            new = pa.ipc.new_file if form == "arrow" else pa.ipc.new_stream
            with new(output, self.table.schema) as writer:
                writer.write_table(self.table, max_chunksize=_ARROW_BATCH_ROWS)
            return
        if form == "table":
            with tempfile.TemporaryFile("w+", encoding="utf-8") as text:
                self.show(text, width=120)
                text.seek(0)
                output.write(text.read().encode())
            return
        if form == "json":
            self._write_json(output)
            return
        with tempfile.TemporaryDirectory(prefix="clearspan-") as directory:
            path = Path(directory) / "result"
            self._copy(path, form)
            with path.open("rb") as file:
                shutil.copyfileobj(file, output)

    def show(self, output: TextIO, *, width: int | None = None, paged: bool = False) -> None:
        """Print the first rows for a person; a last line says how many there are.

        ``width`` in characters; None asks the terminal. ``paged`` shows more, for a pager.
        """
        console = Console(file=output, width=width, highlight=False)
        rows = len(self)
        cells = list(self._cells(min(rows, _MOST_PAGED_ROWS if paged else _MOST_ROWS)))
        widths = self._widths(cells[:_MOST_ROWS], console.width)
        if rows == 1 or widths is None:
            cells = cells[: _MOST_PAGED_RECORDS if paged else _MOST_RECORDS]
            self._show_records(console, cells)
        else:
            self._show_table(console, cells, widths)
        shown = len(cells)
        more = f" ({shown:,} shown; --format csv or json writes all)" if shown < rows else ""
        console.print(f"{rows:,} row{'' if rows == 1 else 's'}{more}", markup=False)

    def _show_table(
        self, console: Console, cells: list[tuple[str, ...]], widths: list[int]
    ) -> None:
        grid = Table(show_edge=False, pad_edge=False)
        for field, width in zip(self.table.schema, widths, strict=True):  # over columns
            grid.add_column(
                Text(printable(field.name)),
                justify="right" if _is_number(field.type) else "left",
                overflow="ellipsis",
                no_wrap=True,
                width=width,
            )
        for row in cells:  # over the few rows shown
            grid.add_row(*[Text(_cut(cell, _CELL_CHARS)) for cell in row])
        console.print(grid)

    def _show_records(self, console: Console, cells: list[tuple[str, ...]]) -> None:
        """Print rows as blocks of ``name  value`` lines, empty ones left out; one row is whole."""
        whole = len(self) == 1
        names = [printable(name) for name in self.table.column_names]
        widest = max(map(len, names), default=0)
        room = max(console.width - widest - 2, 10)
        for number, row in enumerate(cells, 1):  # over the few rows shown
            if not whole:
                console.print(Text(f"── row {number} ──"))
            for name, cell in zip(names, row, strict=True):
                if cell:
                    value = cell if whole else _cut(cell, room)
                    gap = "\n" if "\n" in value else "  "
                    console.print(Text(f"{name:<{widest}}{gap}{value}"), soft_wrap=True)

    def _widths(self, cells: list[tuple[str, ...]], room: int) -> list[int] | None:
        """Return each column's width in characters, None when the columns do not fit side by side.

        A scalar is shown whole up to the length of a trace id; maps and lists share what is left.
        """
        names = [cell_len(printable(name)) for name in self.table.column_names]
        values = [
            [cell_len(_cut(cell, _CELL_CHARS)) for cell in column]
            for column in zip(*cells, strict=True)
        ]
        wanted = [
            max(name, *lengths)
            for name, lengths in zip(names, values or [[0]] * len(names), strict=True)
        ]
        limits = [
            _NESTED if pa.types.is_nested(kind) else _SCALAR for kind in self.table.schema.types
        ]
        widths = list(map(min, wanted, limits))
        spare = room - sum(widths) - _GAP * (len(widths) - 1)
        if spare < 0 and cells:
            return None
        for column, width in enumerate(widths):
            more = min(wanted[column] - width, max(spare, 0))
            widths[column] += more
            spare -= more
        return widths

    def _cells(self, rows: int) -> Iterator[tuple[str, ...]]:
        shown = _readable(self.table.slice(0, rows))
        columns = [list(map(_text, column.to_pylist())) for column in shown.columns]
        return zip(*columns, strict=True)

    def _write_json(self, output: BinaryIO) -> None:
        """Write one array, a line a row, without a file in between: a query process has none."""
        try:
            with _as_relation(self.table) as connection:
                # a column of the row's name would be taken in its place
                row = "result"
                while row in {name.lower() for name in self.table.column_names}:
                    row += "_"
                rows = connection.sql(f"SELECT to_json({row})::VARCHAR FROM result AS {row}")  # noqa: S608 - our own name
                before = "[\n\t"
                for batch in rows.to_arrow_reader(_JSON_BATCH_ROWS):
                    if batch.num_rows:
                        text = ",\n\t".join(batch.column(0).to_pylist())
                        output.write(f"{before}{_without_nan(text)}".encode())
                        before = ",\n\t"
        except duckdb.Error as error:
            raise QueryError(f"the result cannot be written as json: {error}") from error
        output.write(b"\n]\n" if len(self) else b"[]\n")

    def _copy(self, path: Path, form: Format) -> None:
        try:
            with _as_relation(self.table) as connection:
                target = quote(str(path))
                connection.execute(f"COPY result TO {target} ({_COPY_OPTIONS[form]})")
        except duckdb.Error as error:
            raise QueryError(f"the result cannot be written as {form}: {error}") from error


@contextmanager
def _as_relation(table: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("result", table)
        yield connection


def _without_nan(text: str) -> str:
    """Return JSON with null for NaN and infinity, at any depth, which JSON has no way to write."""
    if "NaN" not in text and "Infinity" not in text:
        return text
    return _JSON_NAN.sub(lambda found: found[1] or "null", text)


def _readable(table: pa.Table) -> pa.Table:
    """Return the rows with text for what Python has no room for, at any depth."""
    with _as_relation(table) as connection:
        return with_text(connection.sql("FROM result"), _SHOWN_AS_TEXT).to_arrow_table()


def _text(value: Any) -> str:
    """Return a value as a person reads it; null is empty."""
    match value:
        case None | []:
            text = ""
        case float():
            text = f"{value:.10g}"
        case Decimal():
            whole, point, digits = f"{value:f}".partition(".")
            text = (whole + point + digits.rstrip("0")).rstrip(".")
        case bytes():
            text = value.hex()
        case [tuple(), *_] | {}:
            # pyarrow gives a MAP as a list of pairs, a STRUCT as a dict
            pairs = value.items() if isinstance(value, dict) else value
            text = "{" + ", ".join(f"{key}: {_text(item)}" for key, item in pairs) + "}"
        case list():
            text = "[" + ", ".join(map(_text, value)) + "]"
        case _:
            text = str(value)
    return printable(text)


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _cut(text: str, chars: int) -> str:
    line = text.replace("\n", "⏎").replace("\t", " ")
    return line if len(line) <= chars else line[: chars - 1] + "…"
