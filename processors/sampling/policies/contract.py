"""What a tail sampling policy is: a question about traces, and a chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from processors.sampling.randomness import probability_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Chance:
    """A trace passes when its randomness (for that salt) is not below the threshold."""

    salt: str
    threshold: int

    @property
    def probability(self) -> float:
        """The share of traces that pass, 0 to 1."""
        return probability_of(self.threshold)


class Policy(Protocol):
    """Keeps the traces that it applies to and that pass its chance, if it has one.

    The two are apart because the weight of a trace follows from the chance it had, which depends
    on what applies to it and not on its luck.
    """

    @property
    def name(self) -> str:
        """The name in the config; it becomes ``sample_reason``."""
        ...

    @property
    def chance(self) -> Chance | None:
        """What a trace must pass besides; None for nothing."""
        ...

    @property
    def facts(self) -> frozenset[str]:
        """What ``applies`` reads of a trace (names in ``processors.sampling.traces``)."""
        ...

    def applies(self, traces: NDArray[np.void]) -> NDArray[np.bool_]:
        """Tell for each trace (dtype ``TRACE``) whether it is one of those the policy is about."""
        ...
