"""What a remote query may be: one SELECT of known parts, over the documented views and functions.

SQL is code, and "SELECT" proves nothing: ``WITH x AS (COPY … TO …) SELECT …`` is one and writes a
file, ``FROM 'x.parquet'`` reads one. So the parsed tree is walked and everything in it has to be on
a list: nodes, expressions, tables, functions. What is not known is refused.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import duckdb

from collector.model.errors import QueryError, QueryRefused
from storage.sql_functions import FUNCTIONS, TABLE_FUNCTIONS
from storage.sql_views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterator

_SERIALIZE: Final = "SELECT json_serialize_sql(?::VARCHAR, skip_null := true, skip_empty := true)"
_EXPRESSIONS: Final = frozenset(
    {"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT"}
    | {"FUNCTION", "LAMBDA", "LAMBDA_REF", "OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY"}
    | {"TYPE", "WINDOW"}
)
_QUERIES: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"})
_TABLES: Final = frozenset(
    {"BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SHOW_REF", "SUBQUERY"}
    | {"TABLE_FUNCTION"}
)
_MODIFIERS: Final = frozenset(
    {"DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER"}
    | {"ORDER_DEFAULT", "ASCENDING", "DESCENDING"}
)
_KNOWN: Final = _QUERIES | _TABLES | _MODIFIERS
# DESCRIBE and SUMMARIZE of a query; SHOW TABLES and its like read the catalog
_SHOWS: Final = frozenset({"DESCRIBE", "SUMMARY"})
# A name no file and no pattern of files has: should a reference ever escape its scope here but not
# in DuckDB, it is not taken for one.
_PLAIN: Final = re.compile(r"[\w ]+")

Names = frozenset[str]


def guarded_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """Return the SQL as the one statement that was examined, to be run on this connection.

    Raises QueryRefused, which names it, for what is not allowed, and duckdb.Error or QueryError for
    what is no SQL.
    """
    statements = connection.extract_statements(sql)
    if not statements:
        raise QueryError("the SQL holds no statement")
    if len(statements) > 1:
        raise QueryRefused(f"{len(statements)} statements: send one at a time")
    (statement,) = statements
    if statement.type != duckdb.StatementType.SELECT:
        raise QueryRefused(f"{statement.type.name} is not allowed: only SELECT is")
    try:
        _check(_tree(connection, sql))
    except (LookupError, TypeError) as error:  # FROM '' has no table_name
        raise QueryRefused("the SQL has a part that is not known here") from error
    return statement


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    ((text,),) = connection.execute(_SERIALIZE, [sql]).fetchall()
    try:
        tree = json.loads(text)
    except RecursionError as error:
        raise QueryRefused("the SQL is nested too deep") from error
    if tree.get("error"):
        raise QueryError(f"{tree.get('error_type')}: {tree.get('error_message')}")
    statements = tree.get("statements") or []
    if len(statements) != 1:
        raise QueryRefused("the SQL is not one statement")
    return statements[0]


def _check(tree: Any) -> None:
    """Raise QueryRefused for the first thing in the tree that is not on a list."""
    waiting: list[tuple[Any, Names]] = [(tree, frozenset(VIEWS))]
    while waiting:  # over nodes of one statement; recursion would end where Python's does
        value, names = waiting.pop()
        if isinstance(value, list):
            waiting.extend((one, names) for one in value)
        elif isinstance(value, dict):
            waiting.extend(_inside(value, names))


def _inside(node: dict[str, Any], names: Names) -> Iterator[tuple[Any, Names]]:
    """Judge one node; yield what is in it, each with the tables that it may name."""
    if "class" in node:
        _check_expression(node)
    elif isinstance(node.get("type"), str):
        kind = node["type"]
        if kind not in _KNOWN:
            raise _not_allowed(kind.removesuffix("_QUERY_NODE").removesuffix("_NODE"))
        if kind in _QUERIES:
            yield from _inside_query(node, names)
            return
        if kind == "TABLE_FUNCTION":
            function = node["function"]
            _check_function(function, TABLE_FUNCTIONS, "table function")
            node = node | {"function": list(function.values())}
        elif kind == "BASE_TABLE":
            _check_table(node, names)
        elif kind == "SHOW_REF" and (node.get("show_type") not in _SHOWS or "query" not in node):
            raise _not_allowed("SHOW")
    for key, value in node.items():
        if key != "literal":
            yield value, names


def _inside_query(node: dict[str, Any], names: Names) -> Iterator[tuple[Any, Names]]:
    """Yield the parts of a query: each CTE sees those before it, the rest sees them all."""
    for entry in node.get("cte_map", {}).get("map", []):  # over CTEs
        if _PLAIN.fullmatch(entry["key"]) is None:
            raise QueryRefused(f"the name {entry['key']!r:.80} of a CTE is not allowed")
        yield entry["value"], names
        names |= {_lower(entry["key"])}
    for key, value in node.items():
        if key == "right" and node["type"] == "RECURSIVE_CTE_NODE":
            yield value, names | {_lower(node["cte_name"])}
        elif key != "cte_map":
            yield value, names


def _check_expression(node: dict[str, Any]) -> None:
    kind = node["class"]
    if kind not in _EXPRESSIONS:
        raise _not_allowed(str(kind))
    if kind in {"FUNCTION", "WINDOW"}:
        _check_function(node, FUNCTIONS, "function")


def _check_function(node: dict[str, Any], allowed: frozenset[str], what: str) -> None:
    # text.upper() is written like schema.upper(): the last part is the function
    name = node["function_name"]
    if (
        node.get("class") not in {"FUNCTION", "WINDOW"}
        or not {
            _lower(name),
            _lower(node["qualified_name"]["path"][-1]),
        }
        <= allowed
    ):
        raise _not_allowed(f"the {what} {name!s:.80}")


def _check_table(node: dict[str, Any], names: Names) -> None:
    path = node["qualified_name"]["path"]
    if len(path) != 1 or not {_lower(path[0]), _lower(node["table_name"])} <= names:
        known = ", ".join(VIEWS)
        raise QueryRefused(f"the table {'.'.join(path)!s:.80} is not allowed: there are {known}")


def _not_allowed(what: str) -> QueryRefused:
    return QueryRefused(f"{what} is not allowed in a remote query")


def _lower(name: str) -> str:
    """Return a name as DuckDB compares it: ASCII letters only."""
    return name.encode().lower().decode()
