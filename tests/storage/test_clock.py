"""A clock that is set back or ahead while the store runs: nothing lost, nothing removed early."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from config.exporters import RetentionSettings
from storage.environment import Environment
from storage.verify import verify
from tests.storage.batches import BASE_US, make_batch, start_at
from tests.storage.store import Store, ids_of, lake_settings

if TYPE_CHECKING:
    from pathlib import Path

    from collector.model.batch import SpanBatch

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
ROWS = 20


@dataclass
class Clock:
    """The time of day and the time that passes."""

    real_s: float = BASE_US / 1e6
    wrong_by_s: float = 0.0

    def environment(self) -> Environment:
        """Return what storage sees of it."""
        return Environment(lambda: self.real_s + self.wrong_by_s, lambda: self.real_s)

    def spans(self, seed: int) -> SpanBatch:
        """Return spans that start now, as senders with a right clock say, received by this one."""
        shown_us = int((self.real_s + self.wrong_by_s) * 1e6)
        return start_at(make_batch(ROWS, seed, shown_us), [int(self.real_s * 1e6)] * ROWS)


def open_store(path: Path, clock: Clock, max_age_s: float) -> Store:
    """Open a store that keeps spans for so long."""
    retention = RetentionSettings(max_age=max_age_s, max_bytes=0)
    return Store(path, lake_settings(retention=retention), clock.environment())


@pytest.mark.parametrize("back_s", [2 * HOUR_S, 3 * DAY_S, BASE_US / 1e6])
def test_a_clock_set_back_at_any_step(tmp_path: Path, back_s: float) -> None:
    """Scenario: the clock goes back by hours, by days, or to 1970, before a batch is journalled,
    between journal and flush, before maintenance, before a restart; it is set right afterwards.

    Guarantee: every span is stored once and stays as long as it is to be kept, and no longer.
    """  # noqa: D205 - the scenario needs two lines
    clock = Clock()
    store = open_store(tmp_path / "data", clock, DAY_S)
    batches = []

    def step(at: str, name: str) -> None:
        clock.real_s += 60
        clock.wrong_by_s = -back_s if at == name else 0.0

    for seed, at in enumerate(["never", "write", "flush", "maintain", "restart"]):
        step(at, "write")
        batches.append(store.store(clock.spans(seed)))
        step(at, "flush")
        assert store.lake.flush()
        step(at, "maintain")
        store.lake.maintain()
        step(at, "restart")
        store.abandon()
        store = open_store(tmp_path / "data", clock, DAY_S)
        store.lake.maintain()
        assert store.span_ids() == ids_of(*batches)
    clock.wrong_by_s = 0.0
    clock.real_s += DAY_S - HOUR_S
    store.abandon()
    store = open_store(tmp_path / "data", clock, DAY_S)
    store.lake.maintain()
    assert store.span_ids() == ids_of(*batches)
    clock.real_s += 2 * HOUR_S
    store.abandon()
    store = open_store(tmp_path / "data", clock, DAY_S)
    store.lake.maintain()
    clock.real_s += HOUR_S  # a start cannot tell that the clock is not two hours ahead
    store.lake.maintain()
    assert store.span_ids() == {}
    store.abandon()
    assert verify(tmp_path / "data").findings == []


def test_a_clock_set_ahead_deletes_nothing_at_once(tmp_path: Path) -> None:
    """Scenario: the clock is a year ahead for half an hour, right again, ahead again and so for
    good.

    Guarantee: nothing expires by a clock that was wrong; what lasts for an hour is believed.
    """  # noqa: D205 - the scenario needs two lines
    clock = Clock()
    store = open_store(tmp_path / "data", clock, DAY_S)
    batch = store.store(clock.spans(1))
    assert store.lake.flush()
    for wrong_by_s in (365 * DAY_S, 0.0, 365 * DAY_S):
        clock.wrong_by_s = wrong_by_s
        for _ in range(59):
            store.lake.maintain()
            assert store.span_ids() == ids_of(batch)
            clock.real_s += 30
    clock.real_s += HOUR_S
    store.lake.maintain()
    assert store.span_ids() == {}
    store.abandon()


def test_a_start_while_the_clock_is_ahead_deletes_nothing_at_once(tmp_path: Path) -> None:
    """Scenario: restarted when the clock is a month ahead, which lasts for half an hour.

    Guarantee: nothing expires.
    """
    clock = Clock()
    store = open_store(tmp_path / "data", clock, DAY_S)
    batch = store.store(clock.spans(1))
    assert store.lake.flush()
    store.abandon()
    clock.wrong_by_s = 30 * DAY_S
    store = open_store(tmp_path / "data", clock, DAY_S)
    for wrong_by_s in (30 * DAY_S, 0.0):
        clock.wrong_by_s = wrong_by_s
        store.lake.maintain()
        clock.real_s += HOUR_S / 2
        store.lake.maintain()
        assert store.span_ids() == ids_of(batch)
    store.abandon()


def test_a_bigger_step_ahead_has_an_hour_of_its_own(tmp_path: Path) -> None:
    """Scenario: the clock is two minutes ahead for 59 minutes, then more than a year.

    Guarantee: the year is believed an hour later, not a minute.
    """
    clock = Clock()
    store = open_store(tmp_path / "data", clock, DAY_S)
    batch = store.store(clock.spans(1))
    assert store.lake.flush()
    for wrong_by_s in [120.0] * 59 + [400 * DAY_S] * 60:
        clock.wrong_by_s = wrong_by_s
        clock.real_s += 60
        store.lake.maintain()
        assert store.span_ids() == ids_of(batch)
    clock.real_s += 60
    store.lake.maintain()
    assert store.span_ids() == {}
    store.abandon()


def test_hours_expire_by_a_clock_that_runs_right(tmp_path: Path) -> None:
    """Scenario: maintenance looks every minute, and the clock is slewed by a second each time.

    Guarantee: an hour goes when it is older than ``max_age``, not an hour later.
    """
    clock = Clock()
    store = open_store(tmp_path / "data", clock, 2 * HOUR_S)
    store.store(clock.spans(1))
    assert store.lake.flush()
    minutes = 0
    while store.span_ids():
        clock.real_s += 60
        clock.wrong_by_s += 1
        store.lake.maintain()
        minutes += 1
    # the hour 22:00 to 23:00, written at 22:13:20, is 2 hours old at 01:00
    assert clock.real_s + clock.wrong_by_s - BASE_US / 1e6 == pytest.approx(
        46 * 60 + 40 + 2 * HOUR_S, abs=61
    )
    store.abandon()
