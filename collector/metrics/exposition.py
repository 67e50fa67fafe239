"""`/metrics` as an ASGI app: own telemetry and golden signals, in the format asked for."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Final

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric as ClientMetric
    from starlette.requests import Request

    from collector.metrics.golden_signals import GoldenSignals
    from collector.metrics.telemetry import PrometheusTelemetry

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_END: Final = "# EOF\n"
# 5 MB of text: level 1 takes 6 ms and leaves 148 kB, level 6 takes 18 ms for 137 kB
_GZIP_LEVEL: Final = 1


def metrics_app(telemetry: PrometheusTelemetry, signals: GoldenSignals) -> Starlette:
    """Return the app that serves ``GET /metrics``; anything else is a 404 that says so."""

    async def scrape(request: Request) -> Response:
        openmetrics = prefers_openmetrics(request.headers.get("accept", ""))
        compress = _quality(request.headers.get("accept-encoding", ""), ("gzip", "*")) > 0
        # in a thread: the event loop also serves health probes
        body = await run_in_threadpool(
            _body, telemetry, signals, openmetrics=openmetrics, compress=compress
        )
        headers = {"vary": "accept, accept-encoding"}
        if compress:
            headers["content-encoding"] = "gzip"
        return Response(body, media_type=OPENMETRICS if openmetrics else TEXT, headers=headers)

    async def elsewhere(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse("Nothing here: metrics are at /metrics\n", status_code=404)

    return Starlette(
        routes=[Route("/metrics", scrape, methods=["GET"])],
        exception_handlers={404: elsewhere},
    )


def render(telemetry: PrometheusTelemetry, signals: GoldenSignals, *, openmetrics: bool) -> bytes:
    """Return the whole exposition, UTF-8."""
    if openmetrics:
        # untyped upstream
        exposed: bytes = generate_openmetrics(telemetry.registry)  # type: ignore[no-untyped-call]
        own = exposed.decode().removesuffix(_END)
        return (own + signals.render(openmetrics=True) + _END).encode()
    own = generate_latest(_WithoutCreated(telemetry.registry)).decode()
    return (own + signals.render(openmetrics=False)).encode()


def prefers_openmetrics(accept: str) -> bool:
    """Tell whether an Accept header ranks OpenMetrics at least as high as the older text."""
    openmetrics = _quality(accept, ("application/openmetrics-text",))
    return openmetrics > 0 and openmetrics >= _quality(accept, ("text/plain",))


def _body(
    telemetry: PrometheusTelemetry,
    signals: GoldenSignals,
    *,
    openmetrics: bool,
    compress: bool,
) -> bytes:
    body = render(telemetry, signals, openmetrics=openmetrics)
    return gzip.compress(body, _GZIP_LEVEL) if compress else body


def _quality(header: str, names: tuple[str, ...]) -> float:
    """Return the highest ``q`` (RFC 9110 section 12.4.2) the header gives to any of the names."""
    best = 0.0
    for item in header.lower().split(","):
        name, *parameters = [part.strip() for part in item.split(";")]
        if name in names:
            weights = [
                value for key, _, value in (p.partition("=") for p in parameters) if key == "q"
            ]
            try:
                best = max(best, float(weights[0]) if weights else 1.0)
            except ValueError:
                continue
    return best


class _WithoutCreated(Collector):
    """The registry for the older text format, which would show ``_created`` as so many gauges."""

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def collect(self) -> Iterable[ClientMetric]:
        """Return the registry's families without creation times."""
        for family in self._registry.collect():
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            yield family
