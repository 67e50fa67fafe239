"""What the load generator sends: OTLP requests, serialised beforehand, never the same bytes twice.

A *template* is one serialised request with the places of its ids and nonces. Sending it XORs
those places with a mask of its own, so every request has trace ids, span ids, prompts, response
ids, paths and e-mail addresses that no request had before, for about 0.2 µs a span of work.

What does repeat, because it repeats in production too: keys, span names, routes, models, SQL
statements, service and scope names. What repeats although it would not in production: the words
around a prompt's nonce (each of the templates has its own), card numbers and keys (of a small
set), token counts and times. No prompt is ever seen twice as a whole, so a redaction cache gets
no hit on it.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Profile = Literal["llm", "web"]

NONCE_LENGTH: Final = 10
# 'p' to 'w' is 0x70 to 0x77: XOR with three bits stays inside, so a nonce stays plain letters.
NONCE_LETTERS: Final = "pqrstuvw"
_TEXT: Final = (
    "please summarise the following customer message and list open questions about the delivery "
    "of an order that was placed last week while the warehouse in the north was closed because "
    "of snow then suggest a friendly answer in simple words that explains what happens next and "
    "offers a refund or a replacement whichever arrives first include the policy on returns and "
    "mention that support is reachable every day until late evening compare both options in one "
    "short table before writing the final text keep the tone calm and avoid any legal promise "
    "translate product names only when a local name exists and quote the original otherwise"
)
WORDS: Final = tuple(_TEXT.split())
MODELS: Final = (
    ("openai", "gpt-4o", "gpt-4o-2024-08-06"),
    ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("anthropic", "claude-sonnet-4-20250514", "claude-sonnet-4-20250514"),
    ("mistral_ai", "mistral-large-latest", "mistral-large-latest"),
)
ROUTES: Final = ("/api/orders/{id}", "/api/users/{id}/cart", "/api/search", "/api/chat", "/health")
STATEMENTS: Final = (
    ("SELECT", "orders", "SELECT id, state, total FROM orders WHERE customer_id = $1 LIMIT 50"),
    ("SELECT", "products", "SELECT * FROM products WHERE sku = ANY($1) AND active"),
    ("INSERT", "audit_log", "INSERT INTO audit_log (actor, action, at) VALUES ($1, $2, now())"),
    ("UPDATE", "carts", "UPDATE carts SET updated_at = now(), items = $2 WHERE id = $1"),
)
CARDS: Final = ("4111 1111 1111 1111", "5555555555554444", "4012-8888-8888-1881")
# split so that secret scanners of this repository do not take them for real ones
KEYS: Final = (
    "sk-" + "proj-a8Kd03LqPz7Rm5Xw2TnBv6Yc",
    "ghp" + "_1aB2cD3eF4gH5iJ6kL7mN8oP9qR0sT1uV2wX",
)
_TRACE_LANES: Final = range(16)
_SPAN_LANES: Final = range(16, 24)
_NONCE_LANES: Final = range(24, 24 + NONCE_LENGTH)


@dataclass(frozen=True, slots=True)
class Template:
    """One serialised request; ``positions[i]`` is XORed with the mask's byte ``lanes[i]``."""

    payload: NDArray[np.uint8]
    positions: NDArray[np.intp]
    lanes: NDArray[np.intp]
    spans: int

    def render(self, mask: NDArray[np.uint8]) -> bytes:
        """Return the request with ids and nonces of this mask's own."""
        fresh = self.payload.copy()
        fresh[self.positions] ^= mask[self.lanes]
        return fresh.tobytes()


def build_templates(profile: Profile, *, spans: int, count: int, seed: int) -> list[Template]:
    """Return ``count`` distinct templates of ``spans`` spans each; the same seed, the same ones."""
    writer = _Writer(random.Random(seed), profile)
    return [writer.template(spans) for _ in range(count)]


def masks(seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield masks for ever; two of them never agree in the trace, the span or the nonce part.

    A counter in each part guarantees that; the rest is random, as ids are.
    """
    generator = np.random.default_rng(seed)
    shifts = np.arange(NONCE_LENGTH) * 3
    for number in itertools.count(1):
        mask = generator.integers(0, 256, 24 + NONCE_LENGTH, dtype=np.uint8)
        counter = np.frombuffer(number.to_bytes(4, "big"), np.uint8)
        mask[12:16] = counter
        mask[20:24] = counter
        mask[24:] = (number >> shifts) & 7
        yield mask


def attribute(key: str, value: str | float | bool | list[str]) -> KeyValue:
    """Return an OTLP attribute of the value's own type."""
    if isinstance(value, bool):
        return KeyValue(key=key, value=AnyValue(bool_value=value))
    if isinstance(value, str):
        return KeyValue(key=key, value=AnyValue(string_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    if isinstance(value, float):
        return KeyValue(key=key, value=AnyValue(double_value=value))
    array = ArrayValue(values=[AnyValue(string_value=item) for item in value])
    return KeyValue(key=key, value=AnyValue(array_value=array))


class _Writer:
    """Builds traces of a service that answers web requests, with LLM calls in profile ``llm``."""

    def __init__(self, rng: random.Random, profile: Profile) -> None:
        self._rng = rng
        self._profile = profile
        self._marks: list[tuple[bytes, range]] = []

    def template(self, spans: int) -> Template:
        """Return one request of ``spans`` spans: traces of ten, the last one cut short."""
        self._marks = []
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.extend(
            [
                attribute("service.name", "shop-assistant"),
                attribute("service.version", "2.14.1"),
                attribute("service.instance.id", "shop-assistant-7d9f8c6b5-x2x9p"),
                attribute("deployment.environment.name", "production"),
                attribute("telemetry.sdk.language", "python"),
                attribute("telemetry.sdk.name", "opentelemetry"),
                attribute("telemetry.sdk.version", "1.45.0"),
            ],
        )
        scopes: dict[str, ScopeSpans] = {}
        for scope, span in itertools.islice(self._traces(), spans):
            if scope not in scopes:
                scopes[scope] = resource.scope_spans.add()
                scopes[scope].scope.name = f"opentelemetry.instrumentation.{scope}"
                scopes[scope].scope.version = "0.66b0"
            scopes[scope].spans.append(span)
        return self._locate(request.SerializeToString(), spans)

    def _locate(self, payload: bytes, spans: int) -> Template:
        # Every mark is found by its first eight bytes, all of them in one pass: a search for
        # each takes 0.1 s a template.
        lanes_by_head = {int.from_bytes(mark[:8], "little"): lanes for mark, lanes in self._marks}
        source = np.frombuffer(payload, np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(source, 8)
        heads = np.ascontiguousarray(windows).view("<u8").ravel()
        hits = np.flatnonzero(np.isin(heads, np.array(list(lanes_by_head), np.uint64)))
        positions: list[int] = []
        lanes: list[int] = []
        for hit in hits.tolist():
            found = lanes_by_head[int(heads[hit])]
            positions.extend(range(hit, hit + len(found)))
            lanes.extend(found)
        return Template(source, np.array(positions, np.intp), np.array(lanes, np.intp), spans)

    def _id(self, lanes: range) -> bytes:
        value = self._rng.randbytes(len(lanes))
        self._marks.append((value, lanes))
        return value

    def _nonce(self) -> str:
        value = "".join(self._rng.choices(NONCE_LETTERS, k=NONCE_LENGTH))
        self._marks.append((value.encode(), _NONCE_LANES))
        return value

    def _traces(self) -> Iterator[tuple[str, Span]]:
        calls = ["llm", "llm", "llm"] if self._profile == "llm" else ["http", "db", "internal"]
        while True:
            trace_id = self._id(_TRACE_LANES)
            start = time.time_ns() - self._rng.randrange(30 * 10**9)
            root = self._span(trace_id, b"", start)
            self._fill_server(root)
            yield "fastapi", root
            kinds = [*calls, "db", "db", "db", "http", "http", "internal"]
            self._rng.shuffle(kinds)
            for kind in kinds:
                start += self._rng.randrange(2_000_000)
                span = self._span(trace_id, root.span_id, start)
                scope = getattr(self, f"_fill_{kind}")(span)
                yield scope, span

    def _span(self, trace_id: bytes, parent: bytes, start: int) -> Span:
        return Span(
            trace_id=trace_id,
            span_id=self._id(_SPAN_LANES),
            parent_span_id=parent,
            flags=0x100,
            start_time_unix_nano=start,
            end_time_unix_nano=start + int(self._rng.lognormvariate(16, 1.2)),
        )

    def _fill_server(self, span: Span) -> None:
        route = self._rng.choice(ROUTES)
        method = "POST" if route == "/api/chat" else "GET"
        failed = self._rng.random() < 0.04
        span.name = f"{method} {route}"
        span.kind = Span.SPAN_KIND_SERVER
        path = route.replace("{id}", self._nonce())
        span.attributes.extend(
            [
                attribute("http.request.method", method),
                attribute("http.route", route),
                attribute("url.path", path),
                attribute("url.scheme", "https"),
                attribute("http.response.status_code", 500 if failed else 200),
                attribute("server.address", "shop.example.com"),
                attribute("server.port", 443),
                attribute("network.protocol.version", "1.1"),
                attribute("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Firefox/142.0"),
                attribute("client.address", f"10.{self._rng.randrange(8)}.3.7"),
            ],
        )
        if self._rng.random() < 0.1:
            query = f"q=boots&contact={self._nonce()}%40example.com"
            span.attributes.append(attribute("url.query", query))
        if failed:
            self._record_exception(span)

    def _record_exception(self, span: Span) -> None:
        message = f"no stock for order {self._nonce()}"
        if self._rng.random() < 0.5:
            message += f" of {self._nonce()}@example.org"
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=message))
        event = span.events.add(name="exception", time_unix_nano=span.end_time_unix_nano)
        frames = "".join(
            f'  File "/srv/shop/{module}.py", line {line}, in handle\n    return step(order)\n'
            for module, line in (("routes", 88), ("orders", 214), ("stock", 42))
        )
        trace = f"Traceback (most recent call last):\n{frames}LookupError: {message}\n"
        event.attributes.extend(
            [
                attribute("exception.type", "LookupError"),
                attribute("exception.message", message),
                attribute("exception.stacktrace", trace),
            ],
        )

    def _fill_db(self, span: Span) -> str:
        operation, table, statement = self._rng.choice(STATEMENTS)
        span.name = f"{operation} {table}"
        span.kind = Span.SPAN_KIND_CLIENT
        span.attributes.extend(
            [
                attribute("db.system.name", "postgresql"),
                attribute("db.namespace", "shop"),
                attribute("db.operation.name", operation),
                attribute("db.collection.name", table),
                attribute("db.query.text", statement),
                attribute("server.address", "orders-db.internal"),
                attribute("server.port", 5432),
            ],
        )
        return "psycopg"

    def _fill_http(self, span: Span) -> str:
        span.name = "GET"
        span.kind = Span.SPAN_KIND_CLIENT
        span.attributes.extend(
            [
                attribute("http.request.method", "GET"),
                attribute(
                    "url.full", f"https://stock.internal/v2/items/{self._nonce()}?fields=all"
                ),
                attribute("server.address", "stock.internal"),
                attribute("server.port", 443),
                attribute("http.response.status_code", 200),
                attribute("http.response.body.size", self._rng.randrange(200, 9000)),
                attribute("network.peer.address", "10.0.4.19"),
            ],
        )
        return "httpx"

    def _fill_internal(self, span: Span) -> str:
        span.name = "render_answer"
        span.kind = Span.SPAN_KIND_INTERNAL
        span.attributes.extend(
            [
                attribute("code.function.name", "shop.answers.render_answer"),
                attribute("code.file.path", "/srv/shop/answers.py"),
                attribute("code.line.number", 61),
                attribute("app.cache_hit", self._rng.random() < 0.5),
                attribute("app.template", self._rng.choice(("short", "long", "table"))),
            ],
        )
        return "shop"

    def _fill_llm(self, span: Span) -> str:
        provider, model, answered = self._rng.choice(MODELS)
        span.name = f"chat {model}"
        span.kind = Span.SPAN_KIND_CLIENT
        question = [{"type": "text", "content": self._prompt()}]
        answer = [{"type": "text", "content": self._text(50)}]
        span.attributes.extend(
            [
                attribute("gen_ai.operation.name", "chat"),
                attribute("gen_ai.provider.name", provider),
                attribute("gen_ai.request.model", model),
                attribute("gen_ai.response.model", answered),
                attribute("gen_ai.response.id", f"chatcmpl-{self._nonce()}"),
                attribute("gen_ai.response.finish_reasons", ["stop"]),
                attribute("gen_ai.request.temperature", 0.2),
                attribute("gen_ai.usage.input_tokens", self._rng.randrange(60, 4000)),
                attribute("gen_ai.usage.output_tokens", self._rng.randrange(10, 800)),
                attribute("gen_ai.conversation.id", f"conv-{self._nonce()}"),
                attribute("gen_ai.input.messages", _message("user", question)),
                attribute("gen_ai.output.messages", _message("assistant", answer)),
                attribute("server.address", f"api.{provider}.com"),
            ],
        )
        return "openai_v2"

    def _text(self, length: int) -> str:
        words = self._rng.choices(WORDS, k=length)
        words[self._rng.randrange(length)] = self._nonce()
        return " ".join(words)

    def _prompt(self) -> str:
        words = self._text(59).split()
        chance = self._rng.random()
        extra = self._rng.choice(WORDS)
        if chance < 0.08:
            extra = f"{self._nonce()}@example.com"
        elif chance < 0.10:
            extra = f"card {self._rng.choice(CARDS)}"
        elif chance < 0.11:
            extra = f"key {self._rng.choice(KEYS)}"
        return " ".join([*words[:30], extra, *words[30:]])


def _message(role: str, parts: list[dict[str, str]]) -> str:
    return json.dumps([{"role": role, "parts": parts}])
