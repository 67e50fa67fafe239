"""Requests in ``erase/`` for a running sidecar: all are answered, none holds up another."""

from __future__ import annotations

import fcntl
import itertools
from typing import TYPE_CHECKING

import pytest

from collector.model.errors import QueryError
from storage import live_erasure
from storage.erased import Erased
from storage.erasure import Condition, affected, find
from storage.live_data import LiveData
from storage.live_erasure import Answer, LiveErasure, LiveStore, ask, read_answer
from tests.storage.batches import make_batch

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from tests.storage.conftest import Opener
    from tests.storage.store import Store

ROWS = 20


def erasure_of(store: Store, failures: list[str]) -> LiveErasure:
    """Return what a sidecar with this store runs, without its thread."""
    stores = [LiveStore(store.path, store.lake, store.journal)]
    return LiveErasure(store.path, stores, lambda: failures.append("erasure"))


def ask_for(path: Path, where: str = "true") -> Path:
    """Ask for spans; return where the answer will be."""
    return ask(path, find([LiveData(path)], Condition(where=where)), no_grace=True)


def test_a_journalled_batch_of_which_nothing_stays(open_store: Opener) -> None:
    """Scenario: everything in the journal is erased. Guarantees: it is, and the next batch comes
    back after a restart as the only one.
    """  # noqa: D205 - the guarantee needs two lines
    store = open_store()
    store.journal.write(make_batch(ROWS, 1))  # waits for the sampler: not in the lake yet
    failures: list[str] = []
    answer = ask_for(store.path)
    erasure_of(store, failures).look()
    found = read_answer(answer)
    assert found == Answer(journalled_spans=ROWS, segments_rewritten=1)
    assert failures == []
    kept = make_batch(ROWS, 2)
    store.journal.write(kept)
    store.abandon()
    store = open_store()
    assert store.restored == ROWS
    assert store.lake.flush()
    assert set(store.span_ids()) == set(kept.column("span_id").to_pylist())


def test_a_request_is_gone_when_its_answer_is_read(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a sidecar is killed, or slow, between the answer and forgetting the request.

    Guarantees: whoever read the answer searches no file that holds what was erased, and the sidecar
    goes on.
    """
    store = open_store()
    store.store(make_batch(ROWS, 1))
    assert store.lake.flush()
    answer = ask_for(store.path)
    replace = live_erasure.replace_file
    left: list[Path] = []

    def replace_and_read(path: Path, content: bytes) -> None:
        replace(path, content)
        assert read_answer(path) is not None
        left.extend((store.path / "erase").iterdir())

    monkeypatch.setattr(live_erasure, "replace_file", replace_and_read)
    failures: list[str] = []
    erasure_of(store, failures).look()
    assert (left, failures, answer.exists()) == ([], [], False)


def test_a_request_that_fails_is_answered(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: the first of two requests meets a fault that nobody has thought of.

    Guarantees: it is answered with a problem and counted, and the second is done.
    """
    store = open_store()
    store.store(make_batch(ROWS, 1))
    assert store.lake.flush()
    answers = sorted([ask_for(store.path), ask_for(store.path)])
    seal, faults = store.journal.seal, [IndexError("a row")]

    def sealed() -> object:
        if faults:
            raise faults.pop()
        return seal()

    monkeypatch.setattr(store.journal, "seal", sealed)
    failures: list[str] = []
    erasure_of(store, failures).look()
    first, second = map(read_answer, answers)
    assert first is not None
    assert first.problems == ["the sidecar failed: IndexError"]
    assert second is not None
    assert (second.spans, second.problems) == (ROWS, [])
    assert failures == ["erasure"]


def test_whether_a_sidecar_is_there_is_told_by_its_lock(open_store: Opener) -> None:
    """Scenario: a sidecar in another container, whose process id means nothing here.

    Guarantees: it is there as long as it holds the lock, and looking takes it from nobody.
    """
    store = open_store()
    live = LiveData(store.path)
    assert live.is_served
    store.abandon()
    assert not live.is_served
    with (store.path / "LOCK").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert live.is_served


def test_files_that_are_replaced_while_they_are_looked_into(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: behind its listing of files a sidecar merges them all and deletes them at once.

    Guarantees: spans are found in what replaced them, and the files that would be rewritten; a file
    that is lost is an error.
    """
    store = open_store()
    for seed in range(5):
        store.store(make_batch(ROWS, seed))
        assert store.lake.flush()
    listed = LiveData.files_by_table

    def list_and_merge(self: LiveData) -> dict[str, list[Path]]:
        found = listed(self)
        store.lake.maintain()
        return found

    monkeypatch.setattr(LiveData, "files_by_table", list_and_merge)
    erased = find([LiveData(store.path)], Condition(where="true"))
    assert len(erased) == 5 * ROWS
    for seed in range(5):
        store.store(make_batch(ROWS, seed + 5))
        assert store.lake.flush()
    rows = affected(LiveData(store.path), erased)
    assert sum(count for path, count in rows.items() if path.startswith("spans/")) == 5 * ROWS
    listed(LiveData(store.path))["spans"][0].unlink()
    with pytest.raises(QueryError):
        find([LiveData(store.path)], Condition(where="true"))


def test_a_row_that_is_merged_while_files_are_looked_into_counts_once(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a sidecar merges all files and deletes them when half of them were looked into.

    Guarantee: what would be rewritten is named with its rows, and only that.
    """
    store = open_store()
    for seed in range(6):
        store.store(make_batch(ROWS, seed))
        assert store.lake.flush()
    erased = find([LiveData(store.path)], Condition(where="true"))
    hits, looked = Erased.hits, itertools.count(1)

    def hits_and_merge(self: Erased, rows: pa.Table) -> pa.ChunkedArray:
        if next(looked) == 3:
            store.lake.maintain()
        return hits(self, rows)

    monkeypatch.setattr(Erased, "hits", hits_and_merge)
    rows = affected(LiveData(store.path), erased)
    spans = {path: count for path, count in rows.items() if path.startswith("spans/")}
    assert sum(spans.values()) == 6 * ROWS
    assert all((store.path / "lake" / path).exists() for path in spans)
