"""kill -9 at any point loses no acknowledged span and stores none twice."""

from __future__ import annotations

import multiprocessing
import random
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from storage.environment import SYNC_POINTS
from tests.storage.crash_writer import Verdict, restart_and_judge, write_until_killed

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.storage.crash_writer"])
NEVER = ""


def run_and_kill(
    path: Path,
    first_seed: int,
    *,
    die_at: str = NEVER,
    nth: int = 1,
    after_s: float | None = None,
) -> list[int]:
    """Run the writer until it dies, by itself or killed from here; return the seeds it acked."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(
        target=write_until_killed,
        args=(str(path), first_seed, sender, die_at, nth),
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


@pytest.mark.timeout(120)
def test_random_kills_of_one_store(tmp_path: Path) -> None:
    """Scenario: 30 processes one after another write, flush and compact in the same directory
    and are killed at random moments, tail sampling holding half of the newest spans back.

    Guarantee: after every kill, lost 0, stored twice 0, phantom 0.
    """  # noqa: D205 - the scenario needs two lines
    chance = random.Random(4)
    acked: set[int] = set()
    started: set[int] = set()
    for _ in range(30):
        seed = max(acked | started, default=0) + 1
        new = run_and_kill(tmp_path / "data", seed, after_s=chance.uniform(0, 0.25))
        acked.update(new)
        started.add(max(new) + 1)
        verdict = restart_and_judge(tmp_path / "data", acked, started)
        assert (verdict.lost, verdict.twice, verdict.phantom) == (0, 0, 0)
    assert verdict.stored >= len(acked) * 24


@pytest.mark.parametrize("point", SYNC_POINTS)
def test_death_at_every_sync_point(tmp_path: Path, point: str) -> None:
    """Scenario: the process dies the second and the fourth time it reaches a sync point.

    Guarantee: as above, and every sync point is really passed.
    """
    acked: set[int] = set()
    started: set[int] = set()
    for nth in (2, 4):
        seed = max(acked | started, default=0) + 1
        new = run_and_kill(tmp_path / "data", seed, die_at=point, nth=nth)
        acked.update(new)
        started.add(max([seed - 1, *new]) + 1)
        verdict = restart_and_judge(tmp_path / "data", acked, started)
        assert verdict == Verdict(0, 0, 0, verdict.stored)
