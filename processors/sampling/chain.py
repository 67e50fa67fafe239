"""Several samplers as one: what the first keeps is offered to the next."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog

from collector.model.batch import keep_all
from collector.model.contracts import SAMPLER_FAILED, Sampled
from processors.sampling.constants import KEPT_ALL, NOTHING

_log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.model.batch import SpanBatch
    from collector.model.contracts import Sampler


class SamplerChain:
    """Head sampler before tail sampler; without any sampler every span is kept with weight 1."""

    def __init__(self, samplers: Sequence[Sampler[SpanBatch]]) -> None:
        """Chain the samplers in this order."""
        self._samplers = tuple(samplers)

    def offer(self, batch: SpanBatch) -> Sampled[SpanBatch]:
        """Offer the batch to the first sampler, and what it keeps to the next."""
        if not self._samplers:
            return Sampled(keep_all(batch, KEPT_ALL))
        return self._pass_on(batch, 0)

    def due(self) -> Sampled[SpanBatch]:
        """Return what has become decided; what one sampler lets go passes those behind it."""
        return self._settle(lambda sampler: sampler.due())

    def drain(self) -> Sampled[SpanBatch]:
        """Decide everything, first sampler first."""
        return self._settle(lambda sampler: sampler.drain())

    @property
    def pending_spans(self) -> int:
        """How many spans are held back by all of them."""
        return sum(sampler.pending_spans for sampler in self._samplers)

    @property
    def oldest_pending_seq(self) -> int | None:
        """The smallest ``batch_seq`` that any of them holds back."""
        oldest = [sampler.oldest_pending_seq for sampler in self._samplers]
        return min((seq for seq in oldest if seq is not None), default=None)

    def _pass_on(self, batch: SpanBatch, position: int) -> Sampled[SpanBatch]:
        dropped: Counter[str] = Counter()
        for sampler in self._samplers[position:]:
            if not len(batch):
                break
            try:
                sampled = sampler.offer(batch)
            except Exception as error:  # noqa: BLE001 - those before it may hold a part of the batch
                _log.error("sampling decision failed", error=type(error).__name__)
                sampled = Sampled(keep_all(batch, SAMPLER_FAILED))
            batch = sampled.kept
            dropped.update(sampled.dropped)
        return Sampled(batch, dropped)

    def _settle(
        self, ask: Callable[[Sampler[SpanBatch]], Sampled[SpanBatch]]
    ) -> Sampled[SpanBatch]:
        kept: list[SpanBatch] = []
        dropped: Counter[str] = Counter()
        for position, sampler in enumerate(self._samplers, start=1):
            try:
                own = ask(sampler)
            except Exception as error:  # noqa: BLE001 - undecided rows stay pending, in the journal
                _log.error("sampling decision failed", error=type(error).__name__)
                continue
            passed = self._pass_on(own.kept, position)
            dropped.update(own.dropped)
            dropped.update(passed.dropped)
            if len(passed.kept):
                kept.append(passed.kept)
        return Sampled(type(NOTHING).concat(kept) if kept else NOTHING, dropped)
