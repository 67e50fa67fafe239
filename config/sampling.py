"""Settings of the two samplers; names, units and defaults are the Collector's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from config.base import Settings
from config.types import ByteSize, Duration, Percentage


class ProbabilisticSamplerSettings(Settings):
    """Consistent probability sampling of single spans by trace id (OTel `ot=th`)."""

    sampling_percentage: Percentage = Field(100.0, description="Share of traces kept, 0 to 100.")
    sampling_precision: int = Field(
        4,
        ge=1,
        le=14,
        description="Hex digits of the threshold written to tracestate.",
    )


class AlwaysSamplePolicy(Settings):
    """Keeps every trace."""

    name: str = Field(min_length=1, description="Name that appears in sample_reason and metrics.")
    type: Literal["always_sample"] = Field(description="Kind of policy.")


class LatencySettings(Settings):
    """Trace duration: latest end minus earliest start."""

    threshold_ms: float = Field(ge=0, description="Least duration kept, ms.")
    upper_threshold_ms: float = Field(
        0,
        ge=0,
        description="Longest duration kept, ms; 0 means no upper bound.",
    )


class LatencyPolicy(Settings):
    """Keeps slow traces."""

    name: str = Field(min_length=1, description="Name that appears in sample_reason and metrics.")
    type: Literal["latency"] = Field(description="Kind of policy.")
    latency: LatencySettings = Field(description="Thresholds.")


class StatusCodeSettings(Settings):
    """Span status."""

    status_codes: tuple[Literal["ERROR", "OK", "UNSET"], ...] = Field(
        min_length=1,
        description="A trace with any span of these is kept.",
    )


class StatusCodePolicy(Settings):
    """Keeps traces by span status."""

    name: str = Field(min_length=1, description="Name that appears in sample_reason and metrics.")
    type: Literal["status_code"] = Field(description="Kind of policy.")
    status_code: StatusCodeSettings = Field(description="Codes.")


class ProbabilisticSettings(Settings):
    """A share of traces."""

    sampling_percentage: Percentage = Field(description="Share of traces kept, 0 to 100.")
    hash_salt: str = Field(
        "",
        description="Empty: consistent with other OTel samplers; else a salted hash of the id.",
    )


class ProbabilisticPolicy(Settings):
    """Keeps a share of traces; their weight is 1/share."""

    name: str = Field(min_length=1, description="Name that appears in sample_reason and metrics.")
    type: Literal["probabilistic"] = Field(description="Kind of policy.")
    probabilistic: ProbabilisticSettings = Field(description="Share.")


class CostPolicySettings(Settings):
    """Price of a trace."""

    min_usd: float = Field(ge=0, description="Least total cost of the trace's spans, USD.")


class CostPolicy(Settings):
    """Keeps expensive traces (clearspan's own policy)."""

    name: str = Field(min_length=1, description="Name that appears in sample_reason and metrics.")
    type: Literal["cost"] = Field(description="Kind of policy.")
    cost: CostPolicySettings = Field(description="Threshold.")


SubPolicy = Annotated[
    AlwaysSamplePolicy | LatencyPolicy | StatusCodePolicy | ProbabilisticPolicy | CostPolicy,
    Field(discriminator="type"),
]


class AndSettings(Settings):
    """All of several policies."""

    and_sub_policy: tuple[SubPolicy, ...] = Field(
        min_length=1,
        description="The trace is kept when every one of these keeps it.",
    )


class AndPolicy(Settings):
    """Keeps traces that all its sub-policies keep."""

    name: str = Field(min_length=1, description="Name that appears in sample_reason and metrics.")
    type: Literal["and"] = Field(description="Kind of policy.")
    and_: AndSettings = Field(alias="and", description="Sub-policies.")


Policy = Annotated[
    AlwaysSamplePolicy
    | LatencyPolicy
    | StatusCodePolicy
    | ProbabilisticPolicy
    | CostPolicy
    | AndPolicy,
    Field(discriminator="type"),
]


class DecisionCacheSettings(Settings):
    """Memory of decided traces, for spans that come late."""

    sampled_cache_size: int = Field(100_000, ge=0, description="Kept traces remembered.")
    non_sampled_cache_size: int = Field(1_000_000, ge=0, description="Dropped traces remembered.")


class TailSamplingSettings(Settings):
    """Waits for a trace's spans, then keeps or drops the whole."""

    policies: tuple[Policy, ...] = Field(
        (),
        description="A trace is kept when any policy keeps it; with none, all are kept.",
    )
    decision_wait: Duration = Field(
        30.0,
        gt=0,
        description="Time from a trace's first span to its decision.",
    )
    num_traces: int = Field(
        50_000,
        ge=1,
        description="Most traces waiting; beyond it the oldest are decided early.",
    )
    max_pending_bytes: ByteSize = Field(
        128 * 2**20,
        description="Most bytes of waiting spans; beyond it the oldest traces are decided early.",
    )
    decision_cache: DecisionCacheSettings = Field(
        default_factory=DecisionCacheSettings,
        description="Memory for late spans.",
    )
