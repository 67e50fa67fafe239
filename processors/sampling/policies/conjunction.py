"""``and``: keeps traces that all its sub-policies keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collector.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from processors.sampling.policies.contract import Policy


class Conjunction:
    """Applies where all sub-policies apply; its chance is the smallest of theirs.

    Raises ConfigError when its probabilistic sub-policies have different salts: such chances
    multiply, and one threshold could not say it.
    """

    def __init__(self, name: str, policies: Sequence[Policy]) -> None:
        """Join the sub-policies under this name."""
        self.name = name
        self._policies = tuple(policies)
        self.facts = frozenset[str]().union(*(policy.facts for policy in policies))
        chances = [policy.chance for policy in policies if policy.chance is not None]
        if len({chance.salt for chance in chances}) > 1:
            raise ConfigError(
                f"tail_sampling policy {name!r}: probabilistic sub-policies of one `and` need the "
                "same hash_salt",
            )
        self.chance = max(chances, key=lambda chance: chance.threshold, default=None)

    def applies(self, traces: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return where every sub-policy applies."""
        return np.asarray(np.all([p.applies(traces) for p in self._policies], axis=0))
