"""Fixtures of the SQL endpoint's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sql.busy_day import busy_day
from tests.sql.rows import shop
from tests.sql.small_lake import SmallLake
from tests.sql.sql_endpoint import MAX_ROWS, SqlEndpoint, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory with the shop's spans and those of a busy day."""
    path = tmp_path_factory.mktemp("data")
    written = SmallLake(path)
    written.append(shop())
    written.append(busy_day())
    return path


@pytest.fixture(scope="module")
def limited(lake: Path) -> Iterator[SqlEndpoint]:
    """Serve it with limits that are quickly reached."""
    limits = {"max_result_rows": MAX_ROWS, "max_result_bytes": 2**20, "memory_limit": 2**26}
    with serve(lake, timeout=2, max_request_body_size=1024, **limits) as endpoint:
        yield endpoint
