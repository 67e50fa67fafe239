"""The exact schema of a span batch: one row a span, column names as constants.

Group order is the lake's. Strings are UTF-8; ids are fixed binary; times are UTC.
Promoted columns repeat an attribute that stays in ``attributes`` as well; see ``PROMOTIONS``.
Every column is nullable unless its comment says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

STRING_MAP: Final = pa.map_(pa.string(), pa.string())
TIMESTAMP: Final = pa.timestamp("us", tz="UTC")
MONEY: Final = pa.decimal128(18, 9)

# ids: never null, except parent_span_id, which is null on a root
TRACE_ID: Final = "trace_id"
SPAN_ID: Final = "span_id"
PARENT_SPAN_ID: Final = "parent_span_id"
TRACE_STATE: Final = "trace_state"
FLAGS: Final = "flags"
IS_ROOT: Final = "is_root"
# time
START_TIME: Final = "start_time"
START_TIME_UNIX_NANO: Final = "start_time_unix_nano"
DURATION_NS: Final = "duration_ns"
INGEST_TIME: Final = "ingest_time"
# core
SERVICE_NAME: Final = "service_name"
NAME: Final = "name"
KIND: Final = "kind"
STATUS_CODE: Final = "status_code"
STATUS_MESSAGE: Final = "status_message"
# status_message is null when the span's status was not set at all
SCOPE_NAME: Final = "scope_name"
SCOPE_VERSION: Final = "scope_version"
# GenAI
GEN_AI_OPERATION_NAME: Final = "gen_ai_operation_name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai_provider_name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai_request_model"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai_response_model"
INPUT_TOKENS: Final = "input_tokens"
OUTPUT_TOKENS: Final = "output_tokens"
CACHE_READ_TOKENS: Final = "cache_read_tokens"
CACHE_WRITE_TOKENS: Final = "cache_write_tokens"
REASONING_TOKENS: Final = "reasoning_tokens"
ERROR_TYPE: Final = "error_type"
# cost: null until the cost processor ran; null stays null when no price is known
COST_USD: Final = "cost_usd"
COST_INPUT_USD: Final = "cost_input_usd"
COST_OUTPUT_USD: Final = "cost_output_usd"
COST_REPORTED_USD: Final = "cost_reported_usd"
COST_STATUS: Final = "cost_status"
PRICE_VERSION: Final = "price_version"
# control
SAMPLE_WEIGHT: Final = "sample_weight"
SAMPLE_REASON: Final = "sample_reason"
REDACTION_COUNT: Final = "redaction_count"
REDACTION_VERSION: Final = "redaction_version"
SOURCE_ID: Final = "source_id"
BATCH_SEQ: Final = "batch_seq"
# rest
ATTRIBUTES: Final = "attributes"
NON_STRING_TYPES: Final = "non_string_types"
RESOURCE_ATTRIBUTES: Final = "resource_attributes"
RESOURCE_NON_STRING_TYPES: Final = "resource_non_string_types"
RESOURCE_DROPPED_ATTRIBUTES_COUNT: Final = "resource_dropped_attributes_count"
RESOURCE_SCHEMA_URL: Final = "resource_schema_url"
SCOPE_ATTRIBUTES: Final = "scope_attributes"
SCOPE_NON_STRING_TYPES: Final = "scope_non_string_types"
SCOPE_DROPPED_ATTRIBUTES_COUNT: Final = "scope_dropped_attributes_count"
SCOPE_SCHEMA_URL: Final = "scope_schema_url"
EVENTS: Final = "events"
EVENTS_COUNT: Final = "events_count"
LINKS: Final = "links"
DROPPED_ATTRIBUTES_COUNT: Final = "dropped_attributes_count"
DROPPED_EVENTS_COUNT: Final = "dropped_events_count"
DROPPED_LINKS_COUNT: Final = "dropped_links_count"

KIND_NAMES: Final = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUS_NAMES: Final = ("UNSET", "OK", "ERROR")

# GenAI operations (lower case) that are no billable call: their token usage is the sum of calls
# that have spans of their own, or there is none; whoever sums tokens leaves them out.
NO_CALL_OPERATIONS: Final = (
    "create_agent",
    "create_memory",
    "create_memory_store",
    "delete_memory",
    "delete_memory_store",
    "execute_tool",
    "fetch_response",
    "invoke_agent",
    "invoke_workflow",
    "plan",
    "retrieval",
    "search_memory",
    "update_memory",
    "upsert_memory",
)

# How a value that was no string is written in a MAP<VARCHAR,VARCHAR>; the tag stands under the
# same key in the ``*non_string_types`` map beside it. A tag whose value no longer parses (it was
# redacted) means a plain string. ``array`` and ``kvlist`` are JSON text; ``otlp`` is the OTLP/JSON
# text of a nested value that plain JSON would change (bytes, NaN, unset, repeated keys);
# ``bytes`` is base64; ``empty`` is a key whose value was unset and ``absent`` one with no value
# message at all: both have a null value.
TYPE_TAGS: Final = ("int", "double", "bool", "bytes", "array", "kvlist", "otlp", "empty", "absent")

EVENT: Final = pa.struct(
    [
        pa.field("time_unix_nano", pa.int64()),
        pa.field("name", pa.string()),
        pa.field("attributes", STRING_MAP),
        pa.field("non_string_types", STRING_MAP),
        pa.field("dropped_attributes_count", pa.int64()),
    ],
)
LINK: Final = pa.struct(
    [
        pa.field("trace_id", pa.binary()),
        pa.field("span_id", pa.binary()),
        pa.field("trace_state", pa.string()),
        pa.field("flags", pa.int64()),
        pa.field("attributes", STRING_MAP),
        pa.field("non_string_types", STRING_MAP),
        pa.field("dropped_attributes_count", pa.int64()),
    ],
)


@dataclass(frozen=True, slots=True)
class Promotion:
    """A column that repeats an attribute: the first of ``keys`` that a row has gives its value.

    ``source`` is the map the keys are looked up in; ``type`` is the column's Arrow type
    (a value that does not parse as it gives null); ``scale`` multiplies a number (ms to s).
    """

    column: str
    source: str
    keys: tuple[str, ...]
    type: pa.DataType


def _resource(column: str, *keys: str) -> Promotion:
    return Promotion(column, RESOURCE_ATTRIBUTES, keys, pa.string())


def _text(column: str, *keys: str) -> Promotion:
    return Promotion(column, ATTRIBUTES, keys, pa.string())


def _whole(column: str, *keys: str) -> Promotion:
    return Promotion(column, ATTRIBUTES, keys, pa.int64())


def _real(column: str, *keys: str) -> Promotion:
    return Promotion(column, ATTRIBUTES, keys, pa.float64())


# Attribute names: OpenTelemetry semantic conventions 1.3x, stable names first, then deprecated.
PROMOTIONS: Final = (
    _resource(SERVICE_NAME, "service.name"),
    _resource("service_namespace", "service.namespace"),
    _resource("service_version", "service.version"),
    _resource("service_instance_id", "service.instance.id"),
    _resource("deployment_environment", "deployment.environment.name", "deployment.environment"),
    _resource("k8s_namespace", "k8s.namespace.name"),
    _resource("k8s_pod", "k8s.pod.name"),
    _text("http_request_method", "http.request.method", "http.method"),
    _text("http_route", "http.route"),
    _whole("http_response_status_code", "http.response.status_code", "http.status_code"),
    _text("url_path", "url.path", "http.target"),
    _text("server_address", "server.address", "net.peer.name", "http.host"),
    _whole("server_port", "server.port", "net.peer.port"),
    _text(ERROR_TYPE, "error.type"),
    _text("db_system_name", "db.system.name", "db.system"),
    _text("db_namespace", "db.namespace", "db.name"),
    _text("db_operation_name", "db.operation.name", "db.operation"),
    _text("db_collection_name", "db.collection.name", "db.sql.table"),
    _text("rpc_system", "rpc.system.name", "rpc.system"),
    _text("rpc_method", "rpc.method"),
    _text("messaging_system", "messaging.system"),
    _text(GEN_AI_OPERATION_NAME, "gen_ai.operation.name"),
    _text(GEN_AI_PROVIDER_NAME, "gen_ai.provider.name", "gen_ai.system"),
    _text(GEN_AI_REQUEST_MODEL, "gen_ai.request.model"),
    _text(GEN_AI_RESPONSE_MODEL, "gen_ai.response.model"),
    _text("gen_ai_response_id", "gen_ai.response.id"),
    _text("gen_ai_conversation_id", "gen_ai.conversation.id"),
    _text("gen_ai_agent_name", "gen_ai.agent.name"),
    _text("gen_ai_tool_name", "gen_ai.tool.name"),
    _text("finish_reasons", "gen_ai.response.finish_reasons"),
    _whole(INPUT_TOKENS, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    _whole(OUTPUT_TOKENS, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    _whole(
        CACHE_READ_TOKENS,
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
    ),
    _whole(
        CACHE_WRITE_TOKENS,
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
    ),
    _whole(
        REASONING_TOKENS,
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
    ),
    _real("time_to_first_token_s", "gen_ai.response.time_to_first_chunk", "gen_ai.server.ttft"),
    _text("prompt_name", "gen_ai.prompt.name"),
    _text("prompt_version", "gen_ai.prompt.version"),
    _text("session_id", "session.id", "gen_ai.conversation.id"),
    _text("user_id", "user.id", "enduser.id"),
    _real(
        COST_REPORTED_USD,
        "gen_ai.usage.cost.amount",
        "gen_ai.usage.cost",
        "gen_ai.usage.total_cost",
    ),
)

_PROMOTED = {p.column: p.type for p in PROMOTIONS if p.column != COST_REPORTED_USD}


def _promoted(first: str, last: str) -> list[pa.Field]:
    names = list(_PROMOTED)
    chosen = names[names.index(first) : names.index(last) + 1]
    return [pa.field(name, _PROMOTED[name]) for name in chosen]


SPAN_SCHEMA: Final = pa.schema(
    [
        pa.field(TRACE_ID, pa.binary(16)),
        pa.field(SPAN_ID, pa.binary(8)),
        pa.field(PARENT_SPAN_ID, pa.binary(8)),
        pa.field(TRACE_STATE, pa.string()),
        pa.field(FLAGS, pa.int64()),
        pa.field(IS_ROOT, pa.bool_()),
        pa.field(START_TIME, TIMESTAMP),
        pa.field(START_TIME_UNIX_NANO, pa.int64()),
        pa.field(DURATION_NS, pa.int64()),
        pa.field(INGEST_TIME, TIMESTAMP),
        *_promoted(SERVICE_NAME, "k8s_pod"),
        pa.field(NAME, pa.string()),
        pa.field(KIND, pa.string()),
        pa.field(STATUS_CODE, pa.string()),
        pa.field(STATUS_MESSAGE, pa.string()),
        pa.field(SCOPE_NAME, pa.string()),
        pa.field(SCOPE_VERSION, pa.string()),
        *_promoted("http_request_method", "user_id"),
        pa.field(COST_USD, MONEY),
        pa.field(COST_INPUT_USD, MONEY),
        pa.field(COST_OUTPUT_USD, MONEY),
        pa.field(COST_REPORTED_USD, pa.float64()),
        pa.field(COST_STATUS, pa.string()),
        pa.field(PRICE_VERSION, pa.string()),
        pa.field(SAMPLE_WEIGHT, pa.float64()),
        pa.field(SAMPLE_REASON, pa.string()),
        pa.field(REDACTION_COUNT, pa.int32()),
        pa.field(REDACTION_VERSION, pa.string()),
        pa.field(SOURCE_ID, pa.string()),
        pa.field(BATCH_SEQ, pa.int64()),
        pa.field(ATTRIBUTES, STRING_MAP),
        pa.field(NON_STRING_TYPES, STRING_MAP),
        pa.field(RESOURCE_ATTRIBUTES, STRING_MAP),
        pa.field(RESOURCE_NON_STRING_TYPES, STRING_MAP),
        pa.field(RESOURCE_DROPPED_ATTRIBUTES_COUNT, pa.int64()),
        pa.field(RESOURCE_SCHEMA_URL, pa.string()),
        pa.field(SCOPE_ATTRIBUTES, STRING_MAP),
        pa.field(SCOPE_NON_STRING_TYPES, STRING_MAP),
        pa.field(SCOPE_DROPPED_ATTRIBUTES_COUNT, pa.int64()),
        pa.field(SCOPE_SCHEMA_URL, pa.string()),
        pa.field(EVENTS, pa.list_(EVENT)),
        pa.field(EVENTS_COUNT, pa.int32()),
        pa.field(LINKS, pa.list_(LINK)),
        pa.field(DROPPED_ATTRIBUTES_COUNT, pa.int64()),
        pa.field(DROPPED_EVENTS_COUNT, pa.int64()),
        pa.field(DROPPED_LINKS_COUNT, pa.int64()),
    ],
)
