"""``cost``: keeps traces whose LLM calls cost at least so much together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from processors.sampling.traces import COST, IS_PRICED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from config.sampling import CostPolicy

_NANO: Final = 1_000_000_000


class Cost:
    """Applies to traces whose known costs add up to the threshold.

    A trace without any known cost is not one of them, not even at a threshold of 0: unknown is
    not free.
    """

    chance = None
    facts = frozenset({COST, IS_PRICED})

    def __init__(self, settings: CostPolicy) -> None:
        """Take the name and the threshold."""
        self.name = settings.name
        self._least_nano = round(settings.cost.min_usd * _NANO)

    def applies(self, traces: NDArray[np.void]) -> NDArray[np.bool_]:
        """Compare sums."""
        dear: NDArray[np.bool_] = traces[IS_PRICED] & (traces[COST] >= self._least_nano)
        return dear
