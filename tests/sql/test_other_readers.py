"""The lake's files through other engines: the same aggregates as ``clearspan query`` gives.

Each engine is given the manifest's file lists and nothing else; what it cannot open or reads as
something else would show here.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from storage.sql import print_setup, run_query
from tests.sql.busy_day import busy_day
from tests.sql.rows import TRACE, TRACE_HEX, shop
from tests.sql.writer import write_once

if TYPE_CHECKING:
    from pathlib import Path

BY_SERVICE = """
SELECT service_name, count(*) AS spans, sum(sample_weight) AS received,
       sum(duration_ns)::BIGINT AS duration_ns, sum(cost_usd) AS cost_usd,
       sum(input_tokens)::BIGINT AS input_tokens,
       count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
       count(*) FILTER (WHERE attributes['feature.flag'] = 'new-cart') AS flagged,
       epoch_us(min(start_time)) AS first_us
FROM spans GROUP BY service_name ORDER BY service_name
"""
EXCEPTIONS = """
SELECT exception_type, count(*) AS times FROM span_events
WHERE exception_type IS NOT NULL GROUP BY exception_type ORDER BY exception_type
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What every engine is asked: sums by service, exceptions, the spans of one trace."""

    by_service: list[dict[str, Any]]
    exceptions: list[dict[str, Any]]
    of_trace: int


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory that the lake's own writer filled, in two commits."""
    path = tmp_path_factory.mktemp("data")
    write_once(path, shop())
    write_once(path, busy_day())
    return path


@pytest.fixture(scope="module")
def ours(data: Path) -> Answers:
    """Return what ``clearspan query`` says."""
    answers = Answers(
        run_query(data, BY_SERVICE).table.to_pylist(),
        run_query(data, EXCEPTIONS).table.to_pylist(),
        len(run_query(data, f"FROM trace('{TRACE_HEX}')")),
    )
    assert [row["service_name"] for row in answers.by_service] == [
        "assistant",
        "checkout",
        "payments",
        "shop",
    ]
    assert answers.by_service[0]["cost_usd"] == Decimal("0.015")
    assert answers.of_trace == 4
    return answers


def files(data: Path, table: str) -> list[str]:
    """Return a table's files as the manifest lists them."""
    manifest = json.loads((data / "lake" / "_manifest.json").read_bytes())
    return [f"{data}/lake/{name}" for name in manifest[table]]


def test_plain_duckdb(data: Path, ours: Answers) -> None:
    """A DuckDB without clearspan that was given the printed set-up."""
    with duckdb.connect() as plain:
        plain.execute(print_setup(data))
        found = Answers(
            plain.sql(BY_SERVICE).to_arrow_table().to_pylist(),
            plain.sql(EXCEPTIONS).to_arrow_table().to_pylist(),
            len(plain.sql(f"FROM trace('{TRACE_HEX}')").to_arrow_table()),
        )
    assert found == ours


def test_polars(data: Path, ours: Answers) -> None:
    """Polars, lazily over the manifest's files, maps included."""
    spans = pl.scan_parquet(files(data, "spans"), hive_partitioning=False)
    is_new = pl.col("attributes").map.get("feature.flag") == "new-cart"
    by_service = (
        spans.group_by("service_name")
        .agg(
            pl.len().alias("spans"),
            pl.col("sample_weight").sum().alias("received"),
            pl.col("duration_ns").sum(),
            pl.when(pl.col("cost_usd").count() > 0)
            .then(pl.col("cost_usd").sum())
            .alias("cost_usd"),
            pl.when(pl.col("input_tokens").count() > 0)
            .then(pl.col("input_tokens").sum())
            .alias("input_tokens"),
            (pl.col("status_code") == "ERROR").sum().alias("errors"),
            is_new.sum().alias("flagged"),
            pl.col("start_time").min().dt.epoch("us").alias("first_us"),
        )
        .sort("service_name")
    )
    exceptions = (
        pl.scan_parquet(files(data, "span_events"), hive_partitioning=False)
        .filter(pl.col("exception_type").is_not_null())
        .group_by("exception_type")
        .agg(pl.len().alias("times"))
        .sort("exception_type")
    )
    of_trace = spans.filter(pl.col("trace_id") == TRACE).select(pl.len())
    found = Answers(
        by_service.collect().to_dicts(),
        exceptions.collect().to_dicts(),
        of_trace.collect().item(),
    )
    assert found == ours


def test_pyarrow(data: Path, ours: Answers) -> None:
    """Arrow's dataset reader and its own group-by."""
    spans = ds.dataset(files(data, "spans"), format="parquet").to_table()
    flag = pc.map_lookup(spans.column("attributes"), "feature.flag", "first")
    spans = spans.append_column("errors", pc.equal(spans.column("status_code"), "ERROR"))
    spans = spans.append_column("flagged", pc.equal(flag, "new-cart"))
    grouped = spans.group_by("service_name").aggregate(
        [
            ([], "count_all"),
            ("sample_weight", "sum"),
            ("duration_ns", "sum"),
            ("cost_usd", "sum"),
            ("input_tokens", "sum"),
            ("errors", "sum"),
            ("flagged", "sum"),
            ("start_time", "min"),
        ]
    )
    rows = grouped.sort_by("service_name").to_pylist()
    for row, expected in zip(rows, ours.by_service, strict=True):
        epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        first_us = (row["start_time_min"] - epoch) // timedelta(microseconds=1)
        assert (row["service_name"], first_us) == (expected["service_name"], expected["first_us"])
        assert (row["count_all"], row["errors_sum"]) == (expected["spans"], expected["errors"])
        assert (row["flagged_sum"] or 0) == expected["flagged"]
        names = {"sample_weight": "received"}
        for name in ("sample_weight", "duration_ns", "cost_usd", "input_tokens"):
            assert row[f"{name}_sum"] == expected[names.get(name, name)]
    of_trace = ds.dataset(files(data, "spans")).count_rows(filter=ds.field("trace_id") == TRACE)
    assert of_trace == ours.of_trace


def test_pandas(data: Path, ours: Answers) -> None:
    """Pandas over the same files."""
    pandas = pytest.importorskip("pandas", reason="make engines installs it")
    read = [pandas.read_parquet(name, partitioning=None) for name in files(data, "spans")]
    spans = pandas.concat([frame for frame in read if len(frame)])
    grouped = spans.groupby("service_name")
    for expected in ours.by_service:
        mine = grouped.get_group(expected["service_name"])
        assert len(mine) == expected["spans"]
        assert mine["sample_weight"].sum() == expected["received"]
        assert mine["duration_ns"].sum() == expected["duration_ns"]
        assert (mine["status_code"] == "ERROR").sum() == expected["errors"]
        assert (mine["cost_usd"].dropna().sum() or None) == expected["cost_usd"]
        flags = mine["attributes"].map(lambda pairs: dict(pairs).get("feature.flag"))
        assert (flags == "new-cart").sum() == expected["flagged"]
    assert (spans["trace_id"] == TRACE).sum() == ours.of_trace


@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_spark(data: Path, ours: Answers) -> None:
    """Spark: its reader refuses nanosecond timestamps, so this shows that there are none."""
    sql = pytest.importorskip("pyspark.sql", reason="make engines installs it")
    spark = (
        sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .getOrCreate()
    )
    try:
        for table in ("spans", "span_events"):
            base = str(data / "lake" / table)  # the hours' directories become two more columns
            rows = spark.read.option("basePath", base).parquet(*files(data, table))
            rows.createOrReplaceTempView(table)
        by_service = spark.sql(BY_SERVICE.replace("epoch_us(", "unix_micros("))
        found = Answers(
            [row.asDict() for row in by_service.collect()],
            [row.asDict() for row in spark.sql(EXCEPTIONS).collect()],
            spark.sql(f"SELECT * FROM spans WHERE trace_id = X'{TRACE_HEX}'").count(),
        )
    finally:
        spark.stop()
    assert found == ours
