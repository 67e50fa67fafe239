"""Settings of the exporters: the lake with its journal, and the metrics endpoint."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from config.base import Settings
from config.types import ByteSize, Duration, Endpoint, parse_column


class ServiceRetention(Settings):
    """How long the spans and log records of one service are kept."""

    service: str = Field(min_length=1, description="Its `service.name`.")
    max_age: Duration = Field(
        description="What it sent in whole hours older than this is deleted; 0 keeps it for ever.",
    )


class RetentionSettings(Settings):
    """How long, and how much, each signal's lake keeps."""

    max_age: Duration = Field(
        7 * 86400.0,
        description="Whole hours older than this are deleted; 0 keeps them for ever.",
    )
    services: tuple[ServiceRetention, ...] = Field(
        (),
        description="Services with an age of their own, shorter or longer than `max_age`. Files "
        "are rewritten without what they sent when its time comes.",
    )
    max_bytes: ByteSize = Field(
        4 * 2**30,
        description="Most bytes of Parquet; the oldest files go first; 0 means no limit.",
    )


class CompactionSettings(Settings):
    """Merges the small files that frequent flushes leave."""

    interval: Duration = Field(30.0, description="How often to look; 0 turns compaction off.")
    min_files: int = Field(8, ge=2, description="Merge an hour that has this many small files.")
    target_bytes: ByteSize = Field(
        16 * 2**20,
        description="Files this large are left alone. Larger ones make look-ups of a trace slower, "
        "smaller ones queries over many hours.",
    )


class JournalSettings(Settings):
    """The write-ahead journal: a batch is acknowledged once it is here."""

    sync: Literal["always", "interval", "off"] = Field(
        "always",
        description="When a batch is synced to the disk: before its acknowledgement, or up to "
        "`sync_interval` or 1 MiB after it, or whenever the kernel likes. A killed process loses "
        "nothing either way; a machine that fails loses what was not synced.",
    )
    sync_interval: Duration = Field(
        0.02,
        gt=0,
        description="With `sync: interval`: the longest time between acknowledgement and sync.",
    )
    segment_bytes: ByteSize = Field(32 * 2**20, description="Start a new segment at this size.")
    max_bytes: ByteSize = Field(
        512 * 2**20,
        description="Most bytes on disk; at the limit senders get a retryable error.",
    )


class PromotedAttribute(Settings):
    """An attribute that is a column of `spans` as well."""

    key: str = Field(min_length=1, description="Name of the attribute, like `tenant.id`.")
    column: Annotated[str, BeforeValidator(parse_column)] = Field(
        description="Name of the column: lower-case letters, digits and underscores.",
    )
    type: Literal["string", "int", "double", "bool"] = Field(
        "string",
        description="Type of the column; a value that does not read as it is null there.",
    )
    source: Literal["span", "resource"] = Field(
        "span",
        description="Whose attribute it is: the span's or its resource's.",
    )


class LakeSettings(Settings):
    """Clean spans and log records as Parquet files and a manifest for each signal.

    Spans and log records each have a journal and a lake of their own, and each of the limits below
    holds for either.
    """

    path: str = Field(
        "./clearspan-data",
        min_length=1,
        description="Directory of journals and lakes.",
    )
    flush_interval: Duration = Field(
        1.5,
        gt=0,
        description="How long a row may wait before it is in a Parquet file and visible to SQL.",
    )
    flush_bytes: ByteSize = Field(
        12 * 2**20,
        description="A flush begins at once when this many bytes wait, within half a second of the "
        "last one when twice as many do (but no more than half of `max_pending_bytes`).",
    )
    max_pending_bytes: ByteSize = Field(
        128 * 2**20,
        description="Most bytes waiting for a flush; at the limit senders get a retryable error.",
    )
    unlink_grace: Duration = Field(
        60.0,
        description="How long replaced files stay for queries that still read them.",
    )
    journal: JournalSettings = Field(
        default_factory=JournalSettings,
        description="The write-ahead journal.",
    )
    promote: tuple[PromotedAttribute, ...] = Field(
        (),
        max_length=64,
        description="Attributes that get a column of their own in `spans`, as fast to filter as "
        "the schema's own columns. Files of before answer from the attributes until they are "
        "rewritten, one by one in the background.",
    )
    compaction: CompactionSettings = Field(
        default_factory=CompactionSettings,
        description="Merging of small files.",
    )
    retention: RetentionSettings = Field(
        default_factory=RetentionSettings,
        description="Deletion of old data.",
    )


class PrometheusSettings(Settings):
    """Golden signals and own telemetry at `/metrics`."""

    endpoint: Endpoint = Field("127.0.0.1:9464", description="Where to listen, host:port.")
    aggregation_cardinality_limit: int = Field(
        2000,
        ge=1,
        description="Most series of one family; the rest go to one with "
        'otel_metric_overflow="true".',
    )
    series_expiration: Duration = Field(
        0.0,
        description="A series that got no span for this long is shown by one more scrape and then "
        "forgotten; if a span comes again, it begins at zero. Give it several scrape intervals; 0 "
        "keeps all series.",
    )
    histogram_buckets: tuple[float, ...] = Field(
        (
            0.002,
            0.004,
            0.006,
            0.008,
            0.01,
            0.05,
            0.1,
            0.2,
            0.4,
            0.8,
            1.0,
            1.4,
            2.0,
            5.0,
            10.0,
            15.0,
        ),
        description="Upper bounds of the span duration histogram, in seconds.",
    )
    exemplars: bool = Field(
        True,
        description="Give one trace id a bucket to OpenMetrics scrapers.",
    )


class ExportersSettings(Settings):
    """Where spans and signals end up."""

    lake: LakeSettings = Field(default_factory=LakeSettings, description="The Parquet lake.")
    prometheus: PrometheusSettings = Field(
        default_factory=PrometheusSettings,
        description="The metrics endpoint.",
    )
