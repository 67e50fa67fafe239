"""Values that Arrow or Python has no type for, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from duckdb.sqltypes import DuckDBPyType

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

_NESTED_KINDS: Final = frozenset({"list", "array", "map", "struct", "tuple"})
# DuckDB gives Arrow a signed number, the bytes of its own form, a time without its zone.
_LOST_IN_ARROW: Final = ("uhugeint", "bit", "time with time zone")


def without_loss(rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return the rows with text for what would have other values in Arrow, at any depth."""
    kinds = " ".join(map(str, rows.types)).lower()  # a field may have such a name: no harm done
    is_lost = any(kind in kinds for kind in _LOST_IN_ARROW)
    return with_text(rows, _LOST_IN_ARROW) if is_lost else rows


def with_text(rows: duckdb.DuckDBPyRelation, kinds: tuple[str, ...]) -> duckdb.DuckDBPyRelation:
    """Return the rows with text for values of types whose name begins like one of these."""
    columns = enumerate(zip(rows.columns, rows.types, strict=True), 1)
    return rows.project(
        ", ".join(
            f"#{position}::{_type_with_text(kind, kinds)} AS {_identifier(name)}"
            for position, (name, kind) in columns
        )
    )


def _type_with_text(kind: DuckDBPyType, kinds: tuple[str, ...]) -> str:
    """Return the SQL type that has text for values of these types."""
    if kind.id in _NESTED_KINDS:
        names = [name for name, _ in _parts(kind)]
        inner = [_type_with_text(one, kinds) for _, one in _parts(kind)]
        if kind.id == "struct":
            inner = [f"{_identifier(name)} {one}" for name, one in zip(names, inner, strict=True)]
        if kind.id in {"list", "array"}:
            return f"{inner[0]}[]"
        return f"{kind.id}({', '.join(inner)})"  # a map of keys and values, a tuple without names
    return "VARCHAR" if _holds(kind, kinds) else str(kind)


def _holds(kind: DuckDBPyType, kinds: tuple[str, ...]) -> bool:
    """Tell whether a type is one of these or has one in it."""
    is_one = kind.id.startswith(kinds)
    return is_one or any(_holds(one, kinds) for _, one in _parts(kind))


def _parts(kind: DuckDBPyType) -> Iterator[tuple[str, DuckDBPyType]]:
    """Yield the types in a nested one; the length of an array is none."""
    if kind.id in {*_NESTED_KINDS, "union"}:
        for name, part in kind.children:
            if isinstance(part, DuckDBPyType):
                yield name, part


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
