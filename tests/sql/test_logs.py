"""The view ``logs``, the macro ``trace_logs``, and marks that are reported as log records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from storage.sql import connect, print_setup, refresh, run_query, run_statements
from storage.sql_lakes import find_lakes
from storage.sql_vocabulary import read_vocabulary
from tests.sql.rows import TRACE_HEX, shop
from tests.sql.writer import write_once
from tests.storage.batches import BASE_US
from tests.storage.log_batches import log_batch, log_request, log_store

if TYPE_CHECKING:
    from pathlib import Path

TRACE = bytes.fromhex(TRACE_HEX)
SPAN = (7).to_bytes(8)
NANOS = BASE_US * 1000
MARK = {
    "gen_ai.evaluation.name": "relevance",
    "gen_ai.evaluation.score.value": "0.25",
    "gen_ai.evaluation.score.label": "irrelevant",
    "gen_ai.evaluation.explanation": "off topic",
    "gen_ai.response.id": "chatcmpl-1",
    "user.id": "u-1",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory with the shop's spans and four log records."""
    write_once(tmp_path, shop())
    write_logs(tmp_path)
    return tmp_path


def write_logs(data: Path) -> None:
    """Add two records of a trace, a mark in it and a mark of no trace."""
    store = log_store(data)
    mark = {"event_name": "gen_ai.evaluation.result", "time_unix_nano": NANOS}
    store.store(
        log_batch(
            log_request(
                {"body": "second", "trace_id": TRACE, "span_id": SPAN, "time_unix_nano": NANOS + 1},
                {"body": "first", "trace_id": TRACE, "time_unix_nano": NANOS},
                {**mark, "trace_id": TRACE, "span_id": SPAN, "attributes": dict(MARK)},
                mark,
                service_name="judge",
            )
        )
    )
    store.lake.close()


def test_records_read_as_they_are(data: Path) -> None:
    """Guarantees: hexadecimal ids or null, times with a zone, joins with spans by trace."""
    rows = run_query(data, "FROM logs ORDER BY record_idx").table.to_pylist()
    assert [row["body"] for row in rows] == ["second", "first", None, None]
    assert [row["trace_id"] for row in rows] == [TRACE_HEX, TRACE_HEX, TRACE_HEX, None]
    assert [row["span_id"] for row in rows] == [SPAN.hex(), None, SPAN.hex(), None]
    assert {row["time"].timestamp() for row in rows} == {BASE_US / 1e6}
    joined = "SELECT DISTINCT body FROM logs JOIN spans USING (trace_id) WHERE body IS NOT NULL"
    assert len(run_query(data, joined)) == 2


def test_a_traces_records_are_found_by_its_id(data: Path) -> None:
    """Guarantees: those of the trace and no others, in either case, in the order of time."""
    for trace_id in (TRACE_HEX, TRACE_HEX.upper()):
        found = run_query(data, f"SELECT body FROM trace_logs('{trace_id}')").table
        assert found.column("body").to_pylist() == ["first", None, "second"]
    assert len(run_query(data, f"FROM trace_logs('{'0' * 32}')")) == 0


def test_marks_are_read_from_log_records(data: Path) -> None:
    """Scenario: a full mark on a span, and one of no trace that says nothing.

    Guarantees: a row for each with what it says and an id of its own, weight 1.
    """
    rows = run_query(data, "FROM feedback ORDER BY feedback_id").table.to_pylist()
    source_id = run_query(data, "SELECT DISTINCT source_id FROM logs").table.to_pylist()[0]
    full, bare = rows
    assert [row["feedback_id"] for row in rows] == [
        f"{source_id['source_id']}/1/2",
        f"{source_id['source_id']}/1/3",
    ]
    assert (full["trace_id"], full["span_id"]) == (TRACE_HEX, SPAN.hex())
    assert (full["name"], full["score"], full["label"]) == ("relevance", 0.25, "irrelevant")
    assert (full["explanation"], full["gen_ai_response_id"]) == ("off topic", "chatcmpl-1")
    assert (full["source"], full["user_id"], full["sample_weight"]) == ("judge", "u-1", 1.0)
    assert (bare["trace_id"], bare["score"], bare["time"]) == (None, None, full["time"])


def test_records_show_once_there_are_some(tmp_path: Path) -> None:
    """Scenario: a session over a directory that has no ``logs`` yet, which then gets one.

    Guarantees: the view is empty and has its columns, then the next refresh shows the records.
    """
    write_once(tmp_path, shop())
    lakes = find_lakes(tmp_path)
    with connect(tmp_path) as connection:
        empty = run_statements(connection, "FROM logs")
        assert empty is not None
        assert len(empty) == 0
        write_logs(tmp_path)
        refresh(connection, lakes)
        full = run_statements(connection, "FROM logs")
        assert full is not None
        assert len(full) == 4
        assert empty.table.schema.equals(full.table.schema)
        keys = read_vocabulary(connection).attribute_keys
        assert {"gen_ai.evaluation.name", "service.name"} <= set(keys)


def test_the_printed_setup_shows_them_in_a_plain_duckdb(data: Path) -> None:
    """Guarantees: the same rows as here, and none over a directory without log records."""
    with duckdb.connect() as connection:
        connection.execute(print_setup(data))
        found = connection.execute("SELECT body FROM logs WHERE body IS NOT NULL").fetchall()
        assert sorted(found) == [("first",), ("second",)]
        assert connection.execute("SELECT count(*) FROM feedback").fetchall() == [(2,)]


def test_records_of_several_directories_are_one_view(tmp_path: Path) -> None:
    """Scenario: three directories, of which two have log records. Guarantees: all of them, once."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        write_once(tmp_path / name, shop())
        if name != "b":
            write_logs(tmp_path / name)
    found = run_query(str(tmp_path / "*"), "SELECT count(*) AS n FROM logs GROUP BY source_id")
    assert found.table.column("n").to_pylist() == [4, 4]
