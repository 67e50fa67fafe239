"""The search that a receipt of an erasure rests on, while a sidecar writes."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import byte_search
from storage.byte_search import search
from storage.files import DirectoryLock, is_locked, walk_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
def owner(tmp_path: Path) -> Iterator[DirectoryLock]:
    """Give what a running sidecar holds."""
    lock = DirectoryLock(tmp_path)
    yield lock
    lock.close()


@pytest.fixture
def half(owner: DirectoryLock, tmp_path: Path) -> Path:
    """Give a file of a lake that is half written, in a directory that is in use."""
    assert is_locked(tmp_path), owner
    staging = tmp_path / "lake" / "staging"
    staging.mkdir(parents=True)
    (tmp_path / "lake" / "spans").mkdir()
    path = staging / "f0bc9cfa79714e5e.parquet"
    content = parquet()
    path.write_bytes(content[: len(content) // 2])
    return path


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


def test_a_search_ends_though_there_is_always_a_file_that_is_being_written(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a sidecar begins the next file before it moves the last one to its place.

    Guarantees: what was begun before the search is searched where it is then; nothing is called
    damaged, and the search does not go on until a minute is over.
    """
    content = parquet()
    begun = [half]

    def begin_and_place(_: float) -> None:
        assert len(begun) < 20, "it waits for ever"
        number = len(begun)
        begun.append(half.with_name(f"{number:016x}.parquet"))
        begun[-1].write_bytes(content[: len(content) // 2])
        begun[-2].write_bytes(content)
        begun[-2].rename(tmp_path / "lake" / "spans" / f"{number:012d}-00000000.parquet")

    monkeypatch.setattr(byte_search.time, "sleep", begin_and_place)
    found = search(tmp_path, [NEEDLE])
    placed = tmp_path / "lake" / "spans" / "000000000001-00000000.parquet"
    assert (found.hits, found.damaged) == ((placed,), ())


def test_a_file_that_moves_while_directories_are_listed_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a file goes to a directory that was listed from one that was not listed yet.

    Guarantee: it is searched.
    """
    staged, placed = tmp_path / "lake" / "staging" / "a", tmp_path / "lake" / "spans" / "b"
    for path in (staged, placed):
        path.parent.mkdir(parents=True)
    staged.write_bytes(NEEDLE)

    def walk(_: Path, on_unreadable: Callable[[Path], None]) -> Iterator[Path]:
        listed = [*walk_files(placed.parent, on_unreadable)]
        if staged.exists():
            staged.rename(placed)
        yield from listed
        yield from walk_files(staged.parent, on_unreadable)

    monkeypatch.setattr(byte_search, "walk_files", walk)
    assert search(tmp_path, [NEEDLE]).hits == (placed,)


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: a file and a directory may not be read, nor may what fsck keeps on a volume.

    Guarantees: the first two are named and all else is searched; the third is nobody's concern.
    """
    for name in ("closed", "lost+found", "open"):
        (tmp_path / name).mkdir()
    for path in (tmp_path / "secret", tmp_path / "open" / "text"):
        path.write_bytes(NEEDLE)

    def walk(directory: Path, on_unreadable: Callable[[Path], None]) -> Iterator[Path]:
        on_unreadable(directory / "closed")
        on_unreadable(directory / "lost+found")
        yield from walk_files(directory, on_unreadable)

    def read(path: Path) -> bytes:
        if path.name == "secret":
            raise PermissionError(13, "Permission denied")
        with path.open("rb") as file:
            return file.read()

    monkeypatch.setattr(byte_search, "walk_files", walk)
    monkeypatch.setattr("pathlib.Path.read_bytes", read)
    found = search(tmp_path, [NEEDLE])
    assert found.unreadable == (tmp_path / "closed", tmp_path / "secret")
    assert found.hits == (tmp_path / "open" / "text",)


def test_a_directory_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: below a directory one may not be listed and one is gone by then.

    Guarantees: the first is told, and the files of the others are there.
    """
    for name in ("closed", "gone", "open"):
        (tmp_path / name).mkdir()
    (tmp_path / "open" / "file").touch()
    scandir = os.scandir

    def scan(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        if path.endswith("gone"):
            Path(path).rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    closed: list[Path] = []
    assert list(walk_files(tmp_path, closed.append)) == [tmp_path / "open" / "file"]
    assert closed == [tmp_path / "closed"]


def test_a_half_written_file_that_nobody_finishes_is_damaged(
    half: Path, owner: DirectoryLock, tmp_path: Path
) -> None:
    """Scenario: the process that was writing a file is gone.

    Guarantees: the file is said to be damaged, its bytes are counted, and other files searched.
    """
    (tmp_path / "text").write_bytes(b"to " + NEEDLE.upper())
    owner.close()
    found = search(tmp_path, [NEEDLE], ignore_case=True)
    assert found.damaged == (half,)
    assert tmp_path / "text" in found.hits
    assert (found.files, found.bytes > half.stat().st_size) == (3, True)


def test_a_file_that_is_not_finished_in_time_is_damaged(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a sidecar that does not go on with what it writes.

    Guarantees: it is waited for, and not read again meanwhile; then it is said to be damaged.
    """
    monkeypatch.setattr(byte_search, "_LONGEST_WAIT_S", 0.3)
    reads: list[Path] = []
    contents = byte_search._contents

    def counted(path: Path) -> Iterator[bytes]:
        reads.append(path)
        return contents(path)

    monkeypatch.setattr(byte_search, "_contents", counted)
    assert search(tmp_path, [NEEDLE]).damaged == (half,)
    assert reads.count(half) == 2


def test_a_file_that_is_moved_when_it_is_no_longer_waited_for(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a file is finished and moved just after it was found half written, too late.

    Guarantee: it is searched where it is then, and not called damaged.
    """
    placed = tmp_path / "lake" / "spans" / "000000000001-00000000.parquet"

    def place(_: Path) -> bool:
        placed.write_bytes(parquet())
        half.unlink()
        return True

    monkeypatch.setattr(byte_search, "_LONGEST_WAIT_S", -1.0)
    monkeypatch.setattr(byte_search, "_is_being_written", place)
    found = search(tmp_path, [NEEDLE])
    assert (found.hits, found.damaged) == ((placed,), ())


def test_what_moves_late_is_followed_and_what_never_stays_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a large lake, in which a file moves when nothing would be waited for any more; one
    that moves before each look.

    Guarantees: the first is searched; of the second it is said that it was not.
    """  # noqa: D205 - the scenario needs two lines
    monkeypatch.setattr(byte_search, "_LONGEST_WAIT_S", 0.0)
    (tmp_path / "large").write_bytes(b"nothing")
    (tmp_path / "small").write_bytes(NEEDLE)
    contents = byte_search._contents

    def move(path: Path) -> Iterator[bytes]:
        if path.name == "large":
            (tmp_path / "small").rename(tmp_path / "another")
        return contents(path)

    monkeypatch.setattr(byte_search, "_contents", move)
    assert search(tmp_path, [NEEDLE]).hits == (tmp_path / "another",)
    lists = iter(range(1000))

    def walk(directory: Path, _: object) -> Iterator[Path]:
        return iter([directory / str(next(lists))])

    monkeypatch.setattr(byte_search, "walk_files", walk)
    assert search(tmp_path, [NEEDLE]).unreadable
    assert next(lists) < 200


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    """Scenario: a pipe that nobody writes to. Guarantee: it is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_bytes(NEEDLE)
    found = search(tmp_path, [NEEDLE])
    assert (found.files, found.hits, found.unreadable) == (1, (tmp_path / "text",), ())


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
