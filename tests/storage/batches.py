"""Realistic span batches without the decoder: 12 attributes each, 30 % LLM spans with a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collector.model import schema as s
from collector.model.batch import SpanBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

BASE_US = 1_700_000_000_000_000
"""Start time of the first span of batch 0, µs: 2023-11-14 22:13:20 UTC."""

_WORDS = np.array(
    [
        "the", "invoice", "model", "please", "refund", "summarise", "order", "for", "with", "a",
        "customer", "late", "parcel", "and", "answer", "kindly", "policy", "about", "return",
        "shipped", "status", "delivery", "question", "tomorrow", "account",
    ],
)  # fmt: skip
_WEB_KEYS = (
    "http.request.method", "http.route", "http.response.status_code", "url.path",
    "server.address", "server.port", "network.protocol.version", "user_agent.original",
    "client.port", "thread.id", "code.function.name", "app.request.id",
)  # fmt: skip
_LLM_KEYS = (
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model",
    "gen_ai.response.model", "gen_ai.response.id", "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens", "gen_ai.request.temperature", "server.address",
    "gen_ai.input.messages", "session.id", "user.id",
)  # fmt: skip
_RESOURCE = {
    "service.name": "checkout",
    "service.version": "1.4.2",
    "service.instance.id": "checkout-7d9f",
    "k8s.namespace.name": "shop",
    "k8s.pod.name": "checkout-7d9f-abcde",
    "telemetry.sdk.language": "python",
}


def make_batch(rows: int = 512, seed: int = 0, base_us: int = BASE_US) -> SpanBatch:
    """Return ``rows`` spans within one second of ``base_us``, the same ones for the same seed.

    Ids are unique over seeds. One in five spans has an event, one in twenty a link.
    """
    rng = np.random.default_rng(seed)
    nanos = (base_us + np.sort(rng.integers(0, 1_000_000, rows))) * 1000 + 7
    is_llm = rng.random(rows) < 0.3
    is_root = rng.random(rows) < 0.2
    parents = _ids(rng, rows, 8)
    columns = {
        s.TRACE_ID: _ids(rng, rows, 16),
        s.SPAN_ID: _ids(rng, rows, 8),
        s.PARENT_SPAN_ID: pa.array(
            [None if root else p for root, p in zip(is_root, parents.to_pylist(), strict=True)],
            pa.binary(8),
        ),
        s.FLAGS: pa.array(np.full(rows, 257)),
        s.IS_ROOT: pa.array(is_root),
        s.START_TIME: pa.array(nanos // 1000, pa.int64()).cast(s.TIMESTAMP),
        s.START_TIME_UNIX_NANO: pa.array(nanos),
        s.DURATION_NS: pa.array(rng.integers(10_000, 5_000_000_000, rows)),
        s.INGEST_TIME: pa.array(np.full(rows, base_us + 2_000_000)).cast(s.TIMESTAMP),
        s.NAME: _choice(rng, rows, [f"GET /api/v1/resource{i}/{{id}}" for i in range(20)]),
        s.KIND: _choice(rng, rows, ["SERVER", "CLIENT", "INTERNAL"]),
        s.STATUS_CODE: _choice(rng, rows, ["UNSET", "OK", "ERROR"]),
        s.SCOPE_NAME: _same(rows, "opentelemetry.instrumentation.fastapi"),
        s.SCOPE_VERSION: _same(rows, "0.51b0"),
        s.SERVICE_NAME: _same(rows, "checkout"),
        "service_version": _same(rows, "1.4.2"),
        "service_instance_id": _same(rows, "checkout-7d9f"),
        "k8s_namespace": _same(rows, "shop"),
        "k8s_pod": _same(rows, "checkout-7d9f-abcde"),
        "http_route": _choice(rng, rows, [f"/api/v1/resource{i}/{{id}}" for i in range(20)]),
        "server_port": pa.array(np.where(is_llm, 443, 8080), mask=rng.random(rows) < 0.2),
        s.GEN_AI_REQUEST_MODEL: pa.array(np.where(is_llm, "gpt-4o", ""), pa.string(), mask=~is_llm),
        s.INPUT_TOKENS: pa.array(rng.integers(10, 5000, rows), mask=~is_llm),
        s.OUTPUT_TOKENS: pa.array(rng.integers(10, 900, rows), mask=~is_llm),
        s.COST_USD: pa.array(np.where(is_llm, 12345, 0), mask=~is_llm)
        .cast(pa.decimal128(28, 9))
        .cast(s.MONEY),
        s.COST_STATUS: pa.array(np.where(is_llm, "priced", ""), pa.string(), mask=~is_llm),
        s.SAMPLE_WEIGHT: pa.array(np.ones(rows)),
        s.REDACTION_COUNT: pa.array(rng.integers(0, 2, rows), pa.int32()),
        s.REDACTION_VERSION: _same(rows, "2026-11-1"),
        s.ATTRIBUTES: _attributes(rng, is_llm),
        s.NON_STRING_TYPES: _types(is_llm),
        s.RESOURCE_ATTRIBUTES: pa.array([list(_RESOURCE.items())] * rows, s.STRING_MAP),
        s.RESOURCE_NON_STRING_TYPES: pa.array([[]] * rows, s.STRING_MAP),
        s.SCOPE_ATTRIBUTES: pa.array([[]] * rows, s.STRING_MAP),
        s.SCOPE_NON_STRING_TYPES: pa.array([[]] * rows, s.STRING_MAP),
        s.EVENTS: _events(nanos),
        s.EVENTS_COUNT: pa.array((np.arange(rows) % 5 == 0).astype(np.int32)),
        s.LINKS: _links(rows),
        s.DROPPED_ATTRIBUTES_COUNT: pa.array(np.zeros(rows, np.int64)),
        s.DROPPED_EVENTS_COUNT: pa.array(np.zeros(rows, np.int64)),
        s.DROPPED_LINKS_COUNT: pa.array(np.zeros(rows, np.int64)),
    }
    return SpanBatch.from_columns(columns, rows)


def start_at(batch: SpanBatch, start_us: list[int]) -> SpanBatch:
    """Return the batch with these start times, µs since 1970, one a row."""
    times = pa.array(start_us, pa.int64())
    return batch.replace(
        {
            s.START_TIME: times.cast(s.TIMESTAMP),
            s.START_TIME_UNIX_NANO: pa.array([value * 1000 for value in start_us], pa.int64()),
        },
    )


def _ids(rng: np.random.Generator, rows: int, width: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width),
        rows,
        [None, pa.py_buffer(rng.bytes(rows * width))],
    )


def _same(rows: int, value: str) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), rows)


def _choice(rng: np.random.Generator, rows: int, values: list[str]) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(rng.integers(0, len(values), rows)))


def _attributes(rng: np.random.Generator, is_llm: NDArray[np.bool_]) -> pa.Array:
    rows = []
    for llm in is_llm:
        number = str(rng.integers(0, 1 << 40))
        if llm:
            prompt = " ".join(rng.choice(_WORDS, 62))
            values = (
                "chat", "openai", "gpt-4o", "gpt-4o-2024-08-06", "chatcmpl-" + number, "812",
                "153", "0.2", "api.openai.com", prompt, "s-" + number, "u-" + number[:3],
            )  # fmt: skip
            rows.append(list(zip(_LLM_KEYS, values, strict=True)))
        else:
            values = (
                "GET", "/api/v1/resource7/{id}", "200", "/api/v1/resource7/" + number,
                "checkout.internal", "8080", "1.1", "Mozilla/5.0 (X11; Linux x86_64) curl",
                number[:5], number[:4], "handle_request", number,
            )  # fmt: skip
            rows.append(list(zip(_WEB_KEYS, values, strict=True)))
    return pa.array(rows, s.STRING_MAP)


def _types(is_llm: NDArray[np.bool_]) -> pa.Array:
    llm = [
        ("gen_ai.usage.input_tokens", "int"),
        ("gen_ai.usage.output_tokens", "int"),
        ("gen_ai.request.temperature", "double"),
    ]
    web = [("http.response.status_code", "int"), ("server.port", "int"), ("client.port", "int")]
    return pa.array([llm if flag else web for flag in is_llm], s.STRING_MAP)


def _events(nanos: NDArray[np.int64]) -> pa.Array:
    def event(start: int) -> dict[str, object]:
        return {
            "time_unix_nano": start + 1000,
            "name": "exception",
            "attributes": [
                ("exception.type", "ValueError"),
                ("exception.message", "bad amount"),
                ("exception.stacktrace", 'File "app.py", line 7, in handle\n' * 6),
            ],
            "non_string_types": [],
            "dropped_attributes_count": 0,
        }

    rows = [[event(int(start))] if i % 5 == 0 else [] for i, start in enumerate(nanos)]
    return pa.array(rows, pa.list_(s.EVENT))


def _links(rows: int) -> pa.Array:
    link = {
        "trace_id": b"t" * 16,
        "span_id": b"s" * 8,
        "trace_state": "",
        "flags": 0,
        "attributes": [("link.kind", "follows")],
        "non_string_types": [],
        "dropped_attributes_count": 0,
    }
    return pa.array([[link] if i % 20 == 0 else [] for i in range(rows)], pa.list_(s.LINK))
