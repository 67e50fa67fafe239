"""Every system call with which storage changes the disk fails once; nothing is lost by it.

strace lets real calls of a real process fail (``inject``). Which ones there are is taken from a
run that is only watched, so a write that is new is made to fail as well.
"""

from __future__ import annotations

import multiprocessing
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Queue
from typing import TYPE_CHECKING, Final

import pytest

from storage.verify import verify
from tests.storage import fault_writer
from tests.storage.crash_writer import Verdict, restart_and_judge
from tests.storage.rewriting import rewrite_all
from tests.storage.store import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

LANES: Final = 4
# What changes the disk, or makes it last; openat only where it creates.
CALLS: Final = (
    "write", "pwrite64", "pwritev2", "openat", "fsync", "fdatasync", "ftruncate", "mkdir",
    "rename", "renameat2", "link", "unlink", "rmdir",
)  # fmt: skip
CALL: Final = re.compile(r"\d+ +(\w+)\((.*)")
RANDOM: Final = re.compile(r"[0-9a-f]{8,16}|\d+")
SEEDS: Final = set(fault_writer.STORED)


@dataclass(frozen=True)
class Point:
    """The ``nth`` call of its kind, and what it did in the run that was watched."""

    call: str
    nth: int
    what: str


@pytest.fixture(scope="module")
def lanes() -> Iterator[Queue[Connection]]:
    """Return wires to processes that work side by side."""
    context = multiprocessing.get_context("spawn")
    idle: Queue[Connection] = Queue()
    processes = []
    for _ in range(LANES):
        here, there = context.Pipe()
        process = context.Process(target=fault_writer.serve, args=(there,))
        process.start()
        there.close()
        processes.append(process)
        idle.put(here)
    yield idle
    for _ in processes:
        idle.get().send(None)
    for process in processes:
        process.join()


def _run(lanes: Queue[Connection], work: str, path: Path, *options: str) -> int:
    """Do the work in a process under strace; return its exit code."""
    path.mkdir()
    wire = lanes.get()
    wire.send((work, str(path)))
    command = ["strace", "-f", "-y", "-p", str(wire.recv()), "-o", str(path / "trace"), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        wire.send("go")
        code = int(wire.recv())
    lanes.put(wire)
    return code


def _faults(lanes: Queue[Connection], work: str, path: Path) -> list[tuple[Point, str]]:
    """Return what shall fail: of calls of a kind on files of a kind, the first and the last.

    Kinds of files are told by their names without numbers and random parts.
    """
    assert _run(lanes, work, path, "-e", f"trace={','.join(CALLS)}") == 0
    counts: Counter[str] = Counter()
    by_kind: defaultdict[tuple[str, str], list[Point]] = defaultdict(list)
    for line in (path / "trace").read_text().splitlines():
        if (match := CALL.match(line)) is None:
            continue
        call, arguments = match.groups()
        counts[call] += 1
        if f"{path}/" in arguments and (call != "openat" or "O_CREAT" in arguments):
            what = arguments.replace(str(path), "")
            file = RANDOM.sub("#", re.findall(r"[<\"](/[^<>\"]*)[>\"]", what)[0])
            by_kind[call, file].append(Point(call, counts[call], what[:90]))
    return [
        (point, error)
        for points in by_kind.values()
        for point, error in ((points[0], "EIO"), (points[-1], "ENOSPC"))
    ]


def _judge(work: str, path: Path) -> str:
    """Return what is wrong with what is left, empty when nothing is."""
    lake = path / "data" / "lake"
    problems = [str(one) for one in verify(lake).findings if one.level == "error"]
    if work == "rewrite":
        rewrite_all(lake)
        rows = read_table(lake)
        odd = [one for one in rows.column("trace_id").to_pylist() if one[-1] % 2]
        return f"{problems} {odd}" if problems or odd or rows.num_rows == 0 else ""
    verdicts = [restart_and_judge(lake, SEEDS, set())]
    if work == "backup":
        problems += [str(one) for one in verify(lake.with_name("copy")).findings]
        verdicts.append(restart_and_judge(lake.with_name("copy"), SEEDS, set()))
    sound = Verdict(0, 0, 0, len(SEEDS) * fault_writer.ROWS)
    wrong = [one for one in verdicts if one != sound]
    return f"{problems} {wrong}" if problems or wrong else ""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.timeout(400)
@pytest.mark.parametrize("work", fault_writer.WORK)
def test_every_write_fails_once(tmp_path: Path, lanes: Queue[Connection], work: str) -> None:
    """Scenario: a store's life, a rewrite, a backup; each call that changes the disk fails once,
    with EIO or with ENOSPC, and then all is well again.

    Guarantees: the work goes on by itself or when it is done again; lost 0, twice 0, phantom 0,
    and no file is wrong.
    """  # noqa: D205 - the scenario needs two lines
    faults = _faults(lanes, work, tmp_path / "watched")
    assert len(faults) > 40
    assert {point.call for point, _ in faults} >= {"write", "openat", "fsync", "rename"}

    def fail(case: tuple[int, Point, str]) -> str:
        number, point, error = case
        path = tmp_path / f"{number}"
        inject = f"inject={point.call}:error={error}:when={point.nth}"
        code = _run(lanes, work, path, "-e", f"trace={point.call}", "-e", inject)
        is_hit = "(INJECTED)" in (path / "trace").read_text()
        problem = f"it ended with {code}" if code else "" if is_hit else "nothing failed"
        problem = problem or _judge(work, path)
        shutil.rmtree(path)
        return f"{error} {point}: {problem}" if problem else ""

    cases = [(number, *fault) for number, fault in enumerate(faults)]
    with ThreadPoolExecutor(LANES) as threads:
        failed = [one for one in threads.map(fail, cases) if one]
    print(f"\n{work}: {len(cases)} faults")
    assert not failed, "\n".join(failed)
