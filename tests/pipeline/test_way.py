"""A signal's way as the service puts it together: pipeline, journal, lake, and who owns what."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from collector.intake import IntakeQueue, Room
from collector.metrics.telemetry import PrometheusTelemetry
from collector.model.batch import SpanBatch
from collector.model.errors import StorageUnavailable
from collector.model.signals import TRACES
from collector.otlp.decode import Decoder
from collector.pipeline import Parts, Stage
from collector.redact_again import RedactAgain
from collector.way import Storage, Way
from config.exporters import LakeSettings
from config.settings import BatchingSettings, OtlpLimits
from processors.sampling import KeepEverything
from tests.otlp.messages import small_request

if TYPE_CHECKING:
    from pathlib import Path


class Stuck:
    """Stands where redaction stands, and lets nothing through until it is told to."""

    version = "1.key"

    def __init__(self) -> None:
        """Nobody has come."""
        self.is_reached = threading.Event()
        self.goes_on = threading.Event()

    def process(self, batch: SpanBatch) -> SpanBatch:
        """Wait."""
        self.is_reached.set()
        assert self.goes_on.wait(20)
        return batch


def test_a_worker_that_is_late_leaves_the_next_owner_alone(tmp_path: Path) -> None:
    """Scenario: the grace is over while a batch is stuck; the directory has its next owner when
    the batch gets through.

    Guarantees: it is refused, and nothing of it is written beside what the next owner journals.
    """  # noqa: D205 - the scenario needs two lines
    telemetry, stuck = PrometheusTelemetry(), Stuck()
    storage = Storage(TRACES, tmp_path / "data", LakeSettings(), telemetry)
    parts = Parts(
        decoder=Decoder(OtlpLimits(), time.time_ns),
        stages=(Stage("stuck", stuck),),
        journal=storage.journal,
        signals=(),
        sampler=KeepEverything(SpanBatch),
        store=storage.lake,
    )
    intake = IntakeQueue(Room(1 << 20), BatchingSettings())
    way = Way(storage, parts, intake, telemetry, RedactAgain(stuck))
    way.start()
    outcome = way.pipeline.submit(small_request(), "grpc")
    assert stuck.is_reached.wait(20)
    assert not way.drain(time.monotonic())
    way.close()
    following = Storage(TRACES, tmp_path / "data", LakeSettings(), PrometheusTelemetry())
    stuck.goes_on.set()
    assert isinstance(outcome.exception(20), StorageUnavailable)
    assert list((tmp_path / "data/journal").glob("*.wal")) == []
    assert way.drain(time.monotonic() + 20)
    following.journal.close()
    following.lake.close()
