"""The composition root: makes every part from the settings, starts them in order, stops them.

The only place that names concrete processors and sinks. Start: lake and journal (one owner a
directory), processors, replay, worker, listeners, ready. Stop: not ready, listeners drain, worker
finishes, lake flushes, directory released.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import structlog

from collector.health import health_app
from collector.intake import IntakeQueue
from collector.logs import configure_logging
from collector.metrics.exposition import metrics_app
from collector.metrics.golden_signals import GoldenSignals
from collector.metrics.telemetry import PrometheusTelemetry
from collector.model import telemetry as t
from collector.model.errors import StorageUnavailable
from collector.otlp.decode import Decoder
from collector.otlp.promotion import Promoter
from collector.pipeline import Parts, Pipeline, Stage
from collector.receivers.serving import Listeners
from collector.redact_again import RedactAgain
from collector.remote_sql import sql_app
from processors.registry import PROCESSORS, SAMPLERS, canary_watch, load_custom
from processors.sampling import SamplerChain
from storage.journal import Journal
from storage.lake import Lake
from storage.live_erasure import LiveErasure
from storage.query_processes import QueryProcesses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from collector.model.batch import SpanBatch
    from collector.model.contracts import Sampler, SignalObserver
    from collector.redact_again import Redaction
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
    stopping = threading.Event()
    _on_signals(stopping)
    sidecar = Sidecar(settings)
    try:
        listening = sidecar.start()
        _log.info("ready", **listening, after_s=round(_process_age_s(), 2))
        stopping.wait()
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
        lake = settings.exporters.lake
        self._lake = Lake(Path(lake.path), lake, self._telemetry, on_settled=self._on_settled)
        self._journal = Journal(
            Path(lake.path) / "journal",
            lake.journal,
            self._telemetry,
            source_id=self._lake.source_id,
            first_seq=self._lake.next_seq,
        )
        self._erasure = LiveErasure(
            Path(lake.path),
            self._lake,
            self._journal,
            lambda: self._telemetry.add(t.LAKE_FAILURES, 1, "erasure"),
        )
        self._signals = GoldenSignals(settings.exporters.prometheus)
        self._signals.report_series(self._telemetry)
        stages, samplers = self._make_processors()
        # the configuration refuses a pipeline in which redaction is not first
        self._again = RedactAgain(cast("Redaction", stages[0].processor))
        self._pipeline = self._make_pipeline(stages, samplers)
        self._telemetry.sample(t.PENDING_SPANS, self._pending_spans)
        self._queries = QueryProcesses(settings.extensions.sql, Path(lake.path))
        self._listeners = self._make_listeners()

    def start(self) -> dict[str, str]:
        """Replay the journal, start the worker and listen; return what listens where."""
        replayed = self._pipeline.replay(self._uncommitted())
        if replayed:
            _log.info("replayed journal", spans=replayed)
        self._lake.start()
        self._erasure.start()
        self._pipeline.start()
        listening = self._listeners.start()
        self._ready = True
        return listening

    def stop(self) -> bool:
        """Drain within the grace and release everything; return whether all of it was done."""
        self._ready = False
        deadline = time.monotonic() + self._settings.service.shutdown_grace
        self._listeners.stop(deadline - time.monotonic())
        self._queries.close()
        drained = self._pipeline.stop(max(0.0, deadline - time.monotonic()))
        self._erasure.stop()
        self._lake.close()
        self._journal.close()
        return drained

    def _make_processors(self) -> tuple[list[Stage], list[Sampler]]:
        """Make what stands before the journal, and behind it."""
        settings = self._settings
        stages: list[Stage] = []
        samplers: list[Sampler] = []
        early = {kind.name: kind for kind in PROCESSORS}
        late = {kind.name: kind for kind in SAMPLERS}
        for name in settings.service.pipelines.traces.processors:
            if name in late:
                samplers.append(late[name].build(settings.processors, self._telemetry))
            elif name in early:
                stages.append(Stage(name, early[name].build(settings.processors, self._telemetry)))
            else:
                options = settings.processors.custom_options(name)
                stages.append(Stage(name, load_custom(name, options)))
            if name == "redaction":
                stages.append(Stage("promotion", Promoter()))
        if settings.processors.redaction.canaries:
            stages.append(Stage("canaries", canary_watch(settings.processors, self._telemetry)))
        return stages, samplers

    def _make_pipeline(self, stages: Sequence[Stage], samplers: Sequence[Sampler]) -> Pipeline:
        settings = self._settings
        parts = Parts(
            decoder=Decoder(settings.receivers.otlp.limits, time.time_ns),
            stages=tuple(stages),
            journal=self._journal,
            signals=self._observers(),
            sampler=SamplerChain(samplers),
            store=self._lake,
        )
        intake = IntakeQueue(
            settings.extensions.memory_limiter.max_in_flight_bytes,
            settings.service.batching,
        )
        return Pipeline(parts, intake, self._telemetry)

    def _observers(self) -> tuple[SignalObserver, ...]:
        in_use = "prometheus" in self._settings.service.pipelines.traces.exporters
        return (self._signals,) if in_use else ()

    def _make_listeners(self) -> Listeners:
        settings = self._settings
        health = health_app(
            is_alive=self._pipeline.is_alive,
            states=lambda: {"pipeline": self._ready, "storage": self._storage_takes_data()},
        )
        apps = [("health", settings.extensions.health_check.endpoint, health)]
        if self._observers():
            app = metrics_app(self._telemetry, self._signals)
            apps.append(("metrics", settings.exporters.prometheus.endpoint, app))
        sql = settings.extensions.sql
        if sql.enabled:
            apps.append(("sql", sql.endpoint, sql_app(sql, self._queries, self._telemetry)))
        return Listeners(
            settings.receivers.otlp.protocols,
            self._pipeline,
            self._telemetry,
            apps=apps,
        )

    def _uncommitted(self) -> Iterator[SpanBatch]:
        """Yield what is in the journal and not in the lake, flushing before memory fills up."""
        for batch in self._journal.replay(self._lake.settled_through):
            if self._lake.pending_bytes >= self._settings.exporters.lake.max_pending_bytes:
                self._lake.flush()
            yield self._lake.drop_committed(self._up_to_date(batch))

    def _up_to_date(self, batch: SpanBatch) -> SpanBatch:
        """Redact again what was journalled under other rules."""
        return batch if self._again.meets(batch) else self._again.batch(batch)

    def _storage_takes_data(self) -> bool:
        try:
            self._lake.check_capacity()
        except StorageUnavailable:
            return False
        return not self._journal.is_failing

    def _pending_spans(self) -> int:
        return self._pipeline.pending_spans + self._lake.pending_spans

    def _on_settled(self, through: int) -> None:
        self._journal.truncate(through)


def _on_signals(stopping: threading.Event) -> None:
    def handle(number: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(_SIGNAL_EXIT + number)
        stopping.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _process_age_s() -> float:
    """Return seconds since the process was started, interpreter and imports included."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), starttime
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s
