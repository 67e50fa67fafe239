"""How the process allocates: chosen for the memory of a sidecar, by measurement.

10,000 spans a second, 8 MiB a flush: with mimalloc, Arrow's default, the process keeps all that a
flush needed for a moment; with glibc and an arena for each thread it peaks at 294 to 301 MB; with
three arenas at 284 to 287 MB, for the same CPU. Handing memory back after every flush is not
worth it: it takes a quarter of the process's CPU (page faults), so that happens when idle.
"""

from __future__ import annotations

import ctypes
from typing import Final

import pyarrow as pa

_M_ARENA_MAX: Final = -8  # glibc's malloc.h
_ARENAS: Final = 3


def set_up_allocation() -> None:
    """Call once, before threads are started; where there is no glibc only Arrow's part applies."""
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    except (AttributeError, OSError):
        return
