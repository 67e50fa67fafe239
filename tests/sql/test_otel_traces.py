"""The view ``otel_traces`` against what the Collector's ClickHouse exporter would have written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from storage.sql import connect, run_query
from tests.sql.rows import OTHER, TRACE_HEX, batch_of, shop, span
from tests.sql.small_lake import SmallLake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# exporter/clickhouseexporter/example/default_ddl/traces.sql, column and type: Nested is one array a
# field, LowCardinality(String) a string.
DDL = {
    "Timestamp": "TIMESTAMP_NS",
    "TraceId": "VARCHAR",
    "SpanId": "VARCHAR",
    "ParentSpanId": "VARCHAR",
    "TraceState": "VARCHAR",
    "SpanName": "VARCHAR",
    "SpanKind": "VARCHAR",
    "ServiceName": "VARCHAR",
    "ResourceAttributes": "MAP(VARCHAR, VARCHAR)",
    "ScopeName": "VARCHAR",
    "ScopeVersion": "VARCHAR",
    "SpanAttributes": "MAP(VARCHAR, VARCHAR)",
    "Duration": "UBIGINT",
    "StatusCode": "VARCHAR",
    "StatusMessage": "VARCHAR",
    "Events.Timestamp": "TIMESTAMP_NS[]",
    "Events.Name": "VARCHAR[]",
    "Events.Attributes": "MAP(VARCHAR, VARCHAR)[]",
    "Links.TraceId": "VARCHAR[]",
    "Links.SpanId": "VARCHAR[]",
    "Links.TraceState": "VARCHAR[]",
    "Links.Attributes": "MAP(VARCHAR, VARCHAR)[]",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory whose lake holds the shop's five spans."""
    SmallLake(tmp_path).append(shop())
    return tmp_path


def rows(data: Path, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query."""
    found: list[dict[str, Any]] = run_query(data, query).table.to_pylist()
    return found


def test_columns_are_the_exporters(data: Path) -> None:
    """Names, order and types are those of the exporter's table."""
    with connect(data) as connection:
        described = connection.sql("DESCRIBE otel_traces").fetchall()
    assert {name: kind for name, kind, *_ in described} == DDL
    assert [name for name, *_ in described] == list(DDL)


def test_a_span_is_what_the_exporter_would_have_written(data: Path) -> None:
    """The failing call: every column as Go's code spells it, events and links as lists."""
    query = (
        "SELECT * REPLACE (epoch_ns(Timestamp) AS Timestamp,"
        ' [epoch_ns(t) FOR t IN "Events.Timestamp"] AS "Events.Timestamp")'
        " FROM otel_traces WHERE StatusCode = 'Error'"
    )
    start = 1_772_368_200_000_000_007
    assert rows(data, query) == [
        {
            "Timestamp": start + 100_000_000,
            "TraceId": TRACE_HEX,
            "SpanId": "0000000000000002",
            "ParentSpanId": "0000000000000001",
            "TraceState": "",
            "SpanName": "work",
            "SpanKind": "Server",
            "ServiceName": "assistant",
            "ResourceAttributes": [("service.name", "shop")],
            "ScopeName": "",
            "ScopeVersion": "",
            "SpanAttributes": [("feature.flag", "new-cart"), ("n", "1")],
            "Duration": 700_000_000,
            "StatusCode": "Error",
            "StatusMessage": "",
            "Events.Timestamp": [start + 5],
            "Events.Name": ["exception"],
            "Events.Attributes": [
                [("exception.type", "ValueError"), ("exception.message", "bad amount")]
            ],
            "Links.TraceId": [OTHER.hex()],
            "Links.SpanId": ["ff" * 8],
            "Links.TraceState": [""],
            "Links.Attributes": [[("why", "retry")]],
        }
    ]


@pytest.mark.parametrize(
    ("column", "stored", "expected"),
    [
        ("kind", "UNSPECIFIED", "Unspecified"),
        ("kind", "INTERNAL", "Internal"),
        ("kind", "SERVER", "Server"),
        ("kind", "CLIENT", "Client"),
        ("kind", "PRODUCER", "Producer"),
        ("kind", "CONSUMER", "Consumer"),
        ("kind", None, ""),
        ("status_code", "UNSET", "Unset"),
        ("status_code", "OK", "Ok"),
        ("status_code", "ERROR", "Error"),
        ("status_code", None, ""),
    ],
)
def test_spellings_are_the_collectors(
    tmp_path: Path, column: str, stored: str | None, expected: str
) -> None:
    """SpanKind.String() and StatusCode.String() of the Collector's pdata, unknown ones empty."""
    SmallLake(tmp_path).append(batch_of([span(1, 0, 1, **{column: stored})]))
    name = {"kind": "SpanKind", "status_code": "StatusCode"}[column]
    assert rows(tmp_path, f"SELECT {name} AS text FROM otel_traces") == [{"text": expected}]


def test_nothing_is_null(tmp_path: Path) -> None:
    """A span that has nothing but ids and times: empty texts, maps and lists, as in ClickHouse."""
    names = ("service_name", "name", "kind", "status_code", "attributes", "resource_attributes")
    SmallLake(tmp_path).append(
        batch_of([span(1, 0, 1, **dict.fromkeys((*names, "links", "events")))])
    )
    (found,) = rows(tmp_path, "SELECT * EXCLUDE (Timestamp) FROM otel_traces")
    assert [name for name, value in found.items() if value is None] == []
    assert found["ParentSpanId"] == ""
    assert found["Events.Name"] == found["Links.TraceId"] == found["SpanAttributes"] == []


def test_events_are_in_their_own_order(tmp_path: Path) -> None:
    """Events sent out of time order over two files: each span's own, in the order sent."""
    lake = SmallLake(tmp_path)
    for number in (1, 2):
        events = [
            {"time_unix_nano": 100 - n, "name": f"{number}-{n}", "attributes": [("n", str(n))]}
            for n in range(4)
        ]
        lake.append(batch_of([span(number, 0, 1, events=events, events_count=4)]))
    query = (
        'SELECT "Events.Name" AS names, [epoch_ns(t) FOR t IN "Events.Timestamp"] AS times,'
        " [a['n'] FOR a IN \"Events.Attributes\"] AS maps FROM otel_traces ORDER BY SpanId"
    )
    assert rows(tmp_path, query) == [
        {
            "names": [f"{number}-{n}" for n in range(4)],
            "times": [100, 99, 98, 97],
            "maps": ["0", "1", "2", "3"],
        }
        for number in (1, 2)
    ]


def test_spans_of_one_id_have_each_their_own_events(tmp_path: Path) -> None:
    """Scenario: a client and a server share a span id, and the server's batch is sent again.

    Guarantees: each span has the events that it was sent with, once, though a batch is not named.
    """
    sent = ((None, None, "client"), ("pod", 1, "server"), ("pod", 2, "server"), ("new", 2, "other"))
    lake = SmallLake(tmp_path)
    for source, seq, name in sent:
        events = [{"time_unix_nano": 1, "name": f"of {name}", "attributes": []}]
        row = span(1, 0, 1, name=name, source_id=source, batch_seq=seq, events=events)
        lake.append(batch_of([row | {"events_count": 1}]))
    query = 'SELECT SpanName, "Events.Name" AS names FROM otel_traces'
    assert sorted((row["SpanName"], row["names"]) for row in rows(tmp_path, query)) == sorted(
        (name, [f"of {name}"]) for _, _, name in sent
    )


def scans(step: dict[str, Any]) -> Iterator[set[str]]:
    """Yield the columns that each scan of a query plan reads."""
    if step["name"] == "READ_PARQUET":
        named = step["extra_info"].get("Projections", [])
        yield {named} if isinstance(named, str) else set(named)
    for child in step["children"]:
        yield from scans(child)


EVENT_KEYS = {"trace_id", "span_id", "source_id", "batch_seq"}


@pytest.mark.parametrize(
    ("query", "of_events"),
    [
        ("SELECT count(*) FROM otel_traces", []),
        ("SELECT ServiceName, max(Duration) FROM otel_traces GROUP BY 1", []),
        ("SELECT SpanName, SpanAttributes FROM otel_traces", [EVENT_KEYS]),
        (
            'SELECT SpanName, "Events.Name" FROM otel_traces',
            [EVENT_KEYS | {"event_idx", "name"}],
        ),
    ],
)
def test_events_are_read_only_when_they_are_asked_for(
    data: Path, query: str, of_events: list[set[str]]
) -> None:
    """The plan: no scan of span_events under an aggregate, else its keys and the columns named."""
    with connect(data) as connection:
        (plan,) = json.loads(connection.sql(f"EXPLAIN (FORMAT json) {query}").fetchall()[0][1])
    assert list(scans(plan))[1:] == of_events
