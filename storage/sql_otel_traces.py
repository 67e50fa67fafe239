"""The lake as the table ``otel_traces`` that the Collector's ClickHouse exporter writes.

Columns and spellings are those of ``exporter/clickhouseexporter/example/default_ddl/traces.sql``
and of ``SpanKind.String()`` and ``StatusCode.String()`` in the Collector's ``pdata/ptrace``, so
that queries and dashboards made for that table find theirs. As there, nothing is null: what is
missing is the empty text, map or list.
"""
# ruff: noqa: S608 - what is put together here is column names from the schema

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collector.model import schema as s

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_NANOS: Final = 2**63 - 2
LINK: Final = "_link"
"""What a link is called where each is looked at: no promoted column begins like this."""
_NO_MAP: Final = "MAP {}::MAP(VARCHAR, VARCHAR)"


def otel_traces(spans: str, span_events: str, promoted: Sequence[str]) -> str:
    """Return the view's SELECT over two table expressions, one for each stored table.

    ``promoted`` are columns of ``spans`` that stand behind the exporter's own under their names;
    they begin with a letter, so none is taken for a name that begins with ``_`` here.

    The events' join reads all of ``span_events``. DuckDB 2.0 leaves the lists out of a query that
    does not name them, and the whole join where what is selected is aggregated; other queries still
    read the ids and the batch: 90 ms of CPU on 300,000 spans with 75,000 events, of which a third
    for the batch. The join is on the stored bytes, a third faster than on text.
    """
    # A batch that was sent again, and a client and a server that share an id, are several spans of
    # one id: the batch tells whose the events are. DuckDB leaves a join out only when it compares
    # plain columns with =, so null, which an old row may have, is replaced before.
    keys = (s.TRACE_ID, s.SPAN_ID, "_source", "_batch")
    of_key = ", ".join(keys)
    batch = f"coalesce({s.SOURCE_ID}, '') AS _source, coalesce({s.BATCH_SEQ}, -1) AS _batch"
    is_its = " AND ".join(f"events.{key} = stored.{key}" for key in keys)
    own = {**_span_columns(), **_event_columns(), **_link_columns()}
    values = [f'{value} AS "{name}"' for name, value in own.items()]
    columns = ",\n  ".join(values + [f"stored.{name}" for name in promoted])
    return f"""SELECT
  {columns}
FROM (SELECT *, {batch} FROM {spans}) AS stored
LEFT JOIN (
  SELECT {of_key},
    list({_time("time_unix_nano")} ORDER BY event_idx) AS _times,
    list({_text(s.NAME)} ORDER BY event_idx) AS _names,
    list({_map(s.ATTRIBUTES)} ORDER BY event_idx) AS _maps
  FROM (SELECT *, {batch} FROM {span_events}) GROUP BY {of_key}
) AS events ON {is_its}"""


def _span_columns() -> dict[str, str]:
    return {
        "Timestamp": _time(s.START_TIME_UNIX_NANO),
        "TraceId": _hex(f"stored.{s.TRACE_ID}"),
        "SpanId": _hex(f"stored.{s.SPAN_ID}"),
        "ParentSpanId": _text(_hex(s.PARENT_SPAN_ID)),
        "TraceState": _text(s.TRACE_STATE),
        "SpanName": _text(s.NAME),
        "SpanKind": _spelling(s.KIND, s.KIND_NAMES),
        "ServiceName": _text(s.SERVICE_NAME),
        "ResourceAttributes": _map(s.RESOURCE_ATTRIBUTES),
        "ScopeName": _text(s.SCOPE_NAME),
        "ScopeVersion": _text(s.SCOPE_VERSION),
        "SpanAttributes": _map(s.ATTRIBUTES),
        "Duration": f"greatest({s.DURATION_NS}, 0)::UBIGINT",
        "StatusCode": _spelling(s.STATUS_CODE, s.STATUS_NAMES),
        "StatusMessage": _text(s.STATUS_MESSAGE),
    }


def _event_columns() -> dict[str, str]:
    return {
        "Events.Timestamp": "coalesce(events._times, [])",
        "Events.Name": "coalesce(events._names, [])",
        "Events.Attributes": "coalesce(events._maps, [])",
    }


def _link_columns() -> dict[str, str]:
    fields = {
        "TraceId": _hex(f"{LINK}.{s.TRACE_ID}"),
        "SpanId": _hex(f"{LINK}.{s.SPAN_ID}"),
        "TraceState": _text(f"{LINK}.{s.TRACE_STATE}"),
        "Attributes": _map(f"{LINK}.{s.ATTRIBUTES}"),
    }
    return {
        f"Links.{name}": f"coalesce([{value} FOR {LINK} IN {s.LINKS}], [])"
        for name, value in fields.items()
    }


def _time(nanos: str) -> str:
    """Return the TIMESTAMP_NS, the nearest one for what DuckDB takes for infinity: ±(2^63 - 1)."""
    return f"make_timestamp_ns(least(greatest({nanos}, {-_MOST_NANOS}), {_MOST_NANOS}))"


def _hex(column: str) -> str:
    return f"lower(hex({column}))"


def _text(value: str) -> str:
    return f"coalesce({value}, '')"


def _map(value: str) -> str:
    return f"coalesce({value}, {_NO_MAP})"


def _spelling(column: str, names: tuple[str, ...]) -> str:
    """Return the expression that writes SERVER as Server; what is none of the names is empty."""
    whens = " ".join(f"WHEN '{name}' THEN '{name.capitalize()}'" for name in names)
    return f"CASE {column} {whens} ELSE '' END"
