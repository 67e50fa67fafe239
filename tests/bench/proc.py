"""Facts about a process from /proc, and about this machine."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_VERSIONS: Final = ("clearspan", "pyarrow", "grpcio", "ptars", "hyperscan", "duckdb")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the figures come from."""

    cpu: str
    cores: int
    python: str
    kernel: str
    versions: dict[str, str]


def cpu_seconds(pid: int) -> float:
    """Return user plus system CPU of the process: all its threads and its live children.

    Resolution is one kernel tick, 10 ms.
    """
    # after the command in parentheses, which may hold spaces: fields 14 and 15 are the 12th and
    # 13th (proc_pid_stat(5))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return own + sum(cpu_seconds(child) for child in _children(pid))


def peak_rss_bytes(pid: int) -> int:
    """Return the most resident memory the process ever had (VmHWM); children are not counted."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no VmHWM: the process has ended")


def machine() -> Machine:
    """Return CPU model, cores, interpreter, kernel and the versions that matter."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return Machine(
        models[0] if models else platform.machine(),
        len(os.sched_getaffinity(0)),
        platform.python_version(),
        platform.release(),
        {name: _version(name) for name in _VERSIONS},
    )


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except OSError:  # a thread or the process ended meanwhile
        return []


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
