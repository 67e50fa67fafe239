"""A process that writes to a real lake, for queries in another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.sql.rows import shop
from tests.storage.store import Store, lake_settings

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from collector.model.batch import SpanBatch


def write_once(data: Path, *batches: SpanBatch) -> None:
    """Take batches (the shop's spans) the whole way through journal and lake, and close both."""
    store = Store(data)
    for batch in batches or [shop()]:
        store.store(batch)
    store.lake.close()
    store.journal.close()


def write_until(data: str, first: Event, stop: Event) -> None:
    """Append, flush and compact until ``stop``; ``first`` is set after the first commit."""
    store = Store(Path(data), lake_settings(unlink_grace=60.0))
    flushes = 0
    while not stop.is_set():
        store.store(shop())
        store.lake.flush()
        first.set()
        flushes += 1
        if flushes % 5 == 0:
            store.lake.maintain()
    store.lake.close()
    store.journal.close()
