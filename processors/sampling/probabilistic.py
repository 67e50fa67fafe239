"""Head sampling: keeps a share of traces by their id, at once, as every OTel sampler would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from collector.model.contracts import Sampled
from collector.model.schema import SAMPLE_REASON, SAMPLE_WEIGHT, TRACE_STATE
from processors.sampling.constants import NOTHING
from processors.sampling.randomness import (
    probability_of,
    threshold_for,
    trace_randomness,
)
from processors.sampling.tracestate import ABSENT, TraceStates, upstream_weights, with_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collector.model.batch import SpanBatch
    from collector.model.telemetry import Telemetry
    from config.sampling import ProbabilisticSamplerSettings
    from processors.sampling.tracestate import Consistency

NAME: Final = "probabilistic_sampler"


class ProbabilisticSampler:
    """Keeps rows whose trace's randomness reaches the threshold; nothing is ever pending.

    A kept row's ``sample_weight`` counts what its sender left out as well (``ot=th`` on arrival),
    and its ``trace_state`` says the threshold that now holds. Dropped rows count as
    ``probabilistic_sampler``.
    """

    def __init__(self, settings: ProbabilisticSamplerSettings, telemetry: Telemetry) -> None:
        """Work out the threshold; drops are counted by the pipeline, so telemetry is not used."""
        del telemetry
        self._threshold = threshold_for(settings.sampling_percentage, settings.sampling_precision)
        self._states = TraceStates()

    def offer(self, batch: SpanBatch) -> Sampled[SpanBatch]:
        """Return the kept rows; at 100 % all of them, unchanged but for weight and reason."""
        said = self._states.read(batch.column(TRACE_STATE))
        if self._threshold == 0 and said is None:
            return Sampled(_labelled(batch, np.ones(len(batch))))
        randomness = trace_randomness(batch)
        if said is not None:
            randomness = np.where(said.randomness == ABSENT, randomness, said.randomness)
        kept = randomness >= self._threshold
        dropped = len(batch) - int(kept.sum())
        if dropped == len(batch):
            return Sampled(NOTHING, {NAME: dropped} if dropped else {})
        if said is None:
            weights = np.full(len(batch), 1 / probability_of(self._threshold))
        else:
            weights = upstream_weights(said, randomness, self._threshold)
        batch = _labelled(batch, weights)
        if self._threshold:
            states = self._written(said, randomness, len(batch))
            batch = batch.replace({TRACE_STATE: states})
        return Sampled(batch.keep(kept), {NAME: dropped}) if dropped else Sampled(batch)

    def due(self) -> Sampled[SpanBatch]:
        """Return nothing: everything is decided when it is offered."""
        return Sampled(NOTHING)

    def drain(self) -> Sampled[SpanBatch]:
        """Return nothing: everything is decided when it is offered."""
        return Sampled(NOTHING)

    @property
    def pending_spans(self) -> int:
        """Always 0."""
        return 0

    @property
    def oldest_pending_seq(self) -> int | None:
        """Always None."""
        return None

    def _written(
        self,
        said: Consistency | None,
        randomness: NDArray[np.int64],
        rows: int,
    ) -> pa.Array:
        """Return every row's tracestate with the threshold that holds now, only ever raised."""
        if said is None:
            return pa.repeat(pa.scalar(with_threshold(None, self._threshold)), rows)
        valid = said.thresholds <= randomness
        stays = valid & (said.thresholds >= self._threshold)
        texts = said.texts + [with_threshold(text, self._threshold) for text in said.texts]
        chosen = said.codes + np.where(stays, 0, len(said.texts))
        return pa.array(texts, pa.string()).take(pa.array(chosen))


def _labelled(batch: SpanBatch, weights: NDArray[np.float64]) -> SpanBatch:
    reasons = pa.repeat(pa.scalar(NAME, pa.string()), len(batch))
    return batch.replace({SAMPLE_WEIGHT: pa.array(weights), SAMPLE_REASON: reasons})
