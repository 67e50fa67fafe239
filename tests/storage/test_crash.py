"""kill -9 at any point loses no acknowledged span and stores none twice."""

from __future__ import annotations

import multiprocessing
import random
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from storage.environment import SYNC_POINTS
from tests.storage.crash_writer import (
    NEVER,
    Sync,
    Verdict,
    restart_and_judge,
    write_until_killed,
    wrong_rows,
)
from tests.storage.reader import queries

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.storage.crash_writer", "tests.storage.reader"])
KILLS = 200
HALVES: Final = (4, 5)
LONGEST_LIFE_S = 0.1
SYNCS: Final[tuple[Sync, ...]] = ("always", "interval", "off")


def run_and_kill(
    path: Path,
    first_seed: int,
    *,
    die_at: tuple[str, int] = NEVER,
    after_s: float | None = None,
    sync: Sync = "always",
) -> list[int]:
    """Run the writer until it dies, by itself or killed from here; return the seeds it acked."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(
        target=write_until_killed,
        args=(str(path), first_seed, sender, die_at, sync),
    )
    process.start()
    sender.close()
    killer = threading.Timer(after_s, process.kill) if after_s is not None else None
    acked = []
    try:
        while True:
            acked.append(receiver.recv())
            if killer and len(acked) == 1:
                killer.start()
    except EOFError:
        process.join()
    assert process.exitcode == -signal.SIGKILL
    return acked


@pytest.mark.parametrize("half", HALVES)
def test_random_kills_of_one_store(tmp_path: Path, half: int) -> None:
    """Scenario: 200 processes, 100 one after another in each of two directories, write, flush and
    compact and are killed at random moments, tail sampling holding half of the newest spans back,
    the journal syncing in each of its ways. Another process queries all the time.

    Guarantee: after every kill lost 0, stored twice 0, phantom 0; in the end wrong rows 0; no query
    failed, saw a span twice or fewer spans than the one before.
    """  # noqa: D205 - the scenario needs three lines
    kills, chance = KILLS // len(HALVES), random.Random(half)
    path = tmp_path / "data"
    acked: set[int] = set()
    started: set[int] = set()
    with ExitStack() as stack:
        for number in range(kills):
            seed = max(acked | started, default=0) + 1
            sync = SYNCS[number % len(SYNCS)]
            new = run_and_kill(path, seed, after_s=chance.uniform(0, LONGEST_LIFE_S), sync=sync)
            acked.update(new)
            started.add(max(new) + 1)
            verdict = restart_and_judge(path, acked, started)
            assert (verdict.lost, verdict.twice, verdict.phantom) == (0, 0, 0)
            if number == 0:
                reader = stack.enter_context(queries(CONTEXT, path))
    print(f"\n{len(acked)} batches, {verdict.stored} spans, {reader.queries} queries")
    assert reader.problems == ()
    assert reader.queries > kills
    assert verdict.stored >= len(acked) * 24
    assert wrong_rows(path, acked | started) == 0


@pytest.mark.parametrize("point", SYNC_POINTS)
def test_death_at_every_sync_point(tmp_path: Path, point: str) -> None:
    """Scenario: the process dies the second and the fourth time it reaches a sync point.

    Guarantee: as above, and every sync point is really passed.
    """
    acked: set[int] = set()
    started: set[int] = set()
    for nth in (2, 4):
        seed = max(acked | started, default=0) + 1
        new = run_and_kill(tmp_path / "data", seed, die_at=(point, nth))
        acked.update(new)
        started.add(max([seed - 1, *new]) + 1)
        verdict = restart_and_judge(tmp_path / "data", acked, started)
        assert verdict == Verdict(0, 0, 0, verdict.stored)
