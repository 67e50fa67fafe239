"""The macros that undo sampling, against numpy on the same numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.model.errors import QueryError
from storage.sql import connect, run_query
from tests.sql.rows import batch_of, shop, span
from tests.sql.small_lake import SmallLake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

QUANTILES = (0.0, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a connection that has the macros."""
    path = tmp_path_factory.mktemp("data")
    SmallLake(path).append(shop())
    with connect(path) as connection:
        yield connection


def brute_force(values: list[float], weights: list[float], share: float) -> float:
    """Return the smallest value up to which the share of the weight lies, in exact arithmetic."""
    order = np.argsort(values, kind="stable")
    total = sum(map(Fraction, weights))
    reached = Fraction(0)
    for index in order:
        reached += Fraction(weights[index])
        if reached >= Fraction(share) * total:
            return values[index]
    raise AssertionError


def test_percentiles_by_weight_are_numpys_in_every_group(lake: duckdb.DuckDBPyConnection) -> None:
    """20,000 spans in 50 groups, weights 1 to 100: what repeating each value by weight gives."""
    rng = np.random.default_rng(7)
    groups, values = rng.integers(0, 50, 20_000), rng.lognormal(10, 2, 20_000).astype(np.int64)
    weights = rng.integers(1, 101, 20_000)
    lake.register("t", pa.table({"g": groups, "v": values, "w": weights.astype(float)}))
    columns = ", ".join(f"weighted_quantile(v, w, {q}) AS q{n}" for n, q in enumerate(QUANTILES))
    found = lake.sql(f"SELECT g, {columns} FROM t GROUP BY g ORDER BY g").to_arrow_table()
    for row in found.to_pylist():
        mine = groups == row["g"]
        whole = np.repeat(values[mine], weights[mine])
        expected = np.quantile(whole, QUANTILES, method="inverted_cdf")
        assert [row[f"q{n}"] for n in range(len(QUANTILES))] == expected.tolist()


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.integers(-1000, 1000), st.sampled_from([1.0, 2.0, 10.0, 0.5, 1 / 0.3, 1 / 0.07])
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from(QUANTILES),
)
def test_a_percentile_by_weight_is_exact(
    lake: duckdb.DuckDBPyConnection, spans: list[tuple[int, float]], share: float
) -> None:
    """Any values and the weights that sampling makes: the answer of exact fractions.

    Where a share of the weight ends at a value to within a rounding error, that value.
    """
    values, weights = [float(v) for v, _ in spans], [w for _, w in spans]
    lake.register("t", pa.table({"v": values, "w": weights}))
    (found,) = lake.sql(f"SELECT weighted_quantile(v, w, {share}) FROM t").fetchall()[0]
    slack = share * (1 - 1e-12)
    assert found in {
        brute_force(values, weights, share),
        brute_force(values, weights, slack - 1e-12 if slack > 1e-12 else 0.0),
    }


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("(1, 0.0), (2, 1.0)", 2),
        ("(NULL, 9.0), (2, 1.0)", 2),
        ("(1, NULL), (3, 1.0)", 3),
        ("(1, 0.0)", None),
        ("(NULL, NULL)", None),
    ],
)
def test_rows_without_value_or_weight_do_not_count(
    lake: duckdb.DuckDBPyConnection, rows: str, expected: int | None
) -> None:
    """Nulls and weight 0 are left out, at the lowest share as well; nothing left is null."""
    query = f"SELECT weighted_quantile(v, w, 0.0) FROM (VALUES {rows}) AS t(v, w)"
    assert lake.sql(query).fetchall() == [(expected,)]


def test_it_keeps_the_type_and_combines_with_other_aggregates(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    """A timestamp's percentile is a timestamp; HAVING and ORDER BY see it."""
    query = (
        "SELECT name, weighted_quantile(start_time, sample_weight, 0.5) AS middle, count(*) AS n"
        " FROM spans GROUP BY name HAVING middle IS NOT NULL ORDER BY middle DESC"
    )
    found = lake.sql(query)
    assert str(found.types[1]) == "TIMESTAMP WITH TIME ZONE"
    assert len(found.to_arrow_table()) == 3


@pytest.mark.parametrize("share", ["1.5", "-0.1", "95"])
def test_a_share_that_is_none_is_an_error(tmp_path: Path, share: str) -> None:
    """95 for 95 %: an error that says what is expected, not a wrong number."""
    SmallLake(tmp_path).append(shop())
    with pytest.raises(QueryError, match="share must be from 0 to 1"):
        run_query(tmp_path, f"SELECT weighted_quantile(duration_ns, 1, {share}) FROM spans")


def test_adjusted_counts_estimate_what_was_received(tmp_path: Path) -> None:
    """Kept with weights 1, 10 and 2.5: sums of them, by condition too, 0 rather than null."""
    spans = [span(1, 0, 1, sample_weight=1.0, status_code="ERROR")]
    spans += [span(2, 0, 1, sample_weight=10.0), span(3, 0, 1, sample_weight=2.5)]
    SmallLake(tmp_path).append(batch_of(spans))
    query = (
        "SELECT adjusted_count(sample_weight) AS every,"
        " adjusted_count(sample_weight, status_code = 'ERROR') AS failed,"
        " adjusted_count(sample_weight, name = 'x') AS none FROM spans"
    )
    (found,) = run_query(tmp_path, query).table.to_pylist()
    assert found == {"every": 13.5, "failed": 1.0, "none": 0.0}
