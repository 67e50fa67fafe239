"""``latency``: keeps traces by their duration, from the earliest start to the latest end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from processors.sampling.traces import END, START

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from config.sampling import LatencyPolicy

_NS_PER_MS: Final = 1_000_000


class Latency:
    """Applies to traces at least as long as the threshold, and no longer than the upper one."""

    chance = None
    facts = frozenset({START, END})

    def __init__(self, settings: LatencyPolicy) -> None:
        """Take the name and the thresholds."""
        self.name = settings.name
        self._least_ns = settings.latency.threshold_ms * _NS_PER_MS
        self._most_ns = settings.latency.upper_threshold_ms * _NS_PER_MS or float("inf")

    def applies(self, traces: NDArray[np.void]) -> NDArray[np.bool_]:
        """Compare durations; both thresholds are inside."""
        duration_ns = traces[END] - traces[START]
        within: NDArray[np.bool_] = (duration_ns >= self._least_ns) & (duration_ns <= self._most_ns)
        return within
