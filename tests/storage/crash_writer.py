"""A process that writes to a store until it is killed, and the judge of what it leaves.

Importable by name, because the test starts it through a fork server.
"""

from __future__ import annotations

import os
import signal
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collector.model.schema import SPAN_ID
from config.exporters import JournalSettings
from storage.environment import Environment
from tests.storage.batches import make_batch
from tests.storage.store import Store, lake_settings, read_table

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from collector.model.batch import SpanBatch

ROWS = 24
MOST_BATCHES = 2000
_HELD_BATCHES = 3


def write_until_killed(path: str, first_seed: int, acks: Connection, die_at: str, nth: int) -> None:
    """Write batches made of seeds, sending each seed after its acknowledgement.

    As with tail sampling, every second trace of a batch is settled three batches later. Flushes
    and compacts all the time. At the ``nth`` reaching of the sync point ``die_at``: SIGKILL.
    """
    reached: Counter[str] = Counter()

    def maybe_die(point: str) -> None:
        reached[point] += 1
        if point == die_at and reached[point] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = lake_settings(journal=JournalSettings(segment_bytes=40_000))
    store = Store(Path(path), settings, Environment(reached=maybe_die))
    held: deque[SpanBatch] = deque()
    for seed in range(first_seed, first_seed + MOST_BATCHES):
        batch = store.journal.write(make_batch(ROWS, seed))
        acks.send(seed)
        is_held = np.arange(ROWS) % 2 == 0
        held.append(batch.keep(is_held))
        store.lake.append(batch.keep(~is_held), store.journal.last_seq - len(held))
        if len(held) > _HELD_BATCHES:
            store.lake.append(held.popleft(), store.journal.last_seq - len(held))
        if seed % 2:
            store.lake.flush()
        if seed % 8 == 0:
            store.lake.maintain()


@dataclass(frozen=True)
class Verdict:
    """What a crash did: acknowledged spans absent, spans stored twice, spans never sent."""

    lost: int
    twice: int
    phantom: int
    stored: int


def restart_and_judge(path: Path, acked: set[int], last_started: set[int]) -> Verdict:
    """Start as the next process would, finish what is pending, and compare with what was sent.

    ``last_started`` are seeds that may have been written but whose acknowledgement died.
    """
    store = Store(path, lake_settings())
    assert store.lake.flush()
    store.lake.maintain()
    store.abandon()
    stored = Counter(read_table(path).column(SPAN_ID).to_pylist())
    sent = {seed: _ids(seed) for seed in acked | last_started}
    expected = set().union(*(sent[seed] for seed in acked)) if acked else set()
    possible = set().union(*sent.values()) if sent else set()
    return Verdict(
        lost=len(expected - stored.keys()),
        twice=sum(count > 1 for count in stored.values()),
        phantom=len(stored.keys() - possible),
        stored=len(stored),
    )


_known: dict[int, set[bytes]] = {}


def _ids(seed: int) -> set[bytes]:
    if seed not in _known:
        _known[seed] = set(make_batch(ROWS, seed).table.column(SPAN_ID).to_pylist())
    return _known[seed]
