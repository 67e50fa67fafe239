"""What was decided about traces, for their spans that come late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from processors.sampling.memory import ABSENT, DecisionMemory
from processors.sampling.randomness import mixed
from processors.sampling.verdicts import VERDICT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from config.sampling import DecisionCacheSettings

_DROPPED: Final = np.dtype([("decided_at", "f4")])
_KEPT: Final = np.dtype([("decided_at", "f4"), ("verdict", VERDICT)])


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is remembered, one entry a trace; a verdict means nothing where not ``is_kept``."""

    is_kept: NDArray[np.bool_]
    is_dropped: NDArray[np.bool_]
    verdicts: NDArray[np.void]
    ages_s: NDArray[np.float64]

    @property
    def is_late(self) -> NDArray[np.bool_]:
        """Whether the trace was decided at all."""
        late: NDArray[np.bool_] = self.is_kept | self.is_dropped
        return late


class Decisions:
    """Two memories, because a dropped trace needs less room and there are more of them."""

    def __init__(self, settings: DecisionCacheSettings, now: float) -> None:
        """Remember nothing yet; times are kept relative to ``now``, to fit 32 bits."""
        self._began = now
        self._kept = DecisionMemory(settings.sampled_cache_size, _KEPT)
        self._dropped = DecisionMemory(settings.non_sampled_cache_size, _DROPPED)

    def remember(
        self,
        halves: NDArray[np.uint64],
        is_kept: NDArray[np.bool_],
        verdicts: NDArray[np.void],
        now: float,
    ) -> None:
        """Remember the decision on each of these traces."""
        hashes = mixed(halves)
        kept = np.empty(int(is_kept.sum()), _KEPT)
        kept["decided_at"] = now - self._began
        kept["verdict"] = verdicts[is_kept]
        self._kept.insert(hashes[is_kept], kept)
        dropped = np.full(len(is_kept) - len(kept), (now - self._began,), _DROPPED)
        self._dropped.insert(hashes[~is_kept], dropped)

    def recall(self, halves: NDArray[np.uint64], now: float) -> Recalled:
        """Return what was decided about these traces."""
        hashes = mixed(halves)
        kept, dropped = self._kept.find(hashes), self._dropped.find(hashes)
        verdicts = np.zeros(len(hashes), VERDICT)
        decided_at = np.zeros(len(hashes))
        is_kept, is_dropped = kept != ABSENT, dropped != ABSENT
        if is_dropped.any():
            decided_at[is_dropped] = self._dropped.payload[dropped[is_dropped]]["decided_at"]
        if is_kept.any():
            found = self._kept.payload[kept[is_kept]]
            verdicts[is_kept] = found["verdict"]
            decided_at[is_kept] = found["decided_at"]
        ages_s = np.maximum(now - self._began - decided_at, 0)
        return Recalled(is_kept, is_dropped & ~is_kept, verdicts, ages_s)
