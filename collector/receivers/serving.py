"""All that listens: OTLP/gRPC, OTLP/HTTP and further HTTP apps, on one loop in one thread."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from collector.receivers import otlp_grpc, otlp_http
from collector.receivers.cors import Cors, CorsApp
from collector.receivers.http_listener import HttpListener, bind, cannot_listen
from collector.receivers.timeouts import Timeouts
from config.types import split_endpoint

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    import grpc.aio
    from starlette.types import ASGIApp

    from collector.model.contracts import Intake
    from collector.model.telemetry import Telemetry
    from collector.receivers.answers import Service
    from config.settings import HttpSettings, OtlpProtocols

App = tuple[str, str, "ASGIApp"]
_T = TypeVar("_T")


@dataclass(slots=True)
class _Running:
    """What has been started so far, on the loop."""

    grpc: grpc.aio.Server | None
    otlp: list[HttpListener]
    apps: list[HttpListener]


class Listeners:
    """Owns the listening thread; ``start`` and ``stop`` are called from other threads."""

    def __init__(
        self,
        protocols: OtlpProtocols,
        intakes: Mapping[Service, Intake],
        telemetry: Telemetry,
        *,
        apps: Sequence[App] = (),
        timeouts: Timeouts | None = None,
    ) -> None:
        """Nothing listens yet; each service that has an intake will be served.

        ``apps`` are further ASGI apps as (name, endpoint, app).
        """
        self._protocols = protocols
        self._intakes = intakes
        self._telemetry = telemetry
        self._apps = tuple(apps)
        self._timeouts = timeouts or Timeouts()
        # at 100 RPCs a second one costs 1.04 ms of CPU, on the loop of asyncio itself 1.25 ms
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="listeners", daemon=True
        )
        self._running = _Running(None, [], [])
        self._stopping = threading.Lock()

    def start(self) -> dict[str, str]:
        """Listen everywhere; return name -> ``host:port`` as bound (port 0 becomes a real one).

        The names are ``otlp_grpc``, ``otlp_http`` and those of the apps.

        Raises:
            StartupError: An address cannot be had; then nothing listens.
        """
        self._thread.start()
        try:
            return self._on_loop(self._start())
        except BaseException:
            self.stop(0)
            raise

    def stop(self, grace_s: float) -> None:
        """Accept nothing more, let begun requests finish within the grace, end the thread.

        The apps answer until OTLP is drained. A second call returns at once.
        """
        if not self._stopping.acquire(blocking=False):
            return
        if self._thread.is_alive():
            self._on_loop(self._stop(grace_s))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _on_loop(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> dict[str, str]:
        listening: dict[str, str] = {}
        for name, endpoint, app in self._apps:
            listener = HttpListener(app, self._timeouts)
            self._running.apps.append(listener)
            listening[name] = await listener.start(bind(name, endpoint))
        if self._protocols.grpc is not None:
            settings = self._protocols.grpc
            listening[otlp_grpc.RECEIVER] = await self._start_grpc(
                settings.endpoint, settings.max_recv_msg_size
            )
        if self._protocols.http is not None:
            listening[otlp_http.RECEIVER] = await self._start_http(self._protocols.http)
        return listening

    async def _start_http(self, settings: HttpSettings) -> str:
        receiver = otlp_http.OtlpHttp(
            self._intakes,
            self._telemetry,
            settings.max_request_body_size,
            self._timeouts.slow_s,
        )
        app: ASGIApp = receiver
        cors = Cors(settings.cors) if settings.cors.allowed_origins else None
        if cors is not None:
            paths = [service.path for service in self._intakes]
            app = CorsApp(receiver, cors, paths, receiver.count)
        listener = HttpListener(app, self._timeouts, receiver.count, cors)
        self._running.otlp.append(listener)
        return await listener.start(bind(otlp_http.RECEIVER, settings.endpoint))

    async def _start_grpc(self, endpoint: str, most_bytes: int) -> str:
        # gRPC does not say why it cannot bind; a plain socket does.
        bind(otlp_grpc.RECEIVER, endpoint).close()
        server = otlp_grpc.make_server(self._intakes, self._telemetry, most_bytes, self._timeouts)
        try:
            port = server.add_insecure_port(endpoint)
        except RuntimeError as error:
            raise cannot_listen(otlp_grpc.RECEIVER, endpoint, "gRPC cannot bind") from error
        self._running.grpc = server
        await server.start()
        host, _ = split_endpoint(endpoint)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def _stop(self, grace_s: float) -> None:
        draining = [listener.stop(grace_s) for listener in self._running.otlp]
        if self._running.grpc is not None:
            draining.append(self._running.grpc.stop(grace_s))
        await asyncio.gather(*draining)
        await asyncio.gather(*(listener.stop(0) for listener in self._running.apps))
