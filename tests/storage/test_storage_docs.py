"""docs/storage.md says what is on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.lake_tables import TABLES

DOCS = Path(__file__).parents[2] / "docs" / "storage.md"


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_documented_with_its_type(table: str) -> None:
    """Scenario: a column is added, renamed or changes type. Guarantee: the docs follow."""
    _, _, rest = DOCS.read_text().partition(f"### {table}\n")
    lines = [line for line in rest.split("\n#", 1)[0].splitlines() if line.startswith("| `")]
    assert lines == [f"| `{field.name}` | `{field.type}` |" for field in TABLES[table]]
