"""The whole configuration, typed: what can be set, its default and what it does.

Names follow the OpenTelemetry Collector wherever it has the same thing. Every field's description
is its documentation: ``docs/configuration.md`` is generated from here and a test holds them equal.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from config.base import Settings
from config.cors import CorsSettings
from config.exporters import (
    CompactionSettings,
    ExportersSettings,
    JournalSettings,
    LakeSettings,
    PrometheusSettings,
    RetentionSettings,
)
from config.extensions import (
    ExtensionsSettings,
    HealthCheckSettings,
    MemoryLimiterSettings,
    SqlSettings,
)
from config.redaction import RedactionSettings
from config.redaction_operators import Operator
from config.sampling import ProbabilisticSamplerSettings, TailSamplingSettings
from config.types import ByteSize, Duration, Endpoint

__all__ = [
    "BatchingSettings",
    "ClearspanSettings",
    "CompactionSettings",
    "CorsSettings",
    "CostSettings",
    "ExportersSettings",
    "ExtensionsSettings",
    "GrpcSettings",
    "HealthCheckSettings",
    "HttpSettings",
    "JournalSettings",
    "LakeSettings",
    "LogPipelineSettings",
    "LogsSettings",
    "MemoryLimiterSettings",
    "Operator",
    "OtlpLimits",
    "OtlpProtocols",
    "OtlpSettings",
    "PipelineSettings",
    "PipelinesSettings",
    "ProcessorsSettings",
    "PrometheusSettings",
    "ReceiversSettings",
    "RedactionSettings",
    "RetentionSettings",
    "ServiceSettings",
    "ServiceTelemetrySettings",
    "SqlSettings",
]


class GrpcSettings(Settings):
    """OTLP over gRPC."""

    endpoint: Endpoint = Field("127.0.0.1:4317", description="Where to listen, host:port.")
    max_recv_msg_size: ByteSize = Field(
        16 * 2**20,
        le=2**31 - 1,
        description="Largest message after decompression; a larger one gets RESOURCE_EXHAUSTED. "
        "Less than 2GiB, as gRPC counts.",
    )


class HttpSettings(Settings):
    """OTLP over HTTP (`POST /v1/traces` and `POST /v1/logs`), in protobuf or JSON."""

    endpoint: Endpoint = Field("127.0.0.1:4318", description="Where to listen, host:port.")
    max_request_body_size: ByteSize = Field(
        16 * 2**20,
        description="Largest body after decompression; a larger one gets 413.",
    )
    cors: CorsSettings = Field(
        default_factory=CorsSettings,
        description="Which pages of other origins may send.",
    )


class OtlpProtocols(Settings):
    """The protocols of the OTLP receiver.

    Both listen by default. A file that names only one of them turns the other off, as in the
    Collector; a name with nothing under it (`grpc:`) stands for that protocol's defaults. An
    override (`--set`) of one protocol's option leaves the other as it is.
    """

    unnamed_is_off: ClassVar[bool] = True

    grpc: GrpcSettings | None = Field(
        default_factory=GrpcSettings,
        description="OTLP/gRPC; off when only `http` is named.",
    )
    http: HttpSettings | None = Field(
        default_factory=HttpSettings,
        description="OTLP/HTTP; off when only `grpc` is named.",
    )


class OtlpLimits(Settings):
    """Counts that bound what one request may expand to in memory, checked before decoding."""

    max_spans: int = Field(100_000, ge=1, description="Most spans in one request.")
    max_log_records: int = Field(100_000, ge=1, description="Most log records in one request.")
    max_attributes: int = Field(
        1_000_000,
        ge=1,
        description="Most attributes in one request (resource, scope, span, event, link, log "
        "record).",
    )
    max_events_and_links: int = Field(
        500_000,
        ge=1,
        description="Most events plus links in one request.",
    )


class OtlpSettings(Settings):
    """The OTLP receiver."""

    protocols: OtlpProtocols = Field(
        default_factory=OtlpProtocols,
        description="Which protocols listen where.",
    )
    limits: OtlpLimits = Field(
        default_factory=OtlpLimits,
        description="What one request may hold.",
    )


class ReceiversSettings(Settings):
    """Where spans and log records come in."""

    otlp: OtlpSettings = Field(default_factory=OtlpSettings, description="The OTLP receiver.")


class CostSettings(Settings):
    """Prices LLM spans from the bundled genai-prices data; never asks the network."""

    provider_aliases: dict[str, str] = Field(
        default_factory=dict,
        description="More names of providers: name in `gen_ai.provider.name` -> genai-prices id.",
    )


class ProcessorsSettings(BaseModel):
    """What happens to the data on its way; `module:Class` keys hold a user processor's options."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    redaction: RedactionSettings = Field(
        default_factory=RedactionSettings,
        description="PII and secret removal. Always the first processor.",
    )
    cost: CostSettings = Field(default_factory=CostSettings, description="LLM prices.")
    probabilistic_sampler: ProbabilisticSamplerSettings = Field(
        default_factory=ProbabilisticSamplerSettings,
        description="Consistent head sampling.",
    )
    tail_sampling: TailSamplingSettings = Field(
        default_factory=TailSamplingSettings,
        description="Sampling of whole traces by what happened in them.",
    )

    def custom_options(self, reference: str) -> dict[str, Any]:
        """Return the options given for the user processor ``module:Class`` (empty if none)."""
        return dict((self.model_extra or {}).get(reference) or {})


class BatchingSettings(Settings):
    """How requests that arrive together are worked on together."""

    max_wait: Duration = Field(
        0.06,
        le=1,
        description="Longest wait for more requests while small ones keep coming.",
    )
    max_bytes: ByteSize = Field(
        4 * 2**20,
        description="A micro-batch this large goes at once.",
    )


class PipelineSettings(Settings):
    """One pipeline, in the Collector's shape."""

    receivers: tuple[Literal["otlp"], ...] = Field(
        ("otlp",),
        min_length=1,
        description="Receivers in use.",
    )
    processors: tuple[str, ...] = Field(
        ("redaction", "cost"),
        description="In order; the first is always redaction. Names from `clearspan components` "
        "or a user's `module:Class`.",
    )
    exporters: tuple[Literal["lake", "prometheus"], ...] = Field(
        ("lake", "prometheus"),
        min_length=1,
        description="Exporters in use: `lake` always, `prometheus` for metrics made of the spans.",
    )


class LogPipelineSettings(Settings):
    """The pipeline of log records; their journal and lake lie in `logs/` below `lake.path`."""

    receivers: tuple[Literal["otlp"], ...] = Field(
        ("otlp",),
        description="Receivers in use; with none (`[]`) log records are refused as unimplemented.",
    )
    processors: tuple[str, ...] = Field(
        ("redaction",),
        description="In order; the first is always redaction. Behind it a user's `module:Class`, "
        "which is given batches of log records.",
    )
    exporters: tuple[Literal["lake"], ...] = Field(
        ("lake",),
        min_length=1,
        description="Exporters in use.",
    )


class PipelinesSettings(Settings):
    """The pipelines by signal."""

    traces: PipelineSettings = Field(
        default_factory=PipelineSettings,
        description="The way of spans.",
    )
    logs: LogPipelineSettings = Field(
        default_factory=LogPipelineSettings,
        description="The way of log records, which are never sampled.",
    )


class LogsSettings(Settings):
    """clearspan's own log."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="Least severity written.",
    )
    encoding: Literal["console", "json", "auto"] = Field(
        "auto",
        description="`auto` is console on a terminal and json elsewhere.",
    )


class ServiceTelemetrySettings(Settings):
    """What clearspan says about itself."""

    logs: LogsSettings = Field(default_factory=LogsSettings, description="The log on stderr.")


class ServiceSettings(Settings):
    """How the parts are put together."""

    pipelines: PipelinesSettings = Field(
        default_factory=PipelinesSettings,
        description="Pipelines by signal.",
    )
    batching: BatchingSettings = Field(
        default_factory=BatchingSettings,
        description="Micro-batches.",
    )
    shutdown_grace: Duration = Field(
        10.0,
        description="How long SIGTERM may take to finish what was received.",
    )
    telemetry: ServiceTelemetrySettings = Field(
        default_factory=ServiceTelemetrySettings,
        description="Own logs.",
    )


class ClearspanSettings(Settings):
    """The root of a config file."""

    receivers: ReceiversSettings = Field(
        default_factory=ReceiversSettings,
        description="Where spans and log records come in.",
    )
    processors: ProcessorsSettings = Field(
        default_factory=ProcessorsSettings,
        description="What happens to them.",
    )
    exporters: ExportersSettings = Field(
        default_factory=ExportersSettings,
        description="Where they end up.",
    )
    extensions: ExtensionsSettings = Field(
        default_factory=ExtensionsSettings,
        description="Health and limits.",
    )
    service: ServiceSettings = Field(
        default_factory=ServiceSettings,
        description="How the parts are put together.",
    )
