"""The lake's spans once more, in SQLite and as OTLP/JSON lines, and the same questions to both."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import duckdb

from storage.sql import connect
from storage.sql_files import quote

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ROWS_AT_A_TIME: Final = 20_000
_SPANS_A_LINE: Final = 500
_HOUR_NS: Final = 3_600_000_000_000
_STORED: Final = "read_parquet(getvariable('clearspan').spans_today)"
_JSON_COLUMNS: Final = """{resourceSpans: 'STRUCT(
  resource STRUCT(attributes STRUCT("key" VARCHAR, "value" STRUCT(stringValue VARCHAR))[]),
  scopeSpans STRUCT(spans STRUCT(
    traceId VARCHAR, spanId VARCHAR, parentSpanId VARCHAR, "name" VARCHAR, kind INTEGER,
    startTimeUnixNano VARCHAR, endTimeUnixNano VARCHAR,
    attributes STRUCT("key" VARCHAR, "value" STRUCT(stringValue VARCHAR))[])[])[])[]'}"""
_AS_ATTRIBUTES: Final = (
    "list_transform(map_entries({}), lambda e:"
    " struct_pack(key := e.key, value := struct_pack(stringValue := e.value)))"
)


@dataclass(frozen=True, slots=True)
class Rival:
    """Another store of the same spans; each question is a function that returns its rows."""

    name: str
    spans: int
    size_bytes: int
    cpu_s: float
    trace: Callable[[bytes], list[tuple[object, ...]]]
    group_by: Callable[[int], list[tuple[object, ...]]]
    tenant: Callable[[str], list[tuple[object, ...]]]


def sqlite_of(data: Path, file: Path) -> Rival:
    """Copy the lake's spans into one SQLite table with three indices; attributes as JSON text.

    Without journal and sync, indices made last: kinder to SQLite than a collector could be.
    """
    started = time.process_time()
    database = sqlite3.connect(file)
    database.executescript(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000;"
        "CREATE TABLE spans (trace_id BLOB, span_id BLOB, parent_span_id BLOB, start_ns INTEGER,"
        " duration_ns INTEGER, service_name TEXT, name TEXT, kind TEXT, status_code TEXT,"
        " tenant TEXT, attributes TEXT, resource_attributes TEXT);"
    )
    query = (
        "SELECT trace_id, span_id, parent_span_id, start_time_unix_nano, duration_ns,"
        " service_name, name, kind, status_code, tenant, to_json(attributes)::VARCHAR,"
        f" to_json(resource_attributes)::VARCHAR FROM {_STORED}"
    )
    reading = 0.0
    spans = 0
    with connect(data) as connection:
        reader = connection.sql(query).to_arrow_reader(_ROWS_AT_A_TIME)
        while True:
            before = time.process_time()
            batch = next(reader, None)
            rows = [] if batch is None else list(zip(*batch.to_pydict().values(), strict=True))
            reading += time.process_time() - before
            if batch is None:
                break
            database.executemany(f"INSERT INTO spans VALUES ({','.join('?' * 12)})", rows)
            spans += len(rows)
    database.commit()
    database.executescript(
        "CREATE INDEX by_trace ON spans (trace_id);"
        "CREATE INDEX by_start ON spans (start_ns, service_name, name, duration_ns);"
        "CREATE INDEX by_tenant ON spans (tenant, service_name, duration_ns);"
        "ANALYZE;"
    )
    cpu_s = time.process_time() - started - reading

    def trace(trace_id: bytes) -> list[tuple[object, ...]]:
        return database.execute("SELECT * FROM spans WHERE trace_id = ?", [trace_id]).fetchall()

    def group_by(start_ns: int) -> list[tuple[object, ...]]:
        ranked = (
            "SELECT service_name, name, duration_ns,"
            " row_number() OVER (PARTITION BY service_name, name ORDER BY duration_ns) AS rank,"
            " count(*) OVER (PARTITION BY service_name, name) AS spans"
            " FROM spans WHERE start_ns >= ? AND start_ns < ?"
        )
        sql = (
            f"SELECT service_name, name, spans, min(duration_ns) FROM ({ranked})"
            " WHERE rank >= 0.95 * spans GROUP BY 1, 2"
        )
        return database.execute(sql, [start_ns, start_ns + _HOUR_NS]).fetchall()

    def tenant(name: str) -> list[tuple[object, ...]]:
        sql = (
            "SELECT service_name, count(*), avg(duration_ns) FROM spans WHERE tenant = ? GROUP BY 1"
        )
        return database.execute(sql, [name]).fetchall()

    return Rival("SQLite", spans, file.stat().st_size, cpu_s, trace, group_by, tenant)


def json_of(data: Path, file: Path, spans: int) -> Rival:
    """Write the first ``spans`` spans as OTLP/JSON, 500 of one service a line, for read_json."""
    span = (
        "struct_pack(traceId := lower(hex(trace_id)), spanId := lower(hex(span_id)),"
        " parentSpanId := lower(hex(parent_span_id)), name := name, kind := 2,"
        " startTimeUnixNano := start_time_unix_nano::VARCHAR,"
        " endTimeUnixNano := (start_time_unix_nano + duration_ns)::VARCHAR,"
        f" attributes := {_AS_ATTRIBUTES.format('attributes')})"
    )
    resource = f"struct_pack(attributes := {_AS_ATTRIBUTES.format('resource_attributes')})"
    query = (
        f"SELECT [struct_pack(resource := any_value({resource}),"
        f" scopeSpans := [struct_pack(spans := list({span}))])] AS resourceSpans"
        " FROM (SELECT *, row_number() OVER (PARTITION BY service_name ORDER BY start_time)"
        f" // {_SPANS_A_LINE} AS line FROM (FROM {_STORED} ORDER BY start_time LIMIT {spans}))"
        " GROUP BY service_name, line"
    )
    started = time.process_time()
    with connect(data) as writer:
        writer.execute(f"COPY ({query}) TO {quote(str(file))} (FORMAT json)")
    cpu_s = time.process_time() - started
    connection = duckdb.connect()
    connection.execute(
        "CREATE VIEW spans AS SELECT unnest(s.spans, recursive := true), service_name FROM"
        " (SELECT unnest(r.scopeSpans) AS s, list_filter(r.resource.attributes,"
        " lambda a: a.key = 'service.name')[1]['value'].stringValue AS service_name FROM"
        f" (SELECT unnest(resourceSpans) AS r FROM read_json({quote(str(file))},"
        f" columns = {_JSON_COLUMNS})))"
    )
    duration = "(endTimeUnixNano::BIGINT - startTimeUnixNano::BIGINT)"

    def ask(sql: str) -> list[tuple[object, ...]]:
        return connection.execute(sql).fetchall()

    def trace(trace_id: bytes) -> list[tuple[object, ...]]:
        return ask(f"FROM spans WHERE traceId = '{trace_id.hex()}'")

    def group_by(start_ns: int) -> list[tuple[object, ...]]:
        start = "startTimeUnixNano::BIGINT"
        return ask(
            f"SELECT service_name, name, count(*), quantile_disc({duration}, 0.95) FROM spans"
            f" WHERE {start} >= {start_ns} AND {start} < {start_ns + _HOUR_NS} GROUP BY ALL"
        )

    def tenant(name: str) -> list[tuple[object, ...]]:
        is_it = "list_filter(attributes, lambda a: a.key = 'tenant.id')[1]['value'].stringValue"
        return ask(
            f"SELECT service_name, count(*), avg({duration}) FROM spans"
            f" WHERE {is_it} = '{name}' GROUP BY 1"
        )

    name = "OTLP/JSON lines, read_json"
    return Rival(name, spans, file.stat().st_size, cpu_s, trace, group_by, tenant)
