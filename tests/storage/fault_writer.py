"""Work whose system calls are made to fail one by one: a store's life, a rewrite, a backup.

Everything that is refused is tried again: a fault that is over must not be felt any more.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from collector.model.errors import ClearspanError
from config.exporters import CompactionSettings, JournalSettings
from storage.backup import backup
from tests.storage.batches import make_batch
from tests.storage.rewriting import rewrite_all
from tests.storage.store import Store, lake_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

ROWS: Final = 24
STORED: Final = (1, 2, 3, 4)
_TRIES: Final = 4
_SETTINGS: Final = lake_settings(
    journal=JournalSettings(segment_bytes=20_000), compaction=CompactionSettings(min_files=2)
)
Answer = TypeVar("Answer")


def nothing(_path: Path) -> None:
    """Prepare nothing."""


def life(path: Path) -> None:
    """Open a store, write, flush, compact, unlink, close."""
    store = _again(lambda: Store(path, _SETTINGS))
    for seed in STORED:
        _again(lambda: store.store(make_batch(ROWS, seed)))  # noqa: B023 - called at once
        if seed > 1:
            _until_true(store.lake.flush)
        store.lake.maintain()
    store.lake.maintain()
    store.abandon()


def stored(path: Path) -> None:
    """Leave three batches in the lake and one in the journal."""
    store = Store(path, _SETTINGS)
    for seed in STORED:
        store.store(make_batch(ROWS, seed))
        if seed < STORED[-1]:
            assert store.lake.flush()
    store.abandon()


def rewritten(path: Path) -> None:
    """Rewrite all of it."""
    _again(lambda: rewrite_all(path))


def backed_up(path: Path) -> None:
    """Copy it to the directory ``copy`` beside it."""
    _again(lambda: backup(path, path.with_name("copy"), update=path.with_name("copy").exists()))


WORK: Final[dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]]] = {
    "life": (nothing, life),
    "rewrite": (stored, rewritten),
    "backup": (stored, backed_up),
}


def serve(wire: Connection) -> None:
    """Do one work after another, each in a process forked from this one, until there is no more.

    Takes a work's name and its directory, sends the process's id when it is ready, waits for a
    word, and sends its exit code.
    """
    while (task := wire.recv()) is not None:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _run(*task, wire)
                code = 0
            except BaseException:  # noqa: BLE001 - a forked process must never go on as its parent
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        wire.send(os.waitstatus_to_exitcode(status))


def _run(name: str, path: str, wire: Connection) -> None:
    """Do the work in ``warm``, so that all code is loaded, then, when told to, in ``data``."""
    prepare, work = WORK[name]
    for place in (Path(path) / "warm", Path(path) / "data"):
        place.mkdir()
        prepare(place / "lake")
        if place.name == "data":
            wire.send(os.getpid())
            wire.recv()
        work(place / "lake")


def _again(work: Callable[[], Answer]) -> Answer:
    for _ in range(_TRIES):
        try:
            return work()
        except ClearspanError:
            continue
    return work()


def _until_true(work: Callable[[], bool]) -> None:
    assert any(work() for _ in range(_TRIES))
