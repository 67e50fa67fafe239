"""What must hold between options, beyond each one's own type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from collector.model.schema import ATTRIBUTES, PROMOTIONS, RESOURCE_ATTRIBUTES, SPAN_SCHEMA
from config.sampling import AndPolicy, CostPolicy, LatencyPolicy
from config.shape import REFERENCE
from config.tree import Path, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from config.sampling import Policy
    from config.settings import ClearspanSettings

PROCESSORS: Final = ("redaction", "cost", "probabilistic_sampler", "tail_sampling")
"""The processors that come with clearspan, as a pipeline names them."""

_PIPELINES: Final[Path] = ("service", "pipelines")
_FOR_SPANS: Final = frozenset(PROCESSORS) - {"redaction"}
_TAIL: Final[Path] = ("processors", "tail_sampling")

_LAKE: Final[Path] = ("exporters", "lake")
_PROMOTED_FROM: Final = {"span": ATTRIBUTES, "resource": RESOURCE_ATTRIBUTES}
OTEL_TRACES_NAMES: Final = frozenset(
    {
        "timestamp", "traceid", "spanid", "parentspanid", "tracestate", "spanname", "spankind",
        "servicename", "resourceattributes", "scopename", "scopeversion", "spanattributes",
        "duration", "statuscode", "statusmessage",
    }
)  # fmt: skip
"""Columns of the view ``otel_traces`` in lower case, as SQL compares them."""
# hour directories, which some engines read as columns, and what DuckDB adds to a file's own
_PLACES: Final = frozenset({"date", "hour", "filename", "file_index", "file_row_number"})

Report: TypeAlias = tuple[Path, str]


def broken_rules(settings: ClearspanSettings) -> Iterator[Report]:
    """Yield the path and the words of every rule that the settings break."""
    for rule in _RULES:
        yield from rule(settings)


def unused_sections(settings: ClearspanSettings) -> list[str]:
    """Return the processors that are configured but not in the pipeline: legal, rarely meant."""
    given = [*settings.processors.model_fields_set, *(settings.processors.model_extra or {})]
    pipelines = settings.service.pipelines
    return sorted({*given} - {*pipelines.traces.processors, *pipelines.logs.processors})


def _pipeline_order(settings: ClearspanSettings) -> Iterator[Report]:
    pipelines = settings.service.pipelines
    yield from _order((*_PIPELINES, "traces", "processors"), pipelines.traces.processors)
    logs: Path = (*_PIPELINES, "logs", "processors")
    yield from _order(logs, pipelines.logs.processors)
    for at, name in enumerate(pipelines.logs.processors):
        if name in _FOR_SPANS:
            yield (*logs, at), f"{name!r} is for spans: it can do nothing for log records"


def _order(path: Path, names: Sequence[str]) -> Iterator[Report]:
    if not names or names[0] != "redaction":
        first: Path = (*path, 0) if names else path
        yield first, "the first processor must be 'redaction': nothing unclean may go further"
    for at, name in enumerate(names):
        if name not in PROCESSORS and REFERENCE.fullmatch(name) is None:
            hint = nearest(name, PROCESSORS, what="processors are a module:Class or one of")
            yield (*path, at), f"unknown processor, {hint}"
        if name == "probabilistic_sampler" and "tail_sampling" in names[:at]:
            yield (*path, at), "must come before 'tail_sampling', whose weights it would overwrite"


def _named_once(settings: ClearspanSettings) -> Iterator[Report]:
    pipelines = settings.service.pipelines
    for signal, pipeline in (("traces", pipelines.traces), ("logs", pipelines.logs)):
        lists: dict[str, Sequence[str]] = {
            "receivers": pipeline.receivers,
            "processors": pipeline.processors,
            "exporters": pipeline.exporters,
        }
        for key, names in lists.items():
            yield from _repeated((*_PIPELINES, signal, key), names, ())
    services = [one.service for one in settings.exporters.lake.retention.services]
    yield from _repeated((*_LAKE, "retention", "services"), services, ("service",))
    policies = [policy.name for policy in settings.processors.tail_sampling.policies]
    yield from _repeated((*_TAIL, "policies"), policies, ("name",))


def _repeated(path: Path, names: Sequence[str], below: Path) -> Iterator[Report]:
    for at, name in enumerate(names):
        if name in names[:at]:
            yield (*path, at, *below), f"named twice, first at [{names.index(name)}]"


def _spans_are_kept(settings: ClearspanSettings) -> Iterator[Report]:
    if "lake" not in settings.service.pipelines.traces.exporters:
        path = (*_PIPELINES, "traces", "exporters")
        yield path, "must name 'lake': spans are acknowledged when they are kept there"


def _cost_before_its_policy(settings: ClearspanSettings) -> Iterator[Report]:
    names = settings.service.pipelines.traces.processors
    if "tail_sampling" not in names:
        return
    if "cost" in names[: names.index("tail_sampling")]:
        return
    for path in _cost_policies((*_TAIL, "policies"), settings.processors.tail_sampling.policies):
        yield path, "a cost policy needs 'cost' before 'tail_sampling' in the pipeline"


def _cost_policies(path: Path, policies: Sequence[Policy]) -> Iterator[Path]:
    for at, policy in enumerate(policies):
        if isinstance(policy, CostPolicy):
            yield (*path, at, "type")
        elif isinstance(policy, AndPolicy):
            yield from _cost_policies(
                (*path, at, "and", "and_sub_policy"), policy.and_.and_sub_policy
            )


def _latency_bounds(settings: ClearspanSettings) -> Iterator[Report]:
    yield from _reversed_bounds((*_TAIL, "policies"), settings.processors.tail_sampling.policies)


def _reversed_bounds(path: Path, policies: Sequence[Policy]) -> Iterator[Report]:
    for at, policy in enumerate(policies):
        if isinstance(policy, LatencyPolicy):
            bounds = policy.latency
            if 0 < bounds.upper_threshold_ms <= bounds.threshold_ms:
                upper = (*path, at, "latency", "upper_threshold_ms")
                yield upper, "must be more than threshold_ms, or 0 for no upper bound"
        elif isinstance(policy, AndPolicy):
            below = (*path, at, "and", "and_sub_policy")
            yield from _reversed_bounds(below, policy.and_.and_sub_policy)


def _promoted_columns(settings: ClearspanSettings) -> Iterator[Report]:
    """A promoted column stands for one attribute, and no other column has its name."""
    of_key = {(p.source, key): p.column for p in PROMOTIONS for key in p.keys}
    seen: dict[tuple[str, str], str] = {}
    columns: dict[str, int] = {}
    for at, one in enumerate(settings.exporters.lake.promote):
        path = (*_LAKE, "promote", at)
        source = (_PROMOTED_FROM[one.source], one.key)
        if one.column in columns:
            yield (*path, "column"), f"named twice, first at [{columns[one.column]}]"
        elif one.column in SPAN_SCHEMA.names:
            yield (*path, "column"), "is a column of spans already"
        elif one.column in OTEL_TRACES_NAMES:
            yield (*path, "column"), "is a column of the view otel_traces already"
        elif one.column in _PLACES:
            yield (*path, "column"), "is a name that readers of Parquet files use themselves"
        if source in of_key:
            yield (*path, "key"), f"is the column {of_key[source]} already"
        elif source in seen:
            yield (*path, "key"), f"is promoted twice, first as {seen[source]}"
        columns.setdefault(one.column, at)
        seen.setdefault(source, one.column)


def _buckets_ascend(settings: ClearspanSettings) -> Iterator[Report]:
    bounds = settings.exporters.prometheus.histogram_buckets
    if any(low >= high for low, high in zip((0.0, *bounds), bounds, strict=False)):
        path = ("exporters", "prometheus", "histogram_buckets")
        yield path, "bounds must be more than 0 and each more than the one before"


def _endpoints_differ(settings: ClearspanSettings) -> Iterator[Report]:
    seen: dict[str, str] = {}
    for path, endpoint in endpoints(settings):
        if endpoint.endswith(":0"):  # the system chooses, so they cannot meet
            continue
        if endpoint in seen:
            yield path, f"the same endpoint as {seen[endpoint]}"
        seen.setdefault(endpoint, ".".join(map(str, path)))


def endpoints(settings: ClearspanSettings) -> list[tuple[Path, str]]:
    """Return the path and value of every endpoint that will be listened on."""
    protocols = settings.receivers.otlp.protocols
    otlp: Path = ("receivers", "otlp", "protocols")
    listed: list[tuple[Path, str]] = []
    if protocols.grpc is not None:
        listed.append(((*otlp, "grpc", "endpoint"), protocols.grpc.endpoint))
    if protocols.http is not None:
        listed.append(((*otlp, "http", "endpoint"), protocols.http.endpoint))
    if "prometheus" in settings.service.pipelines.traces.exporters:
        prometheus = settings.exporters.prometheus.endpoint
        listed.append((("exporters", "prometheus", "endpoint"), prometheus))
    health = settings.extensions.health_check.endpoint
    listed.append((("extensions", "health_check", "endpoint"), health))
    if settings.extensions.sql.enabled:
        listed.append((("extensions", "sql", "endpoint"), settings.extensions.sql.endpoint))
    return listed


def _sql_has_a_token(settings: ClearspanSettings) -> Iterator[Report]:
    sql = settings.extensions.sql
    if sql.enabled and sql.token is None:
        path = ("extensions", "sql", "token")
        yield path, "is needed where the endpoint is enabled: ${env:VAR} or ${file:PATH}"


_RULES: Final[tuple[Callable[[ClearspanSettings], Iterator[Report]], ...]] = (
    _pipeline_order,
    _named_once,
    _spans_are_kept,
    _cost_before_its_policy,
    _latency_bounds,
    _buckets_ascend,
    _promoted_columns,
    _endpoints_differ,
    _sql_has_a_token,
)
