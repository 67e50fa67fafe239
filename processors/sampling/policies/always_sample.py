"""``always_sample``: keeps every trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from config.sampling import AlwaysSamplePolicy


class AlwaysSample:
    """Applies to every trace."""

    chance = None
    facts: frozenset[str] = frozenset()

    def __init__(self, settings: AlwaysSamplePolicy) -> None:
        """Take the name."""
        self.name = settings.name

    def applies(self, traces: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return true for each."""
        return np.ones(len(traces), np.bool_)
