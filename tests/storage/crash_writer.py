"""A process that writes to a store until it is killed, and the judge of what it leaves.

Importable by name, because the test starts it through a fork server.
"""

from __future__ import annotations

import os
import signal
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model.schema import BATCH_SEQ, SOURCE_ID, SPAN_ID
from config.exporters import JournalSettings
from storage.environment import Environment
from tests.storage.batches import make_batch
from tests.storage.store import Store, lake_settings, read_table

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from collector.model.batch import SpanBatch

Sync = Literal["always", "interval", "off"]
NEVER = ("", 0)
ROWS = 24
MOST_BATCHES = 2000
_HELD_BATCHES = 3


# Nobody's query takes longer here.
GRACE_S = 3.0


def write_until_killed(
    path: str, first_seed: int, acks: Connection, die_at: tuple[str, int], sync: Sync
) -> None:
    """Write batches made of seeds, sending each seed after its acknowledgement.

    As with tail sampling, every second trace of a batch is settled three batches later. Flushes
    and compacts all the time. At the nth reaching of a sync point, as ``die_at`` says: SIGKILL.
    """
    reached: Counter[str] = Counter()

    def maybe_die(point: str) -> None:
        reached[point] += 1
        if (point, reached[point]) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = lake_settings(
        journal=JournalSettings(segment_bytes=40_000, sync=sync),
        # what waits for its unlinking shows at the sync point only if it need not wait
        unlink_grace=0.0 if die_at != NEVER else GRACE_S,
    )
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
    store = Store(path, lake_settings(unlink_grace=GRACE_S))
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


def wrong_rows(path: Path, seeds: set[int]) -> int:
    """Count the stored rows that are not, in every column, what some batch of these seeds has."""
    stored = read_table(path)
    sent = pa.concat_tables([make_batch(ROWS, seed).table for seed in seeds])
    # where a batch came through and whether it was kept is told to it on the way
    columns = [one for one in stored.column_names if one not in {SOURCE_ID, BATCH_SEQ}]
    stored = stored.select(columns).sort_by(SPAN_ID)
    is_stored = pc.is_in(sent.column(SPAN_ID), value_set=stored.column(SPAN_ID))
    sent = sent.filter(is_stored).select(columns).sort_by(SPAN_ID)
    if stored.num_rows != sent.num_rows:
        return abs(stored.num_rows - sent.num_rows)
    differing = [
        column
        for column in columns
        if stored.column(column).to_pylist() != sent.column(column).to_pylist()
    ]
    return len(differing)


_known: dict[int, set[bytes]] = {}


def _ids(seed: int) -> set[bytes]:
    if seed not in _known:
        _known[seed] = set(make_batch(ROWS, seed).table.column(SPAN_ID).to_pylist())
    return _known[seed]
