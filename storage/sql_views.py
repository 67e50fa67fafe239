"""The SQL face of the lake as text: statements that any DuckDB runs to see it.

They read the manifest once into a variable, so that all views are of one moment, and the views ask
that variable: setting it again shows newer data.
"""
# ruff: noqa: S608 - what is put together here is column names from the schema and quoted paths

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from collector.model import log_schema as ls
from collector.model import schema as s
from storage.lake_tables import LOGS, SPAN_EVENTS, SPAN_EVENTS_SCHEMA, SPANS, SPANS_SCHEMA
from storage.sql_macros import scalar_macros
from storage.sql_otel_traces import LINK, otel_traces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.sql_files import LakeFiles

# the event in which OpenTelemetry's GenAI conventions report a mark that an answer was given
_EVALUATION: Final = "gen_ai.evaluation.result"
VIEWS: Final = ("spans", "span_events", "logs", "traces", "feedback", "otel_traces")
MACROS: Final = ("trace", "trace_events", "trace_logs", *scalar_macros())

_TYPES: Final = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    s.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    s.STRING_MAP: "MAP(VARCHAR, VARCHAR)",
}
# A promoted column begins with a letter: it cannot be taken for these.
_ID: Final = "_id"  # the parameter of the look-ups
_IDS: Final = frozenset({s.TRACE_ID, s.SPAN_ID, s.PARENT_SPAN_ID})
_IS_CALL: Final = (
    f"{s.GEN_AI_OPERATION_NAME} IS NULL"
    f" OR lower({s.GEN_AI_OPERATION_NAME}) NOT IN {s.NO_CALL_OPERATIONS}"
)


def view_statements(files: LakeFiles) -> list[str]:
    """Return the statements that make the views and macros over what was last read."""
    spans, extra, narrow = files.spans(), files.promoted_names, files.narrow
    span_columns = _select(SPANS_SCHEMA, extra, is_uniform=SPANS in files.uniform)
    events, found_events = files.table(SPAN_EVENTS), files.table(SPAN_EVENTS, _ID)
    event_columns = _select(SPAN_EVENTS_SCHEMA, is_uniform=SPAN_EVENTS in files.uniform)
    event_order = "time_unix_nano, event_idx"
    # in a lake of before there were log records there is no file that tells their columns
    logs = found_logs = f"({_no_rows(ls.LOG_SCHEMA)})"
    if files.log_lakes:
        logs, found_logs = files.table(LOGS), files.table(LOGS, _ID)
    log_columns = _select(ls.LOG_SCHEMA, is_uniform=LOGS in files.uniform)
    log_order = f"{ls.TIME}, {ls.TIME_UNIX_NANO}, {s.BATCH_SEQ}, {ls.RECORD_IDX}"
    return [
        _view("spans", f"SELECT {span_columns} FROM {spans}"),
        _view("span_events", f"SELECT {event_columns} FROM {events}"),
        _view("logs", f"SELECT {log_columns} FROM {logs}"),
        _view("traces", _traces(files.table(SPANS))),
        _view("feedback", _feedback(events, logs)),
        _view("otel_traces", otel_traces(spans, events, extra)),
        _lookup("trace", files.spans(_ID), span_columns, s.START_TIME_UNIX_NANO, narrow),
        _lookup("trace_events", found_events, event_columns, event_order, narrow),
        _lookup("trace_logs", found_logs, log_columns, log_order, narrow),
        *(f"CREATE OR REPLACE TEMP MACRO {name}{body}" for name, body in scalar_macros().items()),
    ]


def _view(name: str, select: str) -> str:
    return f"CREATE OR REPLACE TEMP VIEW {name} AS {select}"


def _lookup(name: str, source: str, columns: str, order: str, narrow: str) -> str:
    """Return a table macro that finds one trace's rows.

    A filter on the views' hexadecimal text computes hex() of every row; this compares the stored
    bytes, which the Bloom filters answer: for one trace of 1 M spans in one file 13 ms rather than
    50 with all columns, 4 rather than 31 with two. DuckDB 1.5 asks a Bloom filter for other bytes
    than a BLOB has and finds nothing (duckdb/duckdb#23829), so there the text is compared.

    Which files it is in is asked first: DuckDB 2.0 makes ready to read every column of every row
    group before it asks the Bloom filter, 0.09 ms each for all columns (a trace of 10 M spans in 10
    files with 1,100 row groups: 114 ms of CPU, and 31 this way). A source that
    ``narrow`` has chosen holds only such files.
    """
    stored = f"stored.{s.TRACE_ID}"
    is_it = (
        f"CASE WHEN version() LIKE 'v1.5.%' THEN lower(hex({stored})) = lower({_ID})"
        f" ELSE {stored} = unhex({_ID}) END"
    )
    is_there = f"filename IN (SELECT filename FROM {source} AS stored WHERE {is_it})"
    return (
        f"CREATE OR REPLACE TEMP MACRO {name}({_ID}) AS TABLE SELECT {columns}"
        f" FROM {source} AS stored WHERE {is_it if narrow else f'{is_it} AND {is_there}'}"
        f" ORDER BY {order}"
    )


def _select(schema: pa.Schema, promoted: Sequence[str] = (), *, is_uniform: bool) -> str:
    """Return what a view selects of a table's rows.

    Of files of today's layout that is all there is but for what reads otherwise: to plan a query
    then takes a quarter less time than with every column named. Promoted columns are there in any
    order.
    """
    if not is_uniform:
        return ", ".join([columns_of(schema), *promoted])
    changed = ", ".join(
        _links(is_whole=False) if name == s.LINKS else column
        for name in schema.names
        if (column := _column(name)) != name
    )
    extra = ", ".join(promoted)
    without = f" EXCLUDE ({extra})" if extra else ""
    return f"*{without} REPLACE ({changed}){f', {extra}' if extra else ''}"


def columns_of(schema: pa.Schema) -> str:
    """Return what to select of stored rows so that they read as in the views."""
    return ", ".join(_column(field.name) for field in schema)


def _column(name: str) -> str:
    if name in _IDS:
        return f"lower(hex({name})) AS {name}"
    return _links(is_whole=True) if name == s.LINKS else name


def _links(*, is_whole: bool) -> str:
    """Return the links with hexadecimal ids.

    ``is_whole`` names every field, as DuckDB 1.3 needs it; without, a look-up is planned in nine
    tenths of the time.
    """
    named = [
        f"{name} := lower(hex({LINK}.{name}))" if name in _IDS else f"{name} := {LINK}.{name}"
        for name in (field.name for field in s.LINK)
        if is_whole or name in _IDS
    ]
    made = (
        f"struct_pack({', '.join(named)})"
        if is_whole
        else f"struct_update({', '.join([LINK, *named])})"
    )
    return f"[{made} FOR {LINK} IN {s.LINKS}] AS {s.LINKS}"


def _traces(spans: str) -> str:
    # What senders claim must not end the view for everyone: times may wrap around, sums of tokens
    # be more than a BIGINT holds.
    start, of_root = s.START_TIME_UNIX_NANO, f"{s.START_TIME_UNIX_NANO}) FILTER ({s.IS_ROOT})"
    is_unpriced = f"{s.COST_STATUS} IS NOT NULL AND {s.COST_USD} IS NULL"
    return f"""SELECT
  lower(hex({s.TRACE_ID})) AS {s.TRACE_ID},
  arg_min({s.SERVICE_NAME}, {of_root} AS root_service,
  arg_min({s.NAME}, {of_root} AS root_name,
  min({s.START_TIME}) AS {s.START_TIME},
  greatest(max({start}::HUGEINT + {s.DURATION_NS}) - min({start}), 0) / 1e6 AS duration_ms,
  count(*) AS spans,
  count(*) FILTER ({s.STATUS_CODE} = 'ERROR') AS errors,
  sum({s.COST_USD}) AS {s.COST_USD},
  count(*) FILTER ({is_unpriced}) AS unpriced_spans,
  TRY_CAST(sum({s.INPUT_TOKENS}) FILTER ({_IS_CALL}) AS BIGINT) AS {s.INPUT_TOKENS},
  TRY_CAST(sum({s.OUTPUT_TOKENS}) FILTER ({_IS_CALL}) AS BIGINT) AS {s.OUTPUT_TOKENS},
  list(DISTINCT {s.SERVICE_NAME} ORDER BY {s.SERVICE_NAME}) AS services,
  max({s.SAMPLE_WEIGHT}) AS {s.SAMPLE_WEIGHT},
  arg_min({s.SAMPLE_REASON}, {start}) AS {s.SAMPLE_REASON}
FROM {spans} AS stored
GROUP BY stored.{s.TRACE_ID}"""


def _feedback(span_events: str, logs: str) -> str:
    span = f"lower(hex({s.SPAN_ID}))"
    of_event = f"{span} || '/' || event_idx"
    of_record = f"{s.SOURCE_ID} || '/' || {s.BATCH_SEQ} || '/' || {ls.RECORD_IDX}"
    events = _marks(span_events, of_event, s.NAME, s.SAMPLE_WEIGHT)
    return f"{events}\nUNION ALL\n{_marks(logs, of_record, ls.EVENT_NAME, '1.0::DOUBLE')}"


def _marks(source: str, feedback_id: str, event_name: str, weight: str) -> str:
    def text(key: str) -> str:
        return f"{s.ATTRIBUTES}['{key}']"

    return f"""SELECT
  {feedback_id} AS feedback_id,
  lower(hex({s.TRACE_ID})) AS {s.TRACE_ID},
  lower(hex({s.SPAN_ID})) AS {s.SPAN_ID},
  {text("gen_ai.response.id")} AS gen_ai_response_id,
  time,
  {text("gen_ai.evaluation.name")} AS name,
  TRY_CAST({text("gen_ai.evaluation.score.value")} AS DOUBLE) AS score,
  {text("gen_ai.evaluation.score.label")} AS label,
  {text("gen_ai.evaluation.explanation")} AS explanation,
  {s.SERVICE_NAME} AS source,
  coalesce({text("user.id")}, {text("enduser.id")}) AS user_id,
  {s.ATTRIBUTES},
  {weight} AS {s.SAMPLE_WEIGHT}
FROM {source} AS stored
WHERE {event_name} = '{_EVALUATION}'"""


def _no_rows(schema: pa.Schema) -> str:
    """Return a SELECT of stored rows of which there are none."""
    columns = [f"NULL::{_type_of(field.type)} AS {field.name}" for field in schema]
    return f"SELECT {', '.join([*columns, 'NULL::VARCHAR AS filename'])} WHERE false"


def _type_of(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_binary(kind):
        return "BLOB"
    return _TYPES[kind]
