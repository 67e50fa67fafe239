"""SIGKILL at random moments under load: what was acknowledged is stored, once."""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.otlp_client import NUMBERED_SQL, Load, Verdict
from tests.e2e.sidecar import Sidecar

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("CLEARSPAN_KILLS", "50"))
# Sidecars killed side by side: starting is most of a cycle, and is one core's work.
LANES = 2
LONGEST_LIFE_S = 1.2
# Small enough that most lives see rotation, flush, commit and compaction.
BUSY = (
    "exporters.lake.flush_interval=200ms",
    "exporters.lake.journal.segment_bytes=256KiB",
    "exporters.lake.compaction.interval=500ms",
    "exporters.lake.compaction.min_files=2",
    "exporters.lake.unlink_grace=1s",
    "service.pipelines.traces.processors=[redaction]",
)


@pytest.mark.timeout(400)
def test_sigkill_loses_nothing_and_stores_nothing_twice(
    tmp_path: Path,
    shared_cache: Path,
) -> None:
    """Scenario: sidecars under load are killed, some before they are ready, and started again.

    A client never repeats a batch, so that a second copy is the sidecar's doing.
    Guarantees: acked but absent 0, stored twice 0, stored but never sent 0.
    """
    begun = time.monotonic()
    seed = random.randrange(2**32)
    with ThreadPoolExecutor(LANES) as lanes:
        running = [
            lanes.submit(
                _lane,
                tmp_path / f"lane-{lane}",
                shared_cache,
                KILLS // LANES + (lane < KILLS % LANES),
                random.Random(seed + lane),
            )
            for lane in range(LANES)
        ]
        verdicts = [lane.result() for lane in running]
    print(f"\n{KILLS} kills in {time.monotonic() - begun:.0f} s, seed {seed}")
    for verdict in verdicts:
        print(verdict)
    for verdict in verdicts:
        assert (verdict.lost, verdict.twice, verdict.phantom) == (0, 0, 0), f"seed {seed}"
        assert verdict.acked > KILLS


def _lane(root: Path, cache: Path, kills: int, chance: random.Random) -> Verdict:
    with Sidecar(root, *BUSY, cache_dir=cache) as sidecar:
        with Load(sidecar.grpc_endpoint) as load:
            for number in range(kills):
                acked = len(load.ledger.acked)
                if number % 10 != 9:  # every tenth is killed wherever its start has got to
                    sidecar.await_ready()
                    load.await_that(lambda ledger, before=acked: len(ledger.acked) > before)
                # The moment of the kill is the point: there is no event to wait for.
                threading.Event().wait(chance.uniform(0, LONGEST_LIFE_S))
                sidecar.sigkill()
                sidecar.start(await_ready=False)
            sidecar.await_ready()
        assert sidecar.sigterm() == 0, sidecar.log[-4000:]
        return load.ledger.compare(sidecar.query(NUMBERED_SQL))
