"""The search that a receipt of an erasure rests on, while a sidecar writes."""

from __future__ import annotations

import fcntl
import threading
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import byte_search
from storage.byte_search import search
from storage.files import DirectoryLock, is_locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEEDLE = b"jane.doe@example.com"


def parquet() -> bytes:
    """Return a file that holds the needle."""
    sink = pa.BufferOutputStream()
    text = NEEDLE.decode()
    table = pa.table({"text": [f"{text} was number {number}" for number in range(50_000)]})
    pq.write_table(table, sink, compression="zstd", use_dictionary=False)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.fixture
def half(tmp_path: Path) -> Iterator[Path]:
    """Give a file of a lake that is half written, in a directory that is in use."""
    staging = tmp_path / "lake" / "staging"
    staging.mkdir(parents=True)
    (tmp_path / "lake" / "spans").mkdir()
    owner = DirectoryLock(tmp_path)
    path = staging / "f0bc9cfa79714e5e.parquet"
    content = parquet()
    path.write_bytes(content[: len(content) // 2])
    yield path
    owner.close()


def test_a_file_that_is_being_written_is_searched_when_it_is_in_the_lake(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: the search meets a file that a sidecar is writing, which then goes to its place.

    Guarantees: it is not called damaged, and what it holds is found where it is then.
    """
    placed = tmp_path / "lake" / "spans" / "000000000001-00000000.parquet"
    has_waited = threading.Event()

    def place() -> None:
        assert has_waited.wait(60)
        placed.write_bytes(parquet())
        half.unlink()

    monkeypatch.setattr(byte_search.time, "sleep", lambda _: has_waited.set())
    writer = threading.Thread(target=place)
    writer.start()
    found = search(tmp_path, [NEEDLE])
    writer.join()
    assert (found.hits, found.damaged) == ((placed,), ())


def test_a_half_written_file_that_nobody_finishes_is_damaged(half: Path, tmp_path: Path) -> None:
    """Scenario: the process that was writing a file is gone.

    Guarantees: the file is said to be damaged, its bytes are counted, and other files searched.
    """
    owner = DirectoryLock(tmp_path / "other")
    half.rename(tmp_path / "elsewhere.parquet")
    (tmp_path / "other" / "text").write_bytes(b"to " + NEEDLE.upper())
    found = search(tmp_path, [NEEDLE], ignore_case=True)
    assert found.damaged == (tmp_path / "elsewhere.parquet",)
    assert tmp_path / "other" / "text" in found.hits
    assert (found.files, found.bytes > 1000) == (4, True)
    owner.close()
    assert not is_locked(tmp_path / "other")
    assert is_locked(tmp_path)


def test_who_asks_whether_a_directory_is_in_use_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a sidecar starts while a command looks whether one is there.

    Guarantee: it gets the directory.
    """
    DirectoryLock(tmp_path).close()
    file = (tmp_path / "LOCK").open("rb")
    fcntl.flock(file, fcntl.LOCK_SH)
    monkeypatch.setattr("storage.files.time.sleep", lambda _: file.close())
    owner = DirectoryLock(tmp_path)
    assert is_locked(tmp_path)
    owner.close()
