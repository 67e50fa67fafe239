"""Spans for the lake's scale benchmark: a shop of twelve services, made column by column.

Traces of ten spans over three to six services: requests, SQL, messages, cache look-ups, and one
span in ten an LLM call with a prompt of 60 words. Ids, prompts, request ids and times are new in
every batch; keys, names, routes, models and 400 tenants repeat, as they do in production.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.batch import SpanBatch
from collector.otlp.promotion import Promoter
from tests.bench.payloads import WORDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRACE_SPANS: Final = 10
TENANTS: Final = 400
_PROMPT_WORDS: Final = 60
_ERROR_SHARE: Final = 0.02
# what stands in a template instead of a value
_REQUEST, _TENANT, _COUNT, _PROMPT = "<request>", "<tenant>", "<count>", "<prompt>"
_COUNTS: Final = 5000
_COMMON: Final = (("tenant.id", _TENANT), ("app.request.id", _REQUEST), ("thread.id", _COUNT))
_INT_KEYS: Final = frozenset(
    {
        "http.response.status_code",
        "server.port",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "thread.id",
        "app.retries",
        "messaging.message.body.size",
    }
)


@dataclass(frozen=True, slots=True)
class _Operation:
    """One kind of span; ``typical_us`` is its median duration."""

    service: str
    name: str
    kind: str
    typical_us: float
    attributes: tuple[tuple[str, str], ...]


def _web(service: str, method: str, route: str, typical_us: float) -> _Operation:
    return _Operation(
        service,
        f"{method} {route}",
        "SERVER",
        typical_us,
        (
            ("http.request.method", method),
            ("http.route", route),
            ("url.path", _REQUEST),
            ("http.response.status_code", "200"),
            ("server.address", f"{service}.shop.internal"),
            ("server.port", "8080"),
            ("network.protocol.version", "1.1"),
            ("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"),
            *_COMMON,
        ),
    )


def _sql(service: str, verb: str, table: str, typical_us: float) -> _Operation:
    return _Operation(
        service,
        f"{verb} {table}",
        "CLIENT",
        typical_us,
        (
            ("db.system.name", "postgresql"),
            ("db.namespace", "shop"),
            ("db.operation.name", verb),
            ("db.collection.name", table),
            ("db.query.text", f"{verb} … {table} WHERE id = ? AND tenant = ? LIMIT ?"),
            ("server.address", "pg-main.shop.internal"),
            ("server.port", "5432"),
            *_COMMON,
        ),
    )


def _llm(service: str, provider: str, model: str, typical_us: float) -> _Operation:
    return _Operation(
        service,
        f"chat {model}",
        "CLIENT",
        typical_us,
        (
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", provider),
            ("gen_ai.request.model", model),
            ("gen_ai.response.model", model),
            ("gen_ai.response.id", _REQUEST),
            ("gen_ai.usage.input_tokens", _COUNT),
            ("gen_ai.usage.output_tokens", _COUNT),
            ("gen_ai.input.messages", _PROMPT),
            ("server.address", f"api.{provider}.com"),
            *_COMMON,
        ),
    )


def _work(service: str, name: str, typical_us: float) -> _Operation:
    where = ("code.function.name", name.replace(" ", "_"))
    return _Operation(
        service, name, "INTERNAL", typical_us, (where, ("app.retries", _COUNT), *_COMMON)
    )


def _message(service: str, topic: str, kind: str, typical_us: float) -> _Operation:
    return _Operation(
        service,
        f"{'send' if kind == 'PRODUCER' else 'process'} {topic}",
        kind,
        typical_us,
        (
            ("messaging.system", "kafka"),
            ("messaging.destination.name", topic),
            ("messaging.message.body.size", _COUNT),
            *_COMMON,
        ),
    )


_OPERATIONS: Final = (
    _web("gateway", "GET", "/", 900),
    _web("gateway", "GET", "/search", 45_000),
    _web("gateway", "POST", "/checkout", 180_000),
    _web("gateway", "POST", "/chat", 2_200_000),
    _web("catalog", "GET", "/products/{id}", 8_000),
    _web("catalog", "GET", "/categories", 3_000),
    _web("cart", "GET", "/carts/{id}", 4_000),
    _web("cart", "PUT", "/carts/{id}/items", 9_000),
    _web("checkout", "POST", "/orders", 120_000),
    _web("payment", "POST", "/charges", 90_000),
    _web("shipping", "GET", "/quotes", 30_000),
    _web("search", "GET", "/query", 25_000),
    _web("profile", "GET", "/users/{id}", 3_000),
    _web("assistant", "POST", "/answers", 2_000_000),
    _web("recommender", "GET", "/recommendations/{id}", 15_000),
    _web("inventory", "GET", "/stock/{sku}", 2_500),
    _sql("catalog", "SELECT", "products", 1_800),
    _sql("cart", "UPDATE", "carts", 2_600),
    _sql("checkout", "INSERT", "orders", 3_500),
    _sql("payment", "INSERT", "charges", 3_100),
    _sql("profile", "SELECT", "users", 900),
    _sql("inventory", "SELECT", "stock", 700),
    _llm("assistant", "openai", "gpt-4o", 1_400_000),
    _llm("assistant", "anthropic", "claude-sonnet-4-5", 1_800_000),
    _llm("search", "openai", "gpt-4o-mini", 400_000),
    _work("gateway", "check token", 300),
    _work("search", "rank results", 6_000),
    _work("recommender", "score candidates", 9_000),
    _work("assistant", "build context", 12_000),
    _work("checkout", "compute totals", 800),
    _message("checkout", "orders", "PRODUCER", 1_200),
    _message("mailer", "orders", "CONSUMER", 60_000),
    _message("shipping", "orders", "CONSUMER", 40_000),
)
# ten operations a trace: positions in the tuple above
_SHAPES: Final = np.array(
    [
        [0, 25, 12, 20, 5, 16, 14, 27, 15, 24],
        [1, 25, 11, 26, 4, 16, 15, 21, 24, 14],
        [2, 25, 8, 29, 9, 19, 18, 30, 31, 32],
        [3, 25, 13, 28, 12, 20, 22, 22, 4, 16],
        [3, 25, 13, 28, 12, 20, 23, 6, 17, 4],
        [2, 25, 6, 17, 7, 15, 21, 10, 8, 18],
    ]
)
_SHAPE_SHARES: Final = (0.3, 0.25, 0.15, 0.1, 0.1, 0.1)


class ShopSpans:
    """Makes batches; the same seed makes the same ones."""

    def __init__(self, seed: int, source_id: str) -> None:
        """Lay out the templates."""
        self._rng = np.random.default_rng(seed)
        self._source_id = source_id
        self._seq = 0
        self._promoter = Promoter(SpanBatch)
        flat = [pair for operation in _OPERATIONS for pair in operation.attributes]
        self._keys = pa.array([key for key, _ in flat], pa.string())
        self._values = [value for _, value in flat]
        self._lengths = np.array([len(one.attributes) for one in _OPERATIONS])
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._types = pa.array(
            [
                [(key, "int") for key, _ in one.attributes if key in _INT_KEYS]
                for one in _OPERATIONS
            ],
            s.STRING_MAP,
        )
        self._resources = pa.array([_resource(one.service) for one in _OPERATIONS], s.STRING_MAP)
        self._typical_ns = np.array([one.typical_us for one in _OPERATIONS]) * 1000
        self._words = pa.array(WORDS, pa.string())

    def batch(self, traces: int, first_us: int, last_us: int) -> SpanBatch:
        """Return whole traces that begin evenly between the times, in that order."""
        rng, rows = self._rng, traces * TRACE_SPANS
        self._seq += 1
        shapes = rng.choice(len(_SHAPES), traces, p=_SHAPE_SHARES)
        operation = _SHAPES[shapes].ravel()
        position = np.tile(np.arange(TRACE_SPANS), traces)
        begin = np.linspace(first_us, last_us, traces, endpoint=False).astype(np.int64)
        start = np.repeat(begin, TRACE_SPANS) * 1000 + position * rng.integers(1, 900_000, rows)
        duration = self._typical_ns[operation] * rng.lognormal(0, 0.6, rows)
        is_error = rng.random(rows) < _ERROR_SHARE
        ids = _fixed(rng, traces, 16).take(pa.array(np.repeat(np.arange(traces), TRACE_SPANS)))
        spans = _fixed(rng, rows, 8)
        parent = np.maximum(np.arange(rows) - rng.integers(1, 3, rows), 0)
        parent = np.maximum(parent, np.arange(rows) - position)
        op = pa.array(operation)
        columns = {
            s.TRACE_ID: ids,
            s.SPAN_ID: spans,
            s.PARENT_SPAN_ID: spans.take(pa.array(parent, mask=position == 0)),
            s.FLAGS: _same(257, pa.int64(), rows),
            s.IS_ROOT: pa.array(position == 0),
            s.START_TIME: pa.array(start // 1000).cast(s.TIMESTAMP),
            s.START_TIME_UNIX_NANO: pa.array(start),
            s.DURATION_NS: pa.array(duration.astype(np.int64)),
            s.INGEST_TIME: _same(last_us + 1_000_000, pa.int64(), rows).cast(s.TIMESTAMP),
            s.NAME: _of(op, [one.name for one in _OPERATIONS]),
            s.KIND: _of(op, [one.kind for one in _OPERATIONS]),
            s.STATUS_CODE: pa.array(["UNSET", "ERROR"]).take(pa.array(is_error.astype(np.int8))),
            s.SCOPE_NAME: _same("opentelemetry.instrumentation.shop", pa.string(), rows),
            s.SCOPE_VERSION: _same("0.66b0", pa.string(), rows),
            s.SAMPLE_WEIGHT: pa.array(np.ones(rows)),
            s.SAMPLE_REASON: _same("always", pa.string(), rows),
            s.REDACTION_COUNT: pa.array((rng.random(rows) < 0.1).astype(np.int32)),
            s.REDACTION_VERSION: _same("2026-11-1.0badc0de", pa.string(), rows),
            s.SOURCE_ID: _same(self._source_id, pa.string(), rows),
            s.BATCH_SEQ: _same(self._seq, pa.int64(), rows),
            s.ATTRIBUTES: self._attributes(operation),
            s.NON_STRING_TYPES: self._types.take(op),
            s.RESOURCE_ATTRIBUTES: self._resources.take(op),
            s.RESOURCE_DROPPED_ATTRIBUTES_COUNT: _same(0, pa.int64(), rows),
            s.EVENTS: _events(start, is_error),
            s.EVENTS_COUNT: pa.array(is_error.astype(np.int32)),
            s.DROPPED_ATTRIBUTES_COUNT: _same(0, pa.int64(), rows),
            s.DROPPED_EVENTS_COUNT: _same(0, pa.int64(), rows),
            s.DROPPED_LINKS_COUNT: _same(0, pa.int64(), rows),
        }
        return self._promoter.process(SpanBatch.from_columns(columns, rows))

    def _attributes(self, operation: NDArray[np.intp]) -> pa.Array:
        """Return each span's template with its placeholders filled."""
        rng, rows = self._rng, len(operation)
        lengths = self._lengths[operation]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(self._starts[operation] - offsets[:-1], lengths) + np.arange(offsets[-1])
        row_of = np.repeat(np.arange(rows), lengths)
        constants = pa.array(self._values, pa.string())
        is_prompt = np.array(self._values) == _PROMPT
        prompts = np.flatnonzero(is_prompt[places])
        tenant = np.repeat(rng.zipf(1.3, rows // TRACE_SPANS) % TENANTS, TRACE_SPANS)
        fresh = {
            _REQUEST: (_hexadecimal(rng, rows), row_of),
            _TENANT: (pa.array([f"tenant-{n:04}" for n in range(TENANTS)]), tenant[row_of]),
            _COUNT: (pa.array(map(str, range(_COUNTS))), rng.integers(0, _COUNTS, len(places))),
            _PROMPT: (self._prompts(len(prompts)), np.zeros(len(places), np.int64)),
        }
        fresh[_PROMPT][1][prompts] = np.arange(len(prompts))
        codes, pool = places.copy(), [constants]
        for placeholder, (values, code) in fresh.items():
            is_it = np.array([value == placeholder for value in self._values])[places]
            codes[is_it] = sum(map(len, pool)) + code[is_it]
            pool.append(values)
        return pa.MapArray.from_arrays(
            pa.array(offsets, pa.int32()),
            self._keys.take(pa.array(places)),
            pa.concat_arrays(pool).take(pa.array(codes)),
        )

    def _prompts(self, count: int) -> pa.Array:
        words = self._words.take(
            pa.array(self._rng.integers(0, len(self._words), count * _PROMPT_WORDS))
        )
        offsets = np.arange(count + 1, dtype=np.int32) * _PROMPT_WORDS
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), words), " ")


def _resource(service: str) -> list[tuple[str, str]]:
    return [
        ("service.name", service),
        ("service.version", "2.14.1"),
        ("service.instance.id", f"{service}-7d9f8c6b5-x2x9p"),
        ("deployment.environment.name", "production"),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", f"{service}-7d9f8c6b5-x2x9p"),
        ("telemetry.sdk.language", "python"),
    ]


def _events(start: NDArray[np.int64], has_event: NDArray[np.bool_]) -> pa.Array:
    times = start[has_event] + 1000
    count = len(times)
    attributes = [
        ("exception.type", "TimeoutError"),
        ("exception.message", "upstream did not answer"),
        ("exception.stacktrace", 'File "app.py", line 7, in handle\n' * 6),
    ]
    fields = list(s.EVENT)
    columns = [
        pa.array(times),
        _same("exception", pa.string(), count),
        pa.array([attributes], s.STRING_MAP).take(pa.array(np.zeros(count, np.int8))),
        pa.nulls(count, s.STRING_MAP),
        _same(0, pa.int64(), count),
    ]
    offsets = np.concatenate([[0], np.cumsum(has_event)]).astype(np.int32)
    each = pa.StructArray.from_arrays(columns, fields=fields)
    return pa.ListArray.from_arrays(pa.array(offsets), each).cast(pa.list_(s.EVENT))


def _fixed(rng: np.random.Generator, rows: int, width: int) -> pa.Array:
    data = pa.py_buffer(rng.bytes(rows * width))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, data])


def _hexadecimal(rng: np.random.Generator, rows: int) -> pa.Array:
    text = rng.bytes(rows * 8).hex().encode()
    offsets = np.arange(rows + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))


def _of(codes: pa.Array, values: list[str]) -> pa.Array:
    return pa.array(values, pa.string()).take(codes)


def _same(value: str | int, kind: pa.DataType, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), rows)
