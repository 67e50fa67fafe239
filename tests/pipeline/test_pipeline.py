"""The loop: outcomes, order of things, and faults of single parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from collector.intake import IntakeQueue, Room
from collector.metrics.telemetry import PrometheusTelemetry
from collector.model import telemetry as t
from collector.model.batch import keep_all
from collector.model.contracts import Sampled
from collector.model.errors import (
    ClearspanError,
    InvalidPayload,
    PayloadTooLarge,
    RedactionUnavailable,
    StorageUnavailable,
)
from collector.model.schema import BATCH_SEQ, SOURCE_ID
from collector.otlp.decode import Decoder
from collector.pipeline import Parts, Pipeline, Stage
from config.settings import BatchingSettings, OtlpLimits
from tests.otlp.messages import plain_span, small_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.model.batch import SpanBatch
    from collector.model.errors import RetryableError

POISON = 666


class Recorder:
    """Real small parts in one: a journal, an observer, a sampler and a store that remember."""

    def __init__(self) -> None:
        """Start with nothing seen and nothing broken."""
        self.order: list[str] = []
        self.stored: list[SpanBatch] = []
        self.settled: list[int] = []
        self.journal_error: RetryableError | None = None
        self.processor_error: Exception | None = None
        self.observer_fails = False
        self.sampler_fails = False
        self.held: list[SpanBatch] = []
        self.hold = False
        self.pending_at_store: list[int] = []
        self.count_pending: Callable[[], int] = int

    def process(self, batch: SpanBatch) -> SpanBatch:
        """Stand where redaction stands; fails on the poisonous span."""
        self.order.append("process")
        if self.processor_error is not None:
            ids = [int.from_bytes(raw) for raw in batch.column("span_id").to_pylist()]
            if POISON in ids:
                raise self.processor_error
        return batch

    def write(self, batch: SpanBatch) -> SpanBatch:
        """Journal."""
        self.order.append("journal")
        if self.journal_error is not None:
            raise self.journal_error
        seq = 1 + sum(step == "journal" for step in self.order[:-1])
        rows = len(batch)
        return batch.replace(
            {
                SOURCE_ID: pa.array(["me"] * rows, pa.string()),
                BATCH_SEQ: pa.array(np.full(rows, seq)),
            },
        )

    def observe(self, batch: SpanBatch) -> None:
        """Golden signals."""
        self.order.append(f"observe {len(batch)}")
        if self.observer_fails:
            raise ValueError("broken")

    def offer(self, batch: SpanBatch) -> Sampled:
        """Keep all, or hold all."""
        if self.sampler_fails:
            raise ValueError("broken")
        if self.hold:
            self.held.append(batch)
            return Sampled(batch.keep(np.zeros(len(batch), bool)))
        return Sampled(keep_all(batch, "test"))

    def due(self) -> Sampled:
        """Nothing comes by time, unless what is held is to be let go."""
        held = self.held.pop() if self.held and not self.hold else None
        batch = Decoder(OtlpLimits(), lambda: 0).decode([]).batch if held is None else held
        return Sampled(keep_all(batch, ""))

    drain = due

    @property
    def pending_spans(self) -> int:
        """Held spans."""
        return sum(map(len, self.held))

    @property
    def oldest_pending_seq(self) -> int | None:
        """Seq of the first held batch."""
        return self.held[0].column(BATCH_SEQ)[0].as_py() if self.held else None

    def append(self, batch: SpanBatch, settled_through: int) -> None:
        """Store."""
        if len(batch):
            self.order.append("store")
            self.pending_at_store.append(self.count_pending())
            self.stored.append(batch)
        self.settled.append(settled_through)

    def check_capacity(self) -> None:
        """Always room."""


class Rig:
    """A running pipeline over a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        """Start the worker."""
        self.parts = recorder
        self.telemetry = PrometheusTelemetry()
        parts = Parts(
            decoder=Decoder(OtlpLimits(), lambda: 0),
            stages=(Stage("redaction", recorder),),
            journal=recorder,
            signals=(recorder,),
            sampler=recorder,
            store=recorder,
        )
        intake = IntakeQueue(Room(1 << 20), BatchingSettings())
        self.pipeline = Pipeline(parts, intake, self.telemetry)
        recorder.count_pending = lambda: self.pipeline.pending_rows

    def send(self, *payloads: bytes) -> list[object]:
        """Submit all before the worker runs (one micro-batch); return outcomes or errors."""
        futures = [self.pipeline.submit(payload, "grpc") for payload in payloads]
        self.pipeline.start()
        results = [future.exception(10) or future.result(0) for future in futures]
        assert self.pipeline.stop(10)
        return results

    def value(self, metric: t.Metric, *labels: str) -> float:
        """Read a counter."""
        given = dict(zip(metric.labels, labels, strict=True))
        return self.telemetry.registry.get_sample_value(metric.name, given) or 0.0


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A fresh pipeline."""
    return Rig(Recorder())


def test_a_batch_is_clean_and_durable_before_anyone_is_told(rig: Rig) -> None:
    """Scenario: two good requests. Guarantees: one micro-batch, the promised order, counters."""
    results = rig.send(small_request(plain_span(1)), small_request(plain_span(2)))
    assert [outcome.rejected for outcome in results] == [0, 0]
    assert rig.parts.order == ["process", "journal", "observe 2", "store"]
    assert rig.parts.settled[0] == 1
    assert rig.value(t.RECEIVED_SPANS) == 2
    assert rig.value(t.ACCEPTED, "otlp", "grpc") == 2


def test_each_request_gets_its_own_outcome(rig: Rig) -> None:
    """Scenario: good, malformed, partly bad. Guarantees: none shares another's outcome."""
    partly = small_request(plain_span(1), plain_span(2, trace_id=bytes(16)))
    good, bad, part = rig.send(small_request(), b"\xff\xff", partly)
    assert good.rejected == 0
    assert isinstance(bad, InvalidPayload)
    assert part.rejected == 1
    assert part.message
    assert rig.value(t.REFUSED_SPANS, "invalid_id") == 1


@pytest.mark.parametrize("error", [StorageUnavailable("disk full"), RedactionUnavailable("x")])
def test_nothing_is_acknowledged_when_it_is_not_durable(rig: Rig, error: RetryableError) -> None:
    """Scenario: the journal or redaction fails. Guarantees: retryable error, nothing stored."""
    rig.parts.journal_error = error
    [result] = rig.send(small_request())
    assert result is error
    assert not rig.parts.stored
    assert rig.value(t.REFUSED_SPANS, type(error).__name__) == 1
    assert rig.value(t.RECEIVED_SPANS) == 1


@pytest.mark.parametrize("error", [ValueError("the payload itself"), RedactionUnavailable("x")])
def test_a_poisonous_request_does_not_take_its_neighbours_along(rig: Rig, error: Exception) -> None:
    """Scenario: a processor breaks on one request. Guarantees: its neighbours are stored."""
    rig.parts.processor_error = error
    first, poison, last = rig.send(
        small_request(plain_span(1)),
        small_request(plain_span(POISON)),
        small_request(plain_span(2)),
    )
    assert first.rejected == last.rejected == 0
    assert isinstance(poison, ClearspanError)
    assert "payload itself" not in str(poison)
    assert sum(map(len, rig.parts.stored)) == 2


def test_requests_that_are_only_together_too_large_are_taken_one_by_one(rig: Rig) -> None:
    """Scenario: each request repeats its long resource within what may be, both together do not.

    Guarantees: both are stored.
    """
    service = "a" * 16_384
    requests = [
        small_request(*(plain_span(first + n) for n in range(5_000)), service=service)
        for first in (1, 5_001)
    ]
    with pytest.raises(PayloadTooLarge):
        Decoder(OtlpLimits(), lambda: 0).decode(requests)
    outcomes = rig.send(*requests)
    assert [outcome.rejected for outcome in outcomes] == [0, 0]
    assert sum(map(len, rig.parts.stored)) == 10_000


@pytest.mark.parametrize("broken", ["observer_fails", "sampler_fails"])
def test_what_breaks_behind_the_acknowledgement_loses_no_span(rig: Rig, broken: str) -> None:
    """Scenario: signals or sampler raise. Guarantees: spans are acknowledged, stored once."""
    setattr(rig.parts, broken, True)
    [result] = rig.send(small_request())
    assert result.rejected == 0
    assert sum(map(len, rig.parts.stored)) == 1


def test_the_journal_is_only_released_up_to_what_is_decided(rig: Rig) -> None:
    """Scenario: a sampler holds the first batch. Guarantees: settled stays below it."""
    rig.parts.hold = True
    rig.send(small_request())
    assert set(rig.parts.settled) == {0}
    assert rig.pipeline.pending_rows == 1


def test_spans_are_pending_until_the_store_has_them(rig: Rig) -> None:
    """Scenario: spans come from the worker's hand, and later from a sampler that held them.

    Guarantees: while the store takes them they still count as pending, so that no reader of the
    metrics takes them for settled before SQL can find them.
    """
    rig.send(small_request(plain_span(1)))
    assert rig.parts.pending_at_store == [1]
    late = Rig(Recorder())
    late.parts.hold = True
    late.send(small_request(plain_span(1), plain_span(2)))
    assert late.pipeline.pending_rows == 2
    late.parts.hold = False
    late.pipeline._settle_due()
    assert late.parts.pending_at_store == [2]
    assert late.pipeline.pending_rows == 0


def test_a_pipeline_that_was_never_started_can_be_stopped(rig: Rig) -> None:
    """Scenario: the start fails at replay. Guarantee: the stop behind it does not hide why."""
    assert rig.pipeline.stop(10)


def test_what_the_lake_has_already_is_settled_at_a_restart(rig: Rig) -> None:
    """Scenario: the newest batches of the journal are all in the lake, so none is replayed.

    Guarantee: they are settled all the same; else the journal keeps them until the next request.
    """
    rig.pipeline.replay([], 7)
    rig.pipeline._settle_due()
    assert rig.parts.settled == [7]
