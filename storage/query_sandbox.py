"""What the operating system takes from a query process, whatever SQL gets past the guard.

Landlock (Linux 5.13; no privileges needed) leaves it no file to write, no program to start, no port
and no process to signal; where a kernel lacks it, or some of it, the resource limits and DuckDB's
own settings remain. https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

# A query gets what the sidecar leaves: beside hostile ones the slowest acknowledgements took 1.6
# times as long as without at 10, and 1.4 times at 19.
_NICER_BY: Final = 19
_FIRST_TO_GO: Final = "1000"  # proc_pid_oom_score_adj(5)

# linux/landlock.h; the system calls have these numbers on every architecture
_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
_VERSION: Final = 1
_NO_NEW_PRIVILEGES: Final = 38  # linux/prctl.h
# Execute, write, remove, make: all but reading files (1 << 2) and directories (1 << 3).
_FS_FIRST: Final = 0b1_1111_1111_0011
_FS_SINCE: Final = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # link across directories, truncate, ioctl
_TCP_SINCE: Final = 4
_TCP: Final = 0b11  # bind, connect
_SCOPES_SINCE: Final = 6
_SCOPES: Final = 0b11  # abstract Unix sockets, signals


class _Ruleset(ctypes.Structure):
    """What a set of rules is about: without a rule that allows it, all of it is forbidden."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


def confine_process() -> None:
    """Give up what a query never needs, for good; call it while there is one thread.

    Open files, pipes among them, stay as they are.
    """
    os.nice(_NICER_BY)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    forbid_writing()


def forbid_writing() -> bool:
    """Apply what Landlock the kernel has to this thread and those it makes; False for none."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    rules = _Ruleset(
        _FS_FIRST | sum(bit for since, bit in _FS_SINCE.items() if version >= since),
        _TCP if version >= _TCP_SINCE else 0,
        _SCOPES if version >= _SCOPES_SINCE else 0,
    )
    # an older kernel takes the larger structure as long as what it does not know is 0
    ruleset = libc.syscall(
        _CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), 0
    )
    if ruleset < 0:
        return False
    try:
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def limit_data(most_bytes: int) -> None:
    """Let allocations fail that would make this process's data, as ``data_bytes``, larger."""
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))


def data_bytes() -> int:
    """Return how much private memory this process has, used or only reserved."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmData:")[2].split()[0]) * 1024
