"""Tail sampling: spans wait for the rest of their trace, then all are kept or dropped."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from collector.model import telemetry as t
from collector.model.batch import SpanBatch, keep_all
from collector.model.contracts import Sampled
from collector.model.schema import SAMPLE_REASON, SAMPLE_WEIGHT, TRACE_ID, TRACE_STATE
from processors.sampling.constants import KEPT_ALL, LATE, NOT_SAMPLED, NOTHING
from processors.sampling.decisions import Decisions
from processors.sampling.held import HeldSpans
from processors.sampling.randomness import halves_of, id_bytes, id_halves, trace_randomness
from processors.sampling.traces import TraceQueue
from processors.sampling.tracestate import ABSENT, TraceStates, upstream_weights
from processors.sampling.verdicts import Jury, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from collector.model.telemetry import Telemetry
    from config.sampling import TailSamplingSettings
    from processors.sampling.decisions import Recalled

_log = structlog.get_logger(__name__)
# How far below its limit an early decision brings the count, so that it is not made every time.
_EARLY_TARGET: Final = 0.8
_NOT_LATE: Final = -1


class TailSampler:
    """Decides a trace ``decision_wait`` after its first span; without policies keeps all at once.

    Rows are held in memory until then; after a restart the pipeline offers them again, and since
    decisions depend on nothing but the rows, they come out the same. Spans that come after the
    decision follow it as long as it is remembered.
    """

    def __init__(
        self,
        settings: TailSamplingSettings,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the policies; ``clock`` gives seconds that never go back.

        Raises:
            ConfigError: Two policies have the same name, or an ``and`` does not go together.
        """
        self._settings = settings
        self._telemetry = telemetry
        self._clock = clock
        self._jury = Jury(settings)
        self._reasons = pa.array(self._jury.names, pa.string())
        self._traces = TraceQueue(self._jury.facts)
        self._held = HeldSpans()
        self._states = TraceStates()
        self._decisions = Decisions(settings.decision_cache, clock())

    def offer(self, batch: SpanBatch) -> Sampled[SpanBatch]:
        """Hold the batch back; return late spans and what had to be decided early."""
        if not self._settings.policies:
            return Sampled(_as_it_came(batch))
        if not len(batch):
            return Sampled(NOTHING)
        now = self._clock()
        encoded = batch.column(TRACE_ID).dictionary_encode()
        codes = encoded.indices.to_numpy()
        halves = id_halves(encoded.dictionary)
        ids = id_bytes(halves)
        numbers = self._traces.find(ids)
        late = Sampled(NOTHING)
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown):
            recalled = self._decisions.recall(halves[unknown], now)
            if recalled.is_late.any():
                place = np.full(len(ids), _NOT_LATE)
                place[unknown[recalled.is_late]] = np.flatnonzero(recalled.is_late)
                late = self._settle_late(batch, place[codes], recalled)
                waits = place[codes] == _NOT_LATE
                batch, codes = batch.keep(waits), codes[waits]
            new = unknown[~recalled.is_late]
            numbers[new] = self._traces.add(ids[new], now + self._settings.decision_wait)
        if not len(batch):
            return late
        self._hold(batch, numbers[codes])
        early = self._decide_early(now)
        return _joined(late, early)

    def due(self) -> Sampled[SpanBatch]:
        """Decide the traces whose wait is over."""
        return self._decide(self._traces.due(self._clock()))

    def drain(self) -> Sampled[SpanBatch]:
        """Decide every trace on what is known of it now."""
        return self._decide(self._traces.end)

    @property
    def pending_spans(self) -> int:
        """How many spans are held back."""
        return self._held.rows

    @property
    def oldest_pending_seq(self) -> int | None:
        """The smallest ``batch_seq`` among the spans held back."""
        return self._held.oldest_seq

    def _hold(self, batch: SpanBatch, numbers: NDArray[np.int64]) -> None:
        said = self._states.read(batch.column(TRACE_STATE))
        self._traces.observe(numbers, batch, None if said is None else said.randomness)
        self._held.add(batch, numbers)

    def _decide_early(self, now: float) -> Sampled[SpanBatch]:
        """Decide the oldest traces when there are too many, or too many bytes of them."""
        end = self._traces.first
        if len(self._traces) > self._settings.num_traces:
            end = self._traces.end - int(self._settings.num_traces * _EARLY_TARGET)
        if self._held.size_bytes > self._settings.max_pending_bytes:
            most_bytes = self._settings.max_pending_bytes * _EARLY_TARGET
            end = max(end, self._held.end_to_free(self._traces.first, most_bytes))
        early = end - max(self._traces.first, self._traces.due(now))
        decided = Sampled(NOTHING)
        try:
            decided = self._decide(end)
            if early > 0:
                self._telemetry.add(t.TAIL_EARLY, early)
                if self._held.size_bytes > self._settings.max_pending_bytes * _EARLY_TARGET:
                    self._held.compact(end)
        except Exception as error:  # noqa: BLE001 - as in the pipeline, which would keep the batch
            # while it is held here: it would be stored twice
            _log.error("sampling decision failed", error=type(error).__name__)
        return decided

    def _decide(self, end: int) -> Sampled[SpanBatch]:
        """Decide every trace before number ``end``; nothing changes if a policy raises."""
        first = self._traces.first
        if end <= first:
            return Sampled(NOTHING)
        traces = self._traces.peek(end)
        halves = halves_of(traces["id"])
        judged = self._jury.judge(traces, halves)
        released = self._held.release(first, end, judged.is_kept)
        self._traces.forget(end)
        self._decisions.remember(halves, judged.is_kept, judged.verdicts, self._clock())
        for name, votes in zip(self._jury.names, judged.votes.tolist(), strict=True):
            self._telemetry.add(t.TAIL_TRACES, votes, name, "sampled")
            self._telemetry.add(t.TAIL_TRACES, end - first - votes, name, "not_sampled")
        dropped = {NOT_SAMPLED: released.dropped} if released.dropped else {}
        if not len(released.kept):
            return Sampled(NOTHING, dropped)
        verdicts = judged.verdicts[released.traces - first]
        return Sampled(self._labelled(released.kept, verdicts), dropped)

    def _settle_late(
        self,
        batch: SpanBatch,
        place: NDArray[np.int64],
        recalled: Recalled,
    ) -> Sampled[SpanBatch]:
        """Treat late rows as their trace was; ``place`` is where a row's trace was recalled."""
        is_late = place != _NOT_LATE
        # One observation a late trace of the batch: those are few, their spans may be many.
        for age_s in recalled.ages_s[recalled.is_late].tolist():
            self._telemetry.observe(t.TAIL_LATE, age_s)
        is_kept = is_late & recalled.is_kept[place]
        dropped = int(is_late.sum()) - int(is_kept.sum())
        kept = NOTHING
        if is_kept.any():
            kept = self._labelled(batch.keep(is_kept), recalled.verdicts[place[is_kept]])
        return Sampled(kept, {LATE: dropped} if dropped else {})

    def _labelled(self, batch: SpanBatch, verdicts: NDArray[np.void]) -> SpanBatch:
        """Return kept rows with weight and reason; ``verdicts`` has one entry a row."""
        weights = weights_of(verdicts, self._head_weights(batch))
        reasons = self._reasons.take(pa.array(verdicts["policy"]))
        return batch.replace({SAMPLE_WEIGHT: pa.array(weights), SAMPLE_REASON: reasons})

    def _head_weights(self, batch: SpanBatch) -> NDArray[np.float64]:
        """Return what each row stood for when it came: by the head sampler, or by its sender."""
        given = batch.column(SAMPLE_WEIGHT)
        said = None
        if given.null_count:
            said = self._states.read(batch.column(TRACE_STATE))
        if said is None:
            weights: NDArray[np.float64] = pc.fill_null(given, 1.0).to_numpy()
            return weights
        own = trace_randomness(batch)
        randomness = np.where(said.randomness == ABSENT, own, said.randomness)
        sent = pa.array(upstream_weights(said, randomness))
        return np.asarray(pc.coalesce(given, sent))


def _as_it_came(batch: SpanBatch) -> SpanBatch:
    """Return all rows; a head sampler's weights and reasons stay."""
    is_labelled = not batch.table.column(SAMPLE_REASON).null_count
    return batch if is_labelled else keep_all(batch, KEPT_ALL)


def _joined(one: Sampled[SpanBatch], other: Sampled[SpanBatch]) -> Sampled[SpanBatch]:
    kept = [sampled.kept for sampled in (one, other) if len(sampled.kept)]
    dropped = Counter(one.dropped)
    dropped.update(other.dropped)
    return Sampled(SpanBatch.concat(kept) if kept else NOTHING, dropped)
