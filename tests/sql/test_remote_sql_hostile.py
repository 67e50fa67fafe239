"""Hostile SQL against the endpoint: refused by name, and nothing read, written or broken by it.

Twice: through the guard, and in a query process without its guard, where what DuckDB and the
operating system forbid has to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.sql import connect
from storage.sql_functions import FUNCTIONS, TABLE_FUNCTIONS
from tests.sql.hostile_sql import HOSTILE, damaged, disguised
from tests.sql.rows import shop
from tests.sql.small_lake import SmallLake
from tests.sql.sql_endpoint import SqlEndpoint, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

UNREAD = "nobody-may-read-this-1f0c"
REPOSITORY = Path(__file__).parents[2]
SEED = 20_261


class Neighbourhood:
    """A data directory, files beside it, and what all of it was like at first."""

    def __init__(self, root: Path) -> None:
        """Lay it out."""
        self.root = root
        self.data = root / "data"
        SmallLake(self.data).append(shop())
        self.secret = root / "secret.csv"
        self.secret.write_text(f"a\n{UNREAD}\n", encoding="utf-8")
        pq.write_table(pa.table({"a": [UNREAD]}), root / "neighbour.parquet")
        self.was = self.fingerprint()

    def fill_in(self, sql: str) -> str:
        """Return a statement with the places of this neighbourhood."""
        places = {
            "{lake}": self.data / "lake",
            "{secret}": self.secret,
            "{table}": self.root / "neighbour.parquet",
            "{out}": self.root / "out",
        }
        for name, path in places.items():
            sql = sql.replace(name, str(path))
        return sql

    def fingerprint(self) -> dict[str, str]:
        """Return every file's and directory's name with a hash of what is in it."""
        return {
            str(path.relative_to(self.root)): hashlib.sha256(
                path.read_bytes() if path.is_file() else b""
            ).hexdigest()
            for path in sorted(self.root.rglob("*"))
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbourhood]:
    """Return a neighbourhood that is also the working directory."""
    root = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield Neighbourhood(root)


@pytest.fixture(scope="module")
def endpoint(place: Neighbourhood) -> Iterator[SqlEndpoint]:
    """Serve its lake."""
    with serve(place.data, timeout=5) as endpoint:
        yield endpoint


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_statement_is_refused_by_name(
    endpoint: SqlEndpoint, place: Neighbourhood, name: str
) -> None:
    """Scenario: one of the list.

    Guarantees: an error that names what is not allowed; no secret in it; every file as before.
    """
    sql, token = HOSTILE[name]
    reply = endpoint.ask(place.fill_in(sql))
    assert reply.status_code in {400, 403}, reply.text
    assert token in reply.json()["error"]
    assert UNREAD not in reply.text
    assert place.fingerprint() == place.was


def test_disguised_statements_are_refused_too(endpoint: SqlEndpoint, place: Neighbourhood) -> None:
    """Scenario: a thousand variations by case, comments, blanks and nesting.

    Guarantees: not one is answered; every file as before.
    """
    plain = [place.fill_in(sql) for sql, _ in HOSTILE.values() if 0 < len(sql) < 500]
    plain = [sql for sql in plain if not sql.startswith("/*")]
    for sql in disguised(SEED, plain, 1_000):
        reply = endpoint.ask(sql)
        assert reply.status_code in {400, 403}, sql
        assert UNREAD not in reply.text
    assert place.fingerprint() == place.was


def test_damaged_statements_do_no_harm(endpoint: SqlEndpoint, place: Neighbourhood) -> None:
    """Scenario: a thousand statements with characters lost, doubled, swapped or strange.

    Guarantees: each is answered, refused or wrong SQL; no secret; every file as before; and the
    endpoint still works.
    """
    plain = [place.fill_in(sql) for sql, _ in HOSTILE.values() if 0 < len(sql) < 500]
    for sql in damaged(SEED, plain, 1_000):
        reply = endpoint.ask(sql)
        assert reply.status_code in {200, 400, 403}, (sql, reply.text)
        assert UNREAD not in reply.text
    assert place.fingerprint() == place.was
    assert endpoint.rows("SELECT count(*) AS n FROM spans") == [{"n": 5}]


def test_without_its_guard_a_query_process_is_still_confined(place: Neighbourhood) -> None:
    """Scenario: the guard has a hole; every statement of the list is run as it is.

    Guarantees: no secret of another file is read, no file is written, truncated or made.
    """
    statements = [place.fill_in(sql) for sql, _ in HOSTILE.values() if len(sql) < 500]
    statements += [f"COPY (SELECT 1) TO '{place.data}/lake/spans/new.parquet'"]
    statements = [sql for sql in statements if "sleep" not in sql]
    done = subprocess.run(
        [sys.executable, "-m", "tests.sql.unguarded", str(place.data)],
        input=json.dumps(statements),
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        cwd=place.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    if not told["landlock"]:
        pytest.skip("this kernel has no Landlock")
    assert UNREAD not in done.stdout
    assert place.fingerprint() == place.was
    # it did run them: what is harmless was answered, what is not was forbidden
    answers = dict(zip(statements, told["answers"], strict=True))
    assert answers["SELECT 1; SELECT 2"] == "[{'2': 2}]"
    forbidden = [sql for sql in statements if sql.startswith(("COPY (", "WITH x AS (COPY"))]
    assert len(forbidden) == 4
    assert all("Error" in answers[sql] for sql in forbidden)


def test_the_whitelist_names_functions_that_exist_and_read_nothing(place: Neighbourhood) -> None:
    """Scenario: the list against DuckDB's own.

    Guarantees: no misspelt name; none keeps state but ``random``; as tables only the listed ones.
    """
    with connect(place.data) as connection:
        rows = connection.sql(
            "SELECT lower(function_name), list(DISTINCT function_type),"
            " coalesce(bool_or(has_side_effects), false) FROM duckdb_functions() GROUP BY ALL"
        ).fetchall()
    kinds = {name: set(kind) for name, kind, _ in rows}
    assert kinds.keys() >= FUNCTIONS | TABLE_FUNCTIONS
    assert {name for name, _, keeps in rows if keeps and name in FUNCTIONS} == {"random"}
    tables = {name for name in FUNCTIONS if kinds[name] & {"table", "table_macro", "pragma"}}
    assert tables - TABLE_FUNCTIONS == {"histogram", "repeat"}  # scalars and aggregates as well
