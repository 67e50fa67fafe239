"""Retention by service: each service's rows go when their time comes, nothing else, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from collector.model import schema as s
from collector.model import telemetry as t
from config.exporters import CompactionSettings, RetentionSettings
from config.exporters import ServiceRetention as OneService
from storage.environment import Environment
from storage.lake_tables import SPANS
from storage.sql import run_query
from storage.verify import verify
from tests.storage.batches import BASE_US, make_batch
from tests.storage.damage import flip
from tests.storage.store import lake_settings

if TYPE_CHECKING:
    from pathlib import Path

    from collector.model.batch import SpanBatch
    from tests.storage.conftest import Opener

HOUR_S = 3600.0
ROWS = 40
SERVICES = ["checkout", "audit", "web", None]
END_S = (BASE_US // 3_600_000_000 + 1) * HOUR_S


class Clock:
    """A time of day that a test moves."""

    def __init__(self) -> None:
        """Begin at the end of the batches' hour."""
        self.now_s = END_S

    def environment(self) -> Environment:
        """Return an environment with this time."""
        return Environment(now=lambda: self.now_s, monotonic=lambda: self.now_s)


def mixed(seed: int) -> SpanBatch:
    """Return spans of each service in turn."""
    names = pa.array([SERVICES[n % len(SERVICES)] for n in range(ROWS)], pa.string())
    return make_batch(ROWS, seed).replace({s.SERVICE_NAME: names})


def settings(max_age: float = 3 * HOUR_S, **services: float) -> Any:
    """Return lake settings with an age for all and for some services; nothing is merged."""
    own = tuple(OneService(service=name, max_age=age) for name, age in services.items())
    return lake_settings(
        retention=RetentionSettings(max_age=max_age, max_bytes=0, services=own),
        compaction=CompactionSettings(interval=0),
    )


def left(data: Path) -> dict[str | None, int]:
    """Return how many spans of each service SQL finds; events must agree."""
    sql = "SELECT service_name, count(*) AS n FROM spans GROUP BY 1"
    spans = {row["service_name"]: row["n"] for row in run_query(data, sql).table.to_pylist()}
    strays = (
        "SELECT count(*) AS n FROM span_events WHERE span_id NOT IN (SELECT span_id FROM spans)"
        " UNION ALL SELECT sum(events_count) - (SELECT count(*) FROM span_events) FROM spans"
    )
    rows = run_query(data, strays).table.to_pylist()
    assert [int(row["n"] or 0) for row in rows] == [0, 0]
    return spans


def test_each_service_goes_when_its_time_comes(open_store: Opener) -> None:
    """Scenario: four services in each file; one is kept for less than the rest, one for longer,
    one span has no service; the clock moves hour by hour, maintenance runs twice each time.

    Guarantees: exactly the rows whose age is over go, with their events, and are counted; what
    stays is unchanged; a second run, and one after a restart, changes no file; verify is content.
    """  # noqa: D205 - the scenario needs two lines
    clock = Clock()
    own = {"checkout": HOUR_S, "audit": 10 * HOUR_S, "unseen": 2 * HOUR_S}
    store = open_store(settings=settings(**own), environment=clock.environment())
    for seed in range(2):
        store.store(mixed(seed))
        assert store.lake.flush()
    each = 2 * ROWS // len(SERVICES)
    before = store.rows()
    expected: dict[float, dict[str | None, int]] = {
        0.5: dict.fromkeys(SERVICES, each),
        1.0: {"audit": each, "web": each, None: each},
        2.5: {"audit": each, "web": each, None: each},
        3.0: {"audit": each},
        9.9: {"audit": each},
        10.0: {},
    }
    gone = 0
    for hours, spans in expected.items():
        clock.now_s = END_S + hours * HOUR_S
        store.lake.maintain()
        assert left(store.path) == spans, hours
        paths = {f["path"] for f in store.manifest()["files"]}
        store.lake.maintain()
        store.abandon()
        counted = store.telemetry.sums
        gone += int(counted[t.LAKE_EXPIRED_SPANS.name, "service"])
        gone += int(counted[t.LAKE_EXPIRED_SPANS.name, "age"])
        assert gone == 2 * ROWS - sum(spans.values())
        open_store(settings=settings(**own), environment=clock.environment()).abandon()
        # the start before has seen this time, so it is believed
        store = open_store(settings=settings(**own), environment=clock.environment())
        store.lake.maintain()
        assert {f["path"] for f in store.manifest()["files"]} == paths
        assert verify(store.path).is_sound
        rows = store.rows()
        same = before.filter(pc.is_in(before[s.SPAN_ID], rows[s.SPAN_ID]))
        order = [(s.SPAN_ID, "ascending")]
        assert rows.sort_by(order).combine_chunks() == same.sort_by(order).combine_chunks()


def test_what_arrived_while_the_clock_was_behind_is_not_old(open_store: Opener) -> None:
    """Scenario: spans from before the clock was set right lie in an hour that is three days old.

    Guarantee: they have their age, as without ages by service.
    """
    clock = Clock()
    clock.now_s -= 3 * 24 * HOUR_S
    store = open_store(settings=settings(24 * HOUR_S, audit=0), environment=clock.environment())
    store.store(mixed(0))
    assert store.lake.flush()
    store.abandon()
    clock.now_s += 3 * 24 * HOUR_S
    for _ in range(2):
        store = open_store(settings=settings(24 * HOUR_S, audit=0), environment=clock.environment())
        store.lake.maintain()
        assert sum(left(store.path).values()) == ROWS
        store.abandon()
    clock.now_s += 30 * HOUR_S
    for _ in range(2):
        store = open_store(settings=settings(24 * HOUR_S, audit=0), environment=clock.environment())
        store.lake.maintain()
        store.abandon()
    assert left(store.path) == {"audit": ROWS // len(SERVICES)}


def test_undecided_batches_stay(open_store: Opener) -> None:
    """Scenario: expired rows in a file with a batch that is not settled. Guarantee: they stay
    until it is, since a restart tells by them what is stored already.
    """  # noqa: D205 - the guarantee needs two lines
    clock = Clock()
    store = open_store(settings=settings(checkout=HOUR_S), environment=clock.environment())
    store.lake.append(store.journal.write(mixed(0)), 0)
    assert store.lake.flush()
    clock.now_s += 2 * HOUR_S
    store.lake.maintain()
    assert left(store.path)["checkout"] == ROWS // 4
    store.store(mixed(1))
    assert store.lake.flush()
    store.lake.maintain()
    assert left(store.path) == {"audit": ROWS // 2, "web": ROWS // 2, None: ROWS // 2}


def test_a_service_is_kept_for_ever(open_store: Opener) -> None:
    """Scenario: one service has the age 0. Guarantee: it alone is left, however old."""
    clock = Clock()
    store = open_store(settings=settings(audit=0), environment=clock.environment())
    store.store(mixed(0))
    assert store.lake.flush()
    clock.now_s += 10_000 * HOUR_S
    store.lake.maintain()
    assert left(store.path) == {"audit": ROWS // 4}


@pytest.mark.parametrize("part", ["footer", "page"])
def test_a_damaged_file_is_put_aside(open_store: Opener, part: str) -> None:
    """Scenario: one of two files with expired rows is damaged, where it is looked at or where it
    is read. Guarantee: it is quarantined, and the other one's rows go with the next run.
    """  # noqa: D205 - the guarantee needs two lines
    clock = Clock()
    store = open_store(settings=settings(checkout=HOUR_S), environment=clock.environment())
    for seed in range(2):
        store.store(mixed(seed))
        assert store.lake.flush()
    first = next(f for f in store.manifest()["files"] if f["table"] == SPANS)
    flip(store.path / "lake" / first["path"], -20 if part == "footer" else 3000)
    clock.now_s += 2 * HOUR_S
    store.lake.maintain()
    store.lake.maintain()
    assert store.telemetry.sums[t.LAKE_QUARANTINED.name,] == 1
    spans = [f for f in store.manifest()["files"] if f["table"] == SPANS]
    assert [f["rows"] for f in spans] == [ROWS * 3 // 4]
