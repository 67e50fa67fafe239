"""Whether a worker is at work: it came round lately, or it is busy with what it took on.

A large request can keep a worker for minutes on a slow machine; to be restarted for it, and again
when it is sent again, would be worse. A worker that uses CPU works on it, one that is stuck in a
lock or in I/O uses none. An endless loop uses some too, so there is an end to that as well. Asked
of the thread's clock it needs no call anywhere in what is worked on, however deep.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# 360,000 addresses in a request of 8 MiB take 20 s of one core; three times as many, the most that
# the limits let in, take ten minutes where a sidecar has a tenth of one.
_MOST_BUSY_S: Final = 900.0


class Heartbeat:
    """Of one worker thread; ``is_alive`` is called by one other thread, as often as probes come."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Count from now."""
        self._clock = clock
        self._round_s = self._busy_s = clock()
        self._used_s = 0.0
        self._read_cpu_s: Callable[[], float] = float

    def begin(self) -> None:
        """Belong to the thread that calls this."""
        clock_id = time.pthread_getcpuclockid(threading.get_ident())
        self._read_cpu_s = partial(time.clock_gettime, clock_id)

    def come_round(self) -> float:
        """Say that the worker takes on something new, or waits for it; return the time."""
        self._round_s = self._clock()
        return self._round_s

    def is_alive(self, within_s: float) -> bool:
        """Tell whether there was a sign of life; what is seen counts from when it is seen."""
        now_s = self._clock()
        used_s = self._read_cpu_s()
        if used_s != self._used_s:
            self._used_s, self._busy_s = used_s, now_s
        is_busy = now_s - self._busy_s < within_s and now_s - self._round_s < _MOST_BUSY_S
        return now_s - self._round_s < within_s or is_busy
