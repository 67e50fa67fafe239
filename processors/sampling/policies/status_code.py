"""``status_code``: keeps traces with any span of these statuses."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from processors.sampling.traces import STATUS, STATUS_BIT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from config.sampling import StatusCodePolicy


class StatusCode:
    """Applies to a trace when one of its spans, wherever in the trace, has one of the statuses."""

    chance = None
    facts = frozenset({STATUS})

    def __init__(self, settings: StatusCodePolicy) -> None:
        """Take the name and the statuses."""
        self.name = settings.name
        self._bits = reduce(or_, map(STATUS_BIT.__getitem__, settings.status_code.status_codes))

    def applies(self, traces: NDArray[np.void]) -> NDArray[np.bool_]:
        """Compare the statuses seen with those wanted."""
        wanted: NDArray[np.bool_] = (traces[STATUS] & self._bits) != 0
        return wanted
