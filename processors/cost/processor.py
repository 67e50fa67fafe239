"""Prices every LLM call of a batch at once: one look-up a combination, the rest is arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.telemetry import PRICED_SPANS
from processors.cost.calls import CUSTOM, EMBEDDING, classify, encode
from processors.cost.grid import OUTPUT, pick_cells
from processors.cost.prices import PriceBook
from processors.cost.usage import read_usage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collector.model.batch import SpanBatch
    from collector.model.telemetry import Telemetry
    from config.settings import CostSettings
    from processors.cost.grid import Prices
    from processors.cost.usage import Usage

STATUSES: Final = ("priced", "zero_rated", "approximate", "unpriced")
_PRICED, _ZERO_RATED, _APPROXIMATE, _UNPRICED = range(len(STATUSES))
_MILLION: Final = 1_000_000
_NAMES: Final = (s.GEN_AI_PROVIDER_NAME, s.GEN_AI_REQUEST_MODEL, s.GEN_AI_RESPONSE_MODEL)


class CostProcessor:
    """Fills the cost columns of LLM calls; rows of other spans keep nulls in all of them.

    A call whose price is not known gets status ``unpriced`` and no cost. Spans that repeat what
    their children used (agents, workflows, tools) are no calls. ``cost_reported_usd`` is left as
    it came.
    """

    def __init__(self, settings: CostSettings, telemetry: Telemetry) -> None:
        """Load the bundled prices."""
        self._book = PriceBook(settings.provider_aliases)
        self._telemetry = telemetry
        self._statuses = pa.array(STATUSES, pa.string())
        self._version = pa.array([self._book.version], pa.string())

    def process(self, batch: SpanBatch) -> SpanBatch:
        """Return the batch with costs; the same object when there is no LLM call in it."""
        kinds = classify(batch)
        rows = np.flatnonzero(kinds)
        if not len(rows):
            return batch
        usage = read_usage(batch, rows, kinds[rows] == EMBEDDING)
        prices = self._prices_of(batch, rows, usage)
        status = _status(prices, usage)
        status[kinds[rows] == CUSTOM] = _UNPRICED
        counts = np.bincount(status, minlength=len(STATUSES))
        for name, count in zip(STATUSES, counts.tolist(), strict=True):
            if count:
                self._telemetry.add(PRICED_SPANS, count, name)
        return batch.replace(self._columns(len(batch), rows, status, _costs(prices, usage)))

    def _prices_of(self, batch: SpanBatch, rows: NDArray[np.intp], usage: Usage) -> Prices:
        """Return what each row's tokens cost; Python works once a distinct combination."""
        names = [encode(batch.column(name)) for name in _NAMES]
        codes = [each.codes[rows].astype(np.int64) for each in names]
        combined = codes[0]
        for each, more in zip(names[1:], codes[1:], strict=True):  # two more columns
            combined = combined * len(each.values) + more
        _, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
        distinct = [
            [each.values[code] for code in more[first].tolist()]
            for each, more in zip(names, codes, strict=True)
        ]
        grids = list(map(self._book.grid, *distinct))
        start_ns = pc.fill_null(batch.column(s.START_TIME_UNIX_NANO), 0).to_numpy()[rows]
        return pick_cells(grids, inverse, start_ns, usage.billed_input)

    def _columns(
        self,
        length: int,
        rows: NDArray[np.intp],
        status: NDArray[np.int64],
        costs: _Costs,
    ) -> dict[str, pa.Array]:
        """Return the cost columns of the whole batch."""
        codes = np.full(length, -1, np.int64)
        codes[rows] = status
        is_priced = (codes >= 0) & (codes != _UNPRICED)
        absent = codes < 0
        return {
            s.COST_USD: _money(length, rows, costs.total, is_priced),
            s.COST_INPUT_USD: _money(length, rows, costs.input, is_priced),
            s.COST_OUTPUT_USD: _money(length, rows, costs.total - costs.input, is_priced),
            s.COST_STATUS: self._statuses.take(pa.array(codes, mask=absent)),
            s.PRICE_VERSION: self._version.take(
                pa.array(np.zeros(length, np.int64), mask=absent),
            ),
        }


@dataclass(frozen=True, slots=True)
class _Costs:
    """Nano-USD of each row, whole and for its input."""

    total: NDArray[np.int64]
    input: NDArray[np.int64]


def _status(prices: Prices, usage: Usage) -> NDArray[np.int64]:
    """Return each row's status: no price for something that was used means no price at all."""
    spent_input, spent_output = usage.billed_input > 0, usage.billed_output > 0
    known = (prices.input_rated | prices.output_rated) & usage.is_reported
    known &= (prices.input_rated | ~spent_input) & (prices.output_rated | ~spent_output)
    status = np.where(prices.rates.any(axis=1), _PRICED, _ZERO_RATED)
    status = np.where(prices.approximate | usage.is_approximate, _APPROXIMATE, status)
    return np.where(known, status, _UNPRICED)


def _costs(prices: Prices, usage: Usage) -> _Costs:
    """Multiply in integers and round once, half up, to nano-USD.

    Rates are per million tokens, so whole millions are multiplied apart: both parts stay below
    2**63 for every rate and count that is let through.
    """
    millions, rest = np.divmod(usage.counts, _MILLION)
    whole = millions * prices.rates
    part = rest * prices.rates
    total = whole.sum(axis=1) + (part.sum(axis=1) + _MILLION // 2) // _MILLION
    of_input = whole[:, :OUTPUT].sum(axis=1)
    of_input += (part[:, :OUTPUT].sum(axis=1) + _MILLION // 2) // _MILLION
    return _Costs(total, of_input)


def _money(
    length: int,
    rows: NDArray[np.intp],
    nano_usd: NDArray[np.int64],
    is_valid: NDArray[np.bool_],
) -> pa.Array:
    """Return a DECIMAL(18,9) column; its unscaled values are nano-USD in 128 bits."""
    unscaled = np.zeros((length, 2), np.int64)
    unscaled[rows, 0] = nano_usd  # the low half; never negative, so the high one stays 0
    validity = np.packbits(is_valid, bitorder="little")
    return pa.Array.from_buffers(s.MONEY, length, [pa.py_buffer(validity), pa.py_buffer(unscaled)])
