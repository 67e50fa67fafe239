"""``probabilistic``: keeps a share of all traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from processors.sampling.policies.contract import Chance
from processors.sampling.randomness import threshold_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from config.sampling import ProbabilisticPolicy


class Probabilistic:
    """Applies to every trace, and has a chance."""

    facts: frozenset[str] = frozenset()

    def __init__(self, settings: ProbabilisticPolicy) -> None:
        """Take the name and the share."""
        self.name = settings.name
        share = settings.probabilistic
        self.chance = Chance(share.hash_salt, threshold_for(share.sampling_percentage))

    def applies(self, traces: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return true for each."""
        return np.ones(len(traces), np.bool_)
