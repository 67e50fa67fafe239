"""Tail sampling policies, one a file; the table of their names is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.sampling import (
    AlwaysSamplePolicy,
    AndPolicy,
    CostPolicy,
    LatencyPolicy,
    ProbabilisticPolicy,
    StatusCodePolicy,
)
from processors.sampling.policies.always_sample import AlwaysSample
from processors.sampling.policies.conjunction import Conjunction
from processors.sampling.policies.cost import Cost
from processors.sampling.policies.latency import Latency
from processors.sampling.policies.probabilistic import Probabilistic
from processors.sampling.policies.status_code import StatusCode

if TYPE_CHECKING:
    from processors.sampling.policies.contract import Policy

__all__ = ["build_policy"]


def build_policy(
    settings: AlwaysSamplePolicy
    | AndPolicy
    | CostPolicy
    | LatencyPolicy
    | ProbabilisticPolicy
    | StatusCodePolicy,
) -> Policy:
    """Return the policy that these settings describe.

    Raises:
        ConfigError: The sub-policies of an ``and`` do not go together.
    """
    match settings:
        case AlwaysSamplePolicy():
            return AlwaysSample(settings)
        case AndPolicy():
            parts = [build_policy(part) for part in settings.and_.and_sub_policy]
            return Conjunction(settings.name, parts)
        case CostPolicy():
            return Cost(settings)
        case LatencyPolicy():
            return Latency(settings)
        case ProbabilisticPolicy():
            return Probabilistic(settings)
        case StatusCodePolicy():
            return StatusCode(settings)
