"""A result in each format: complete, valid, and harmless to a terminal."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.sql import run_statements
from storage.sql_output import FORMATS, Format, Result

TABLE = pa.table(
    {
        "name": ['GET "/a,b"\nnext', None],
        "cost_usd": pa.array([Decimal("0.003800000"), None], pa.decimal128(18, 9)),
        "ratio": [float("nan"), 0.5],
        "start_time": pa.array([datetime(2026, 3, 1, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
        "attributes": pa.array([[("k", "v")], []], pa.map_(pa.string(), pa.string())),
        "services": [["a", "b"], []],
    }
)


def written(table: pa.Table, form: Format) -> bytes:
    """Return the bytes of a result in a format."""
    output = io.BytesIO()
    Result.of(table).write(output, form)
    return output.getvalue()


def shown(table: pa.Table, width: int = 120) -> str:
    """Return what a person sees."""
    output = io.StringIO()
    Result.of(table).show(output, width=width)
    return output.getvalue()


def test_json_is_one_array_of_objects() -> None:
    """Valid JSON for any reader: maps are objects, money keeps its digits, NaN is null."""
    first, second = json.loads(written(TABLE, "json"))
    assert first["name"] == 'GET "/a,b"\nnext'
    assert first["cost_usd"] == 0.0038
    assert first["ratio"] is None
    assert first["start_time"] == "2026-03-01 00:00:00+00"
    assert first["attributes"] == {"k": "v"}
    assert second == {
        "name": None,
        "cost_usd": None,
        "ratio": 0.5,
        "start_time": "2026-03-01 00:00:00+00",
        "attributes": {},
        "services": [],
    }


def test_csv_has_a_header_and_quotes_what_needs_it() -> None:
    """Commas, quotes and line breaks survive a CSV reader; null is empty."""
    first, second = csv.DictReader(io.StringIO(written(TABLE, "csv").decode()))
    assert first["name"] == 'GET "/a,b"\nnext'
    assert first["cost_usd"] == "0.003800000"
    assert second["name"] == ""


def test_parquet_keeps_types_and_rows() -> None:
    """Parquet bytes read back as the same rows with the same types."""
    back = pq.ParquetFile(pa.BufferReader(written(TABLE, "parquet"))).read()
    assert back.schema.field("cost_usd").type == pa.decimal128(18, 9)
    assert back.schema.field("start_time").type == pa.timestamp("us", "UTC")
    assert back.column("attributes").to_pylist() == [[("k", "v")], []]


@pytest.mark.parametrize("form", FORMATS)
def test_a_result_without_rows_is_written(form: Format) -> None:
    """Nothing found is an answer in every format."""
    output = written(TABLE.slice(0, 0), form)
    if form == "json":
        assert json.loads(output) == []
    elif form == "parquet":
        assert pq.ParquetFile(pa.BufferReader(output)).metadata.num_rows == 0
    else:
        assert b"cost_usd" in output


def test_the_table_says_how_many_rows_there_are() -> None:
    """A thousand rows: the first forty, and a line that says so."""
    output = shown(pa.table({"n": range(1000), "name": ["x"] * 1000}))
    assert "1,000 rows (40 shown" in output
    assert len(output.splitlines()) == 43
    assert "998" not in output


def test_a_trace_id_is_never_cut_and_a_map_gives_way() -> None:
    """An id beside a long map in a narrow terminal: the id is whole, every column is there."""
    ids = ["0123456789abcdef" * 2] * 2
    maps = pa.array([[("key", "v" * 300)]] * 2, pa.map_(pa.string(), pa.string()))
    output = shown(pa.table({"trace_id": ids, "attributes": maps, "ms": [1.5, 2]}), width=80)
    assert ids[0] in output
    assert "…" in output
    assert "1.5" in output
    assert max(map(len, output.splitlines())) <= 80


def test_wide_characters_are_not_cut() -> None:
    """Two columns a character, as CJK has: shown whole where there is room."""
    name = "注文の支払いを確認する"
    assert name in shown(pa.table({"name": [name] * 2, "n": [1, 2]}))


def test_rows_wider_than_the_terminal_are_shown_as_blocks() -> None:
    """Eighty columns of two rows: a block of lines each, nulls left out."""
    wide = pa.table({f"column_{n}": pa.array([n, None]) for n in range(80)})
    lines = shown(wide).splitlines()
    assert lines[0] == "── row 1 ──"
    assert lines[1].split() == ["column_0", "0"]
    assert lines[-2:] == ["── row 2 ──", "2 rows"]


def test_one_row_is_shown_whole() -> None:
    """A single long value, such as a query plan, is neither cut nor folded."""
    text = "first line\n" + "x" * 500
    assert text in shown(pa.table({"explain_value": [text]}))


def test_a_terminal_does_not_obey_what_is_stored() -> None:
    """Escape sequences and markup in a span name or column name are shown, not acted upon."""
    output = shown(pa.table({"na\x1b[2Jme": ["\x1b]0;owned\x07 [red]x[/red]", "\x9b31m"]}))
    assert "\x1b" not in output
    assert "\x9b" not in output
    assert r"\x1b]0;owned\x07 [red]x[/red]" in output


def test_nanoseconds_are_shown_wherever_they_are() -> None:
    """DuckDB's TIMESTAMP_NS, alone and in lists, structs and maps: every digit, no error."""
    at = pa.array([1_772_368_200_000_000_007], pa.timestamp("ns"))
    table = pa.table(
        {
            "alone": at,
            "list": pa.ListArray.from_arrays([0, 1], at),
            "struct": pa.StructArray.from_arrays([at], ["at"]),
            "map": pa.MapArray.from_arrays([0, 1], pa.array(["at"]), at),
        }
    )
    lines = [line.split(maxsplit=1)[1] for line in shown(table).splitlines()[:4]]
    text = "2026-03-01 12:30:00.000000007"
    assert lines == [text, f"[{text}]", f"{{at: {text}}}", f"{{at: {text}}}"]


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("DATE '20000-01-01'", "20000-01-01"),
        ("TIMESTAMP '20000-01-01'", "20000-01-01 00:00:00"),
        ("'-infinity'::TIMESTAMPTZ", "-infinity"),
        ("TIMESTAMPTZ '2026-03-01 12:30:00+00'", "2026-03-01 12:30:00+00"),
        ("TIME '24:00:00'", "24:00:00"),
        ("INTERVAL '1 year 2 days 3 hours'", "1 year 2 days 03:00:00"),
        ("[{'the \"day\"': MAP {'k': DATE '20000-01-01'}}]", '[{the "day": {k: 20000-01-01}}]'),
        ("union_value(k := DATE '20000-01-01')", "20000-01-01"),
        ("12345678901234567890123456789.120::DECIMAL(38,3)", "12345678901234567890123456789.12"),
        ("(2::HUGEINT ** 126)::HUGEINT - 1", "85070591730234615865843651857942052863"),
        ("100::DECIMAL(9,0)", "100"),
        ("[]", ""),
        ("MAP {}", ""),
    ],
)
def test_every_value_is_shown_as_it_is(sql: str, text: str) -> None:
    """Times that Python has no room for, at any depth, intervals, long numbers, empty nestings."""
    with duckdb.connect() as connection:
        table = connection.sql(f"SELECT 'x' AS result, {sql} AS value").to_arrow_table()
    lines = shown(table).splitlines()
    assert lines == ["result  x", *([f"value   {text}"] if text else []), "1 row"]


def test_a_list_of_maps_is_shown_as_maps() -> None:
    """Events' attributes, two keys each: not taken for one map."""
    kind = pa.list_(pa.map_(pa.string(), pa.string()))
    table = pa.table({"maps": pa.array([[[("a", "1"), ("b", "2")], [("c", "3")]]], kind)})
    assert shown(table).splitlines()[0] == "maps  [{a: 1, b: 2}, {c: 3}]"


def test_repeated_column_names_are_numbered() -> None:
    """SELECT 1 AS a, 2 AS a: both values are there in every format."""
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert json.loads(written(table, "json")) == [{"a": 1, "a_1": 2}]


def test_a_column_of_any_name_is_one_of_the_rows() -> None:
    """Columns called as the rows are inside: JSON objects with all columns, null ones too."""
    table = pa.table({"Result": ["x", None], "result_": [1, 2]})
    assert json.loads(written(table, "json")) == [
        {"Result": "x", "result_": 1},
        {"Result": None, "result_": 2},
    ]


def test_no_number_that_json_does_not_have_is_in_json() -> None:
    """NaN and infinity, alone and in lists, structs, maps: null; in text they stay."""
    nan, infinite = float("nan"), float("-inf")
    text = 'NaN, "-Infinity" \\'
    table = pa.table(
        {
            "alone": [nan],
            "list": [[infinite, 1.5]],
            "struct": [{"NaN": nan, "text": text}],
            "map": pa.array([[(text, infinite)]], pa.map_(pa.string(), pa.float64())),
        }
    )
    assert json.loads(written(table, "json"), parse_constant=pytest.fail) == [
        {
            "alone": None,
            "list": [None, 1.5],
            "struct": {"NaN": None, "text": text},
            "map": {text: None},
        }
    ]


# DuckDB's way to Arrow has -1, bytes of its own form, and a time without its zone for these.
LOSSY = {
    "largest": (f"{2**128 - 1}::UHUGEINT", str(2**128 - 1)),
    "bits": ("'101'::BIT", "101"),
    "zoned": ("'12:00:00+02'::TIMETZ", "12:00:00+02"),
    "list": ("[1::UHUGEINT, NULL]", ["1", None]),
    "struct": ("{'a b': MAP {1: '10'::BIT}}", {"a b": {"1": "10"}}),
    "union": ("union_value(one := '11'::BIT)", "11"),
    "tuple": (
        "[row(1::UHUGEINT, '11'::BIT, 2)]",
        [{"element1": "1", "element2": "11", "element3": 2}],
    ),
    "UHUGEINT": ("{'bit': 1}", {"bit": 1}),
}
LOSSY_SQL = f"SELECT {', '.join(f'{sql} AS {quoted}' for quoted, (sql, _) in LOSSY.items())}"


def test_values_for_which_arrow_has_no_type_are_text() -> None:
    """Numbers above 2^127, bits, times with a zone: as DuckDB writes them, at any depth."""
    with duckdb.connect() as connection:
        rows = run_statements(connection, f"{LOSSY_SQL}, 7 AS bits")
    assert rows is not None
    assert rows.table.column_names == [*LOSSY, "bits_1"]
    (found,) = json.loads(written(rows.table, "json"))
    assert found == {name: value for name, (_, value) in LOSSY.items()} | {"bits_1": 7}


def test_numbers_of_any_length_are_shown() -> None:
    """A BIGNUM is digits in a table, not bytes."""
    digits = "1234567890" * 5
    with duckdb.connect() as connection:
        rows = run_statements(connection, f"SELECT '{digits}'::BIGNUM AS n")
    assert rows is not None
    assert digits in shown(rows.table)
