"""The columns of ``spans`` that a configuration added, as SQL over files that have them or not.

A file that has them gives them as they are, any other one out of its attributes: the two are read
apart, so the older files cost the newer ones nothing. Filters, columns and Bloom filters pass
through the UNION ALL (DuckDB 2.0).
"""
# ruff: noqa: S608 - what is put together here is column names and paths from the manifest

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from collector.model import schema as s
from storage.lake_tables import SPANS, SPANS_SCHEMA
from storage.layout import OWN_COLUMNS, Layout, PromotedColumn
from storage.sql_views import manifest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb

# An aggregate that needs no column reads the first one: the smallest.
_COLUMNS: Final = (s.IS_ROOT, *(name for name in SPANS_SCHEMA.names if name != s.IS_ROOT))
_FILES: Final = "SELECT lake, unnest(files) AS f FROM m"


@dataclass(frozen=True, slots=True)
class Promoted:
    """The layout that the views show, whether a lake writes its files so, and if there are others.

    Without others the views need no UNION ALL, which takes a third of the time of a look-up.
    """

    layout: Layout = OWN_COLUMNS
    is_stored: bool = False
    has_others: bool = True

    @property
    def names(self) -> list[str]:
        """The columns' names in SQL."""
        return [one.name_sql for one in self.layout.columns]

    @property
    def manifest_columns(self) -> str:
        """What else to read of a manifest, behind other columns."""
        if not self.layout.columns:
            return ""
        return ", layout: 'VARCHAR', files: 'STRUCT(path VARCHAR, layout VARCHAR)[]'"

    @property
    def file_lists(self) -> dict[str, str]:
        """Queries over manifests ``m`` for the files that have the columns, and for the others.

        Each begins with files without rows, so that it is never empty.
        """
        if not self.layout.columns:
            return {}
        layout = f"'{self.layout.id}'"
        lists = {
            "promoted": (f"WHERE layout = {layout}", f"f.layout = {layout}"),
            "others": ("", f"f.layout IS DISTINCT FROM {layout} AND f.path LIKE '{SPANS}/%'"),
        }
        return {
            name: f"SELECT list(path) FROM (SELECT lake || {SPANS}[1] AS path FROM m {empty}"
            f" UNION ALL SELECT lake || f.path FROM ({_FILES}) WHERE {condition})"
            for name, (empty, condition) in lists.items()
        }

    def spans(self, files_of: Callable[[str], str]) -> str:
        """Return the table expression of all rows of ``spans`` with these columns."""
        if not self.layout.columns:
            return files_of(SPANS)
        columns = ", ".join(_COLUMNS)
        made = ", ".join(f"{one.value_sql} AS {one.name_sql}" for one in self.layout.columns)
        others = f"SELECT {columns}, {made} FROM {files_of('others')}"
        if not self.is_stored:
            return f"({others})"
        if not self.has_others:
            return files_of("promoted")
        names = ", ".join(self.names)
        return f"(SELECT {columns}, {names} FROM {files_of('promoted')} UNION ALL {others})"


def read_promoted(connection: duckdb.DuckDBPyConnection, lakes: Sequence[str]) -> Promoted:
    """Return the columns that the lakes promote now; where two differ, the first lake decides.

    Raises duckdb.Error when a manifest cannot be read, ValueError when it says what no clearspan
    of this version does.
    """
    keys = "layout: 'VARCHAR', layouts: 'JSON'"
    query = " UNION ALL ".join(
        f"SELECT {number} AS number, * FROM ({manifest_of(lake, keys)})"
        for number, lake in enumerate(lakes)
    )
    found = connection.sql(
        f"SELECT layout, layouts::VARCHAR AS layouts FROM ({query}) ORDER BY number"
    )
    columns: dict[str, PromotedColumn] = {}
    ids = set()
    for row in found.to_arrow_table().to_pylist():  # over lakes
        if row["layout"]:
            layout = Layout.of_json(json.loads(row["layouts"])[row["layout"]])
            ids.add(layout.id)
            columns = {one.column: one for one in layout.columns} | columns
    shown = Layout(tuple(columns.values()))
    return Promoted(shown, is_stored=shown.id in ids)


def found_others(
    connection: duckdb.DuckDBPyConnection, lakes: Sequence[str], promoted: Promoted
) -> Promoted:
    """Return the same for the files that the connection's variable lists now."""
    if not promoted.layout.columns:
        return promoted
    # each lake has one file without rows in the list
    count = connection.sql("SELECT len(getvariable('clearspan').others)").fetchall()[0][0]
    return replace(promoted, has_others=count > len(lakes))
