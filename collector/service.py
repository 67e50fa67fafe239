"""The composition root: makes every part from the settings, starts them in order, stops them.

The only place that names concrete processors and sinks. Start: lakes and journals (one owner a
directory), processors, replay, workers, listeners, ready. Stop: not ready, listeners drain, workers
finish, lakes flush, directories released.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from collector.health import health_app
from collector.intake import IntakeQueue, Room
from collector.logs import configure_logging
from collector.memory import keep_for_good
from collector.metrics.exposition import metrics_app
from collector.metrics.golden_signals import GoldenSignals
from collector.metrics.telemetry import PrometheusTelemetry
from collector.model import telemetry as t
from collector.model.batch import LogBatch, SpanBatch
from collector.model.signals import LOGS, TRACES
from collector.otlp.decode import Decoder
from collector.otlp.decode_logs import LogDecoder
from collector.otlp.promotion import Promoter
from collector.pipeline import Parts, Stage
from collector.receivers import answers
from collector.receivers.descriptors import allow_connections
from collector.receivers.serving import Listeners
from collector.redact_again import RedactAgain
from collector.remote_sql import sql_app
from collector.way import Storage, Way
from processors.registry import (
    PROCESSORS,
    REDACTION,
    SAMPLERS,
    canary_watch,
    load_custom,
    redaction,
)
from processors.sampling import KeepEverything, SamplerChain
from storage.data_directory import log_data
from storage.live_erasure import LiveErasure
from storage.query_processes import QueryProcesses

if TYPE_CHECKING:
    from types import FrameType

    from collector.model.batch import BatchT
    from collector.model.contracts import Intake, Sampler, SignalObserver
    from collector.receivers.answers import Service
    from config.settings import ClearspanSettings

_log = structlog.get_logger("clearspan")
_SIGNAL_EXIT: Final = 128


def run(settings: ClearspanSettings) -> int:
    """Run the sidecar until SIGTERM or SIGINT; return 0, or 1 when the grace was not enough.

    A second signal ends the process at once with 128 + its number.

    Raises:
        StartupError: A port or the data directory cannot be had.
        ConfigError: A user's processor cannot be made.
    """
    configure_logging(settings.service.telemetry.logs)
    stopping = _on_signals()
    allow_connections()
    sidecar = Sidecar(settings)
    keep_for_good()
    try:
        listening = sidecar.start()
        _log.info("ready", **listening, after_s=round(_process_age_s(), 2))
        os.read(stopping, 1)
        _log.info("stopping", grace_s=settings.service.shutdown_grace)
    finally:
        drained = sidecar.stop()
    _log.info("stopped", drained=drained)
    return 0 if drained else 1


class Sidecar:
    """All parts of one running clearspan, owner of one data directory."""

    def __init__(self, settings: ClearspanSettings) -> None:
        """Make the parts and take the data directory; nothing listens yet."""
        self._settings = settings
        self._ready = False
        self._telemetry = PrometheusTelemetry()
        lake, path = settings.exporters.lake, Path(settings.exporters.lake.path)
        spans = Storage(TRACES, path, lake, self._telemetry)
        logs = Storage(LOGS, log_data(path), lake, self._telemetry)
        self._erasure = LiveErasure(
            path,
            (spans.live, logs.live),
            lambda: self._telemetry.add(t.LAKE_FAILURES, 1, "erasure"),
        )
        self._signals = GoldenSignals(settings.exporters.prometheus)
        self._signals.report_series(self._telemetry)
        self._room = Room(settings.extensions.memory_limiter.max_in_flight_bytes)
        # one for both signals: the same value gives the same token, and strings repeat
        self._redaction = redaction(settings.processors, self._telemetry)
        self._again = RedactAgain(self._redaction)
        self._traces = self._make_traces(spans)
        self._logs = self._make_logs(logs)
        self._queries = QueryProcesses(settings.extensions.sql, path)
        self._listeners = self._make_listeners()

    def start(self) -> dict[str, str]:
        """Replay the journals, start the workers and listen; return what listens where."""
        self._traces.start()
        self._logs.start()
        self._erasure.start()
        listening = self._listeners.start()
        self._ready = True
        return listening

    def stop(self) -> bool:
        """Drain within the grace and release everything; return whether all of it was done."""
        self._ready = False
        deadline = time.monotonic() + self._settings.service.shutdown_grace
        self._listeners.stop(deadline - time.monotonic())
        self._queries.close()
        drained = [way.drain(deadline) for way in (self._traces, self._logs)]
        self._erasure.stop()
        self._logs.close()
        self._traces.close()
        return all(drained)

    def _make_traces(self, storage: Storage) -> Way[SpanBatch]:
        settings = self._settings
        stages: list[Stage[SpanBatch]] = []
        samplers: list[Sampler[SpanBatch]] = []
        early = {kind.name: kind for kind in PROCESSORS}
        late = {kind.name: kind for kind in SAMPLERS}
        for name in settings.service.pipelines.traces.processors:
            if name in late:
                samplers.append(late[name].build(settings.processors, self._telemetry))
            elif name in early and name != REDACTION:
                stages.append(Stage(name, early[name].build(settings.processors, self._telemetry)))
            else:
                stages += self._stages(name, SpanBatch)
        parts = Parts(
            decoder=Decoder(settings.receivers.otlp.limits, time.time_ns),
            stages=(*stages, *self._canary_watch()),
            journal=storage.journal,
            signals=self._observers(),
            sampler=SamplerChain(samplers),
            store=storage.lake,
        )
        return self._way(storage, parts)

    def _make_logs(self, storage: Storage) -> Way[LogBatch]:
        names = self._settings.service.pipelines.logs.processors
        stages = [stage for name in names for stage in self._stages(name, LogBatch)]
        parts = Parts(
            decoder=LogDecoder(self._settings.receivers.otlp.limits, time.time_ns),
            stages=(*stages, *self._canary_watch()),
            journal=storage.journal,
            signals=(),
            sampler=KeepEverything(LogBatch),
            store=storage.lake,
            signal=LOGS,
        )
        return self._way(storage, parts)

    def _way(self, storage: Storage, parts: Parts[BatchT]) -> Way[BatchT]:
        intake = IntakeQueue(self._room, self._settings.service.batching)
        return Way(storage, parts, intake, self._telemetry, self._again)

    def _stages(self, name: str, kind: type[BatchT]) -> list[Stage[BatchT]]:
        """Make what stands before the journal under a name: redaction, or a user's processor."""
        if name == REDACTION:
            return [Stage(name, self._redaction), Stage("promotion", Promoter(kind))]
        options = self._settings.processors.custom_options(name)
        return [Stage(name, load_custom(name, options))]

    def _canary_watch(self) -> list[Stage[Any]]:
        settings = self._settings.processors
        if not settings.redaction.canaries:
            return []
        return [Stage("canaries", canary_watch(settings, self._telemetry))]

    def _observers(self) -> tuple[SignalObserver[SpanBatch], ...]:
        in_use = "prometheus" in self._settings.service.pipelines.traces.exporters
        return (self._signals,) if in_use else ()

    def _make_listeners(self) -> Listeners:
        settings = self._settings
        ways = (self._traces, self._logs)
        health = health_app(
            is_alive=lambda: all(way.pipeline.is_alive() for way in ways),
            states=lambda: {
                "pipeline": self._ready,
                "storage": all(way.storage.takes_data for way in ways),
            },
        )
        apps = [("health", settings.extensions.health_check.endpoint, health)]
        if self._observers():
            app = metrics_app(self._telemetry, self._signals)
            apps.append(("metrics", settings.exporters.prometheus.endpoint, app))
        sql = settings.extensions.sql
        if sql.enabled:
            apps.append(("sql", sql.endpoint, sql_app(sql, self._queries, self._telemetry)))
        intakes: dict[Service, Intake] = {answers.TRACES: self._traces.pipeline}
        if settings.service.pipelines.logs.receivers:
            intakes[answers.LOGS] = self._logs.pipeline
        return Listeners(settings.receivers.otlp.protocols, intakes, self._telemetry, apps=apps)


def _on_signals() -> int:
    """Return a descriptor with something to read once SIGTERM or SIGINT came; the next one kills.

    To wait for a lock instead can last for ever: a handler runs when the main thread does, which a
    signal does not wake when another thread takes it, or when it comes just before the wait.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable)
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if seen:
            os._exit(_SIGNAL_EXIT + number)
        seen.append(number)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return readable


def _process_age_s() -> float:
    """Return seconds since the process was started, interpreter and imports included."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), starttime
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s
