"""The demo's app: a small shop with an assistant, instrumented with the OpenTelemetry SDK.

It makes traces of the past minute (start and end times are given, so nobody waits for them) and
exports them over OTLP/gRPC as any app does, to ``OTEL_EXPORTER_OTLP_ENDPOINT``. What it sent
stands on stdout, as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from collector.demo.planted import BY_NAME, EXHIBITS

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

TRACES: Final = 800
SEED: Final = 7
_MS: Final = 1_000_000
_FLUSH_MS: Final = 15_000
_PAST_NS: Final = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Model:
    """An LLM the shop calls; ``tokens`` is a typical prompt's length."""

    provider: str
    requested: str
    answered: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Route:
    """A page of the shop: how long it takes, its share of the traffic, which models it may ask."""

    method: str
    path: str
    typical_ms: float
    share: int
    models: tuple[Model, ...] = ()


_GPT: Final = Model("openai", "gpt-4o", "gpt-4o-2024-08-06", 2_400)
_MINI: Final = Model("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", 900)
_CLAUDE: Final = Model("anthropic", "claude-sonnet-4-20250514", "claude-sonnet-4-20250514", 5_200)
_OWN: Final = Model("in_house", "shop-llm-7b", "shop-llm-7b", 1_500)
_CHAT: Final = Route("POST", "/assistant/chat", 420, 25, (_GPT, _MINI, _CLAUDE, _OWN))
_CHECKOUT: Final = Route("POST", "/checkout", 180, 20)
_ROUTES: Final = (
    Route("GET", "/products/{id}", 35, 40),
    _CHAT,
    Route("GET", "/search", 90, 20, (_MINI,)),
    _CHECKOUT,
)
_EXCEPTIONS: Final = ("exception", "stacktrace")
_QUESTIONS: Final = (
    "Which boots are warm enough for the north in January?",
    "Compare these two tents for a family of four.",
    "My parcel says delivered, but it is not here.",
    "Can I return shoes that I wore once?",
)


class Shop:
    """Handles simulated requests, each a trace that ended within the past minute."""

    def __init__(self, tracer: Tracer, rng: random.Random) -> None:
        """Use this tracer; the same ``rng``, the same requests."""
        self._tracer = tracer
        self._rng = rng
        self.spans = 0

    def handle(self, exhibit: str = "") -> None:
        """Handle one request; with an exhibit, one that leaks it and is slow enough to be kept."""
        route = self._rng.choices(_ROUTES, [route.share for route in _ROUTES])[0]
        if exhibit:
            route = _CHAT if exhibit.startswith("prompt") else _CHECKOUT
        took = int(route.typical_ms * _MS * self._rng.lognormvariate(0, 0.55))
        if exhibit:
            took = max(took, 2_100 * _MS)
        start = time.time_ns() - took - self._rng.randrange(_PAST_NS)
        failed = exhibit in _EXCEPTIONS or self._rng.random() < 0.04  # noqa: PLR2004 - one in 25
        root = self._start(f"{route.method} {route.path}", SpanKind.SERVER, None, start)
        root.set_attributes(
            {
                "http.request.method": route.method,
                "http.route": route.path,
                "url.path": route.path.replace("{id}", str(self._rng.randrange(9_000))),
                "http.response.status_code": 500 if failed else 200,
                "server.address": "shop.example.com",
            },
        )
        if exhibit:
            self._leak(root, exhibit, start, took)
        middle = start + took // 5
        self._query(root, start + took // 20, middle)
        if route.models:
            self._ask(root, self._rng.choice(route.models), exhibit, middle, start + took)
        if failed:
            self._fail(root, exhibit, start + took)
        root.end(start + took)

    def _start(self, name: str, kind: SpanKind, parent: Span | None, start: int) -> Span:
        self.spans += 1
        context = set_span_in_context(parent) if parent else None
        return self._tracer.start_span(name, context=context, kind=kind, start_time=start)

    def _query(self, root: Span, start: int, end: int) -> None:
        table = self._rng.choice(("orders", "products", "stock"))
        span = self._start(f"SELECT {table}", SpanKind.CLIENT, root, start)
        span.set_attributes(
            {
                "db.system.name": "postgresql",
                "db.namespace": "shop",
                "db.operation.name": "SELECT",
                "db.collection.name": table,
                "db.query.text": f"SELECT * FROM {table} WHERE id = $1",  # noqa: S608 - never run
            },
        )
        span.end(end)

    def _ask(self, root: Span, model: Model, exhibit: str, start: int, end: int) -> None:
        question = self._rng.choice(_QUESTIONS)
        if exhibit.startswith("prompt"):
            question = BY_NAME[exhibit].text
        parts = [{"type": "text", "content": question}]
        tokens = int(model.tokens * self._rng.lognormvariate(0, 0.6))
        span = self._start(f"chat {model.requested}", SpanKind.CLIENT, root, start)
        span.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": model.provider,
                "gen_ai.request.model": model.requested,
                "gen_ai.response.model": model.answered,
                "gen_ai.response.finish_reasons": ["stop"],
                "gen_ai.usage.input_tokens": tokens,
                "gen_ai.usage.output_tokens": tokens // 6,
                "gen_ai.input.messages": json.dumps([{"role": "user", "parts": parts}]),
            },
        )
        if exhibit:
            span.set_attribute("demo.exhibit", exhibit)
        span.end(end)

    def _leak(self, root: Span, exhibit: str, start: int, took: int) -> None:
        text = BY_NAME[exhibit].text
        root.set_attribute("demo.exhibit", exhibit)
        if exhibit == "span-name":
            mail = self._start(text, SpanKind.INTERNAL, root, start + took // 2)
            mail.set_attribute("demo.exhibit", exhibit)
            mail.end(start + took)
        elif exhibit == "event-attribute":
            gateway = {"gateway.answer": text, "demo.exhibit": exhibit}
            root.add_event("payment declined", gateway, start + took // 2)
        elif exhibit == "header":
            root.set_attribute("http.request.header.authorization", text)
        elif exhibit == "identity":
            root.set_attribute("user.email", text)

    def _fail(self, root: Span, exhibit: str, end: int) -> None:
        told = exhibit in _EXCEPTIONS
        message = BY_NAME[exhibit].text if told else "stock service timed out"
        try:
            raise LookupError(message)  # noqa: TRY301 - a real exception has a real stack trace
        except LookupError as error:
            marked = {"demo.exhibit": exhibit} if told else {}
            root.record_exception(error, marked, timestamp=end)
            root.set_status(Status(StatusCode.ERROR, message))
            root.set_attribute("error.type", "LookupError")


def main() -> int:
    """Make all traces, export them, and say how many; 1 when the exporter could not send all."""
    rng = random.Random(SEED)  # noqa: S311 - a demo's traffic
    resource = Resource.create(
        {
            "service.name": "shop",
            "service.version": "2.4.1",
            "deployment.environment.name": "demo",
            "app.dsn": BY_NAME["resource"].text,
        },
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    processor = BatchSpanProcessor(
        OTLPSpanExporter(), max_queue_size=16_384, schedule_delay_millis=200
    )
    provider.add_span_processor(processor)
    shop = Shop(provider.get_tracer("shop.web", "2.4.1"), rng)
    exhibits = [exhibit.name for exhibit in EXHIBITS if exhibit.name != "resource"]
    for number in range(TRACES):
        shop.handle(exhibits[number] if number < len(exhibits) else "")
    sent = provider.force_flush(_FLUSH_MS)
    provider.shutdown()
    json.dump({"traces": TRACES, "spans": shop.spans}, sys.stdout)
    return 0 if sent else 1


if __name__ == "__main__":
    sys.exit(main())
