"""The data's way, from request bytes to kept rows: read this first.

One for each signal, traces and logs, with one worker thread and one loop. Requests that arrive
together are worked on together; each gets its own outcome. A request is answered with success only
when its clean rows are durable.

    admit -> decode -> processors (redaction first) -> journal (fsync) -> reply
                                                          -> signals -> samplers -> store
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic

import structlog

from collector.heartbeat import Heartbeat
from collector.model import telemetry as t
from collector.model.batch import BatchT, keep_all
from collector.model.contracts import SAMPLER_FAILED, Outcome, Sampled
from collector.model.errors import ClearspanError, ShuttingDown, StorageUnavailable
from collector.model.schema import BATCH_SEQ
from collector.model.signals import TRACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from collector.intake import IntakeQueue, Request
    from collector.model.contracts import (
        Decoded,
        Decoder,
        Processor,
        Sampler,
        SignalObserver,
        Sink,
        Store,
        Transport,
    )
    from collector.model.signals import Signal
    from collector.model.telemetry import Telemetry

_log = structlog.get_logger(__name__)
_TICK_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Stage(Generic[BatchT]):
    """A named processor."""

    name: str
    processor: Processor[BatchT]


@dataclass(frozen=True, slots=True)
class Parts(Generic[BatchT]):
    """What the pipeline is made of, in the order the data meets it."""

    decoder: Decoder[BatchT]
    stages: Sequence[Stage[BatchT]]
    journal: Sink[BatchT]
    signals: Sequence[SignalObserver[BatchT]]
    sampler: Sampler[BatchT]
    store: Store[BatchT]
    signal: Signal = TRACES


class Pipeline(Generic[BatchT]):
    """The one readable loop: take, decode, process, journal, reply, observe, sample, store."""

    def __init__(self, parts: Parts[BatchT], intake: IntakeQueue, telemetry: Telemetry) -> None:
        """Put the parts together; nothing runs before ``start``."""
        self._parts = parts
        self._intake = intake
        self._telemetry = telemetry
        self._suffix = parts.signal.suffix
        self._metrics = parts.signal.metrics
        self._last_seq = 0
        self._in_work = 0
        self._deciding: int | None = None
        self._heartbeat = Heartbeat()
        self._worker = threading.Thread(
            target=self._run, name=f"pipeline{self._suffix}", daemon=True
        )
        telemetry.sample(t.QUEUE_SIZE, lambda: intake.in_flight_bytes, self._of("lake"))
        telemetry.sample(t.QUEUE_CAPACITY, lambda: intake.capacity_bytes, self._of("lake"))

    def from_json(self, text: bytes) -> bytes:
        """Return a request in JSON as ``submit`` takes it; see ``Intake``."""
        return self._parts.decoder.from_json(text)

    def submit(self, payload: bytes, transport: Transport) -> Future[Outcome]:
        """Admit one request; see ``collector.model.contracts.Intake``."""
        self._parts.store.check_capacity()
        return self._intake.put(payload, transport)

    def replay(self, batches: Iterable[BatchT], last_seq: int) -> int:
        """Take journalled, not yet stored batches through sampling again; before ``start``.

        ``last_seq`` is the newest in the journal: the last ones may be in the lake, so that
        nothing comes of them. Returns how many rows were taken.
        """
        rows = 0
        for batch in batches:  # batches, not rows
            if len(batch):
                rows += len(batch)
                self._telemetry.add(self._metrics.replayed, len(batch))
                self._sample(batch)
        self._last_seq = last_seq
        return rows

    def start(self) -> None:
        """Start the worker thread."""
        self._worker.start()

    def stop(self, grace_s: float) -> bool:
        """Refuse new requests, finish the admitted ones; return whether that was in time.

        Traces that wait for a sampling decision stay in the journal and go on at the next start.
        """
        self._intake.close()
        if self._worker.ident is not None:  # a start that failed goes on to here
            self._worker.join(grace_s)
        return not self._worker.is_alive()

    def is_alive(self, within_s: float = 30.0) -> bool:
        """Tell whether the worker came round recently, or is busy; see ``heartbeat``."""
        return self._worker.is_alive() and self._heartbeat.is_alive(within_s)

    @property
    def pending_rows(self) -> int:
        """Rows that are journalled and not yet handed to the store.

        On their way from the sampler to the store they still count: 0 means that all are there.
        """
        deciding = self._deciding
        return self._in_work + self._parts.sampler.pending_spans if deciding is None else deciding

    def _run(self) -> None:
        next_tick = 0.0
        self._heartbeat.begin()
        while True:
            requests = self._intake.take(timeout_s=_TICK_S)
            now_s = self._heartbeat.come_round()
            if requests:
                self._work(requests)
            elif self._intake.is_closed:
                return
            if now_s >= next_tick:
                next_tick = now_s + _TICK_S
                self._settle_due()

    def _work(self, requests: Sequence[Request]) -> None:
        """Give every request of a micro-batch its outcome; what goes wrong hurts only its own."""
        decoded: Decoded[BatchT] | None = None
        try:
            with self._timed("decode"):
                decoded = self._parts.decoder.decode([request.payload for request in requests])
            batch = self._make_durable(decoded.batch)
        except (StorageUnavailable, ShuttingDown) as error:
            self._refuse(requests, decoded, error)
        except Exception as error:  # noqa: BLE001 - the worker's edge: counted, told, survived
            if len(requests) > 1:  # find the one that cannot be processed; spare its neighbours
                for request in requests:
                    self._heartbeat.come_round()
                    self._work([request])
                return
            told = error if isinstance(error, ClearspanError) else ClearspanError("internal error")
            if told is not error:
                _log.error("request could not be processed", error=type(error).__name__)
            self._refuse(requests, decoded, told)
        else:
            self._in_work = len(batch)
            self._reply(requests, decoded)
            if len(batch):
                self._follow(batch)

    def _make_durable(self, batch: BatchT) -> BatchT:
        """Clean, price and journal the batch; on return it may be acknowledged."""
        for stage in self._parts.stages:
            batch = self._apply(stage, batch)
        if not len(batch):
            return batch
        with self._timed("journal"):
            return self._parts.journal.write(batch)

    def _follow(self, batch: BatchT) -> None:
        """Do what comes behind the acknowledgement; nothing here may lose or repeat a row."""
        self._telemetry.observe(self._metrics.per_batch, len(batch))
        with self._timed("signals"):
            for observer in self._parts.signals:
                try:
                    observer.observe(batch)
                except Exception as error:  # noqa: BLE001 - signals never endanger storage
                    _log.error("signals could not be taken", error=type(error).__name__)
        with self._timed("sampling"):
            self._sample(batch)

    def _apply(self, stage: Stage[BatchT], batch: BatchT) -> BatchT:
        before, name = len(batch), self._of(stage.name)
        self._telemetry.add(t.INCOMING_ITEMS, before, name)
        with self._timed(stage.name):
            batch = stage.processor.process(batch)
        self._telemetry.add(t.OUTGOING_ITEMS, len(batch), name)
        if len(batch) < before:
            self._telemetry.add(self._metrics.dropped, before - len(batch), stage.name)
        return batch

    def _sample(self, batch: BatchT) -> None:
        """Let the sampler decide; when it cannot, the rows are kept."""
        self._last_seq = int(batch.column(BATCH_SEQ)[-1].as_py())
        with self._counting():
            try:
                sampled = self._parts.sampler.offer(batch)
            except Exception as error:  # noqa: BLE001 - fail soft: an undecidable batch is kept
                _log.error("sampling decision failed", error=type(error).__name__)
                sampled = Sampled(keep_all(batch, SAMPLER_FAILED))
            self._settle(sampled)
            self._in_work = 0

    def _settle_due(self) -> None:
        with self._counting():
            try:
                self._settle(self._parts.sampler.due())
            except Exception as error:  # noqa: BLE001 - undecided rows stay pending, in the journal
                _log.error("sampling decision failed", error=type(error).__name__)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Let ``pending_rows`` stand still while rows go from the sampler to the store."""
        self._deciding = self.pending_rows
        try:
            yield
        finally:
            self._deciding = None

    def _settle(self, sampled: Sampled[BatchT]) -> None:
        """Hand kept rows to the store, and say up to where the journal is decided."""
        for reason, rows in sampled.dropped.items():
            self._telemetry.add(self._metrics.dropped, rows, reason)
        oldest = self._parts.sampler.oldest_pending_seq
        settled_through = self._last_seq if oldest is None else oldest - 1
        self._parts.store.append(sampled.kept, settled_through)

    def _reply(self, requests: Sequence[Request], decoded: Decoded[BatchT]) -> None:
        """Tell every caller; the counters say the same."""
        add, metrics = self._telemetry.add, self._metrics
        invalid_ids = self._parts.signal.invalid_ids
        add(metrics.received, int(decoded.received.sum()))
        add(metrics.refused, int(decoded.rejected.sum()), "invalid_id")
        add(t.SALVAGED_REQUESTS, int(decoded.salvaged.sum()))
        for position, request in enumerate(requests):  # requests, not rows
            error = decoded.errors.get(position)
            if error is not None:
                self._intake.finish(request, error)
                continue
            bad = int(decoded.rejected[position])
            add(metrics.accepted, int(decoded.received[position]) - bad, "otlp", request.transport)
            add(metrics.receiver_refused, bad, "otlp", request.transport)
            self._intake.finish(request, Outcome(bad, invalid_ids if bad else ""))

    def _refuse(
        self,
        requests: Sequence[Request],
        decoded: Decoded[BatchT] | None,
        error: ClearspanError,
    ) -> None:
        """Tell every caller that nothing of its request was kept, and why."""
        if decoded is not None:
            rows = int(decoded.received.sum())
            self._telemetry.add(self._metrics.received, rows)
            self._telemetry.add(self._metrics.refused, rows, type(error).__name__)
        for position, request in enumerate(requests):  # requests, not rows
            own = decoded.errors.get(position) if decoded is not None else None
            if decoded is not None and own is None:
                rows = int(decoded.received[position])
                self._telemetry.add(self._metrics.receiver_refused, rows, "otlp", request.transport)
            self._intake.finish(request, own or error)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._telemetry.observe(t.STAGE_SECONDS, time.perf_counter() - start, self._of(stage))

    def _of(self, component: str) -> str:
        """Return a component's name in metrics that the signals share."""
        return component + self._suffix
