"""Asks all policies about the traces that are due, and works out what a kept one stands for.

The estimator: a kept span's weight is 1 over the probability with which its trace could have been
kept, over all policies that applied to it, whichever of them happened to keep it. That makes
``sum(sample_weight)`` unbiased. A trace that a policy without a chance applies to is certain to be
kept. Chances without a salt use the same randomness as the head sampler, so they overlap: the
highest counts, and a head sampler's share is not multiplied in again. Salted chances are
independent of it and of each other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from collector.model.errors import ConfigError
from processors.sampling.policies import build_policy
from processors.sampling.randomness import id_randomness, salted_randomness
from processors.sampling.traces import EXPLICIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from config.sampling import TailSamplingSettings
    from processors.sampling.policies.contract import Chance

# What a decision says of a trace: the policy it is put down to, the probability of passing a
# chance on the trace's own randomness, and that of passing an independent one.
VERDICT: Final = np.dtype([("policy", "i2"), ("direct", "f8"), ("salted", "f8")])
_UNSALTED: Final = ""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One entry a trace, and for each policy how many it would keep."""

    is_kept: NDArray[np.bool_]
    verdicts: NDArray[np.void]
    votes: NDArray[np.int64]


class Jury:
    """The policies of one tail sampler, in order."""

    def __init__(self, settings: TailSamplingSettings) -> None:
        """Make the policies.

        Raises:
            ConfigError: Two have the same name, or an ``and`` does not go together.
        """
        self._policies = [build_policy(policy) for policy in settings.policies]
        self.names = tuple(policy.name for policy in self._policies)
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise ConfigError(f"tail_sampling has two policies named {twice[0]!r}")
        self.facts = frozenset[str]().union(*(policy.facts for policy in self._policies))
        # The policy with the best chance gets the credit, of equals the first.
        best_first = sorted(
            range(len(self._policies)),
            key=lambda at: -1.0 if (c := self._policies[at].chance) is None else -c.probability,
        )
        self._best_first = np.array(best_first, np.int16)

    def judge(self, traces: NDArray[np.void], halves: NDArray[np.uint64]) -> Verdicts:
        """Decide these traces (dtype ``TRACE``) with these ids (see ``id_halves``)."""
        applies = np.array([policy.applies(traces) for policy in self._policies])
        randomness = self._randomness(traces, halves)
        keeps = applies.copy()
        direct = np.zeros(len(traces))
        by_salt: dict[str, NDArray[np.float64]] = {}
        is_certain = np.zeros(len(traces), np.bool_)
        for at, policy in enumerate(self._policies):
            chance = policy.chance
            if chance is None:
                is_certain |= applies[at]
                continue
            keeps[at] &= randomness[chance.salt] >= chance.threshold
            offered = np.where(applies[at], chance.probability, 0.0)
            if chance.salt == _UNSALTED:
                direct = np.maximum(direct, offered)
            else:
                best = by_salt.get(chance.salt, np.zeros(len(traces)))
                by_salt[chance.salt] = np.maximum(best, offered)
        missed = np.ones(len(traces))
        for offered in by_salt.values():
            missed *= 1 - offered
        verdicts = np.empty(len(traces), VERDICT)
        verdicts["policy"] = self._best_first[keeps[self._best_first].argmax(axis=0)]
        verdicts["direct"] = np.where(is_certain, 1.0, direct)
        verdicts["salted"] = np.where(is_certain, 1.0, 1 - missed)
        return Verdicts(np.asarray(keeps.any(axis=0)), verdicts, keeps.sum(axis=1))

    def _randomness(
        self,
        traces: NDArray[np.void],
        halves: NDArray[np.uint64],
    ) -> Mapping[str, NDArray[np.int64]]:
        """Return the randomness of each trace for each salt in use."""
        chances: list[Chance] = [p.chance for p in self._policies if p.chance is not None]
        return {
            salt: salted_randomness(halves, salt)
            if salt
            else np.where(traces[EXPLICIT] >= 0, traces[EXPLICIT], id_randomness(halves))
            for salt in {chance.salt for chance in chances}
        }


def weights_of(
    verdicts: NDArray[np.void],
    head_weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the weight of kept rows: 1 over the probability of passing head and tail.

    Both use the same randomness, so passing both has the smaller of the two probabilities; what
    the direct chance leaves out may still pass the salted ones.
    """
    head = 1 / head_weights
    direct = np.minimum(head, verdicts["direct"])
    weights: NDArray[np.float64] = 1 / (direct + (head - direct) * verdicts["salted"])
    return weights
