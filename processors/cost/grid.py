"""All prices of one model as integer rate vectors, laid out so that rows look theirs up.

A price may depend on the date, on the time of day (UTC) and on the size of the request's input
(a tier's rate holds for all tokens of a request above its threshold). Every combination is one
cell, worked out once; the cell of a row is three counts of boundaries passed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from genai_prices.types import (
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from genai_prices.types import ConditionalPrice, ModelInfo
    from numpy.typing import NDArray

# What a rate vector holds, in this order: a fee per request, then tokens by how they are billed.
REQUEST, INPUT, CACHE_READ, CACHE_WRITE, OUTPUT, REASONING = range(6)
UNITS: Final = 6
DAY_NS: Final = 86400 * 10**9
_NANO: Final = 10**9
_MILLION_PER_KCOUNT: Final = 1000  # fees are quoted per 1,000 requests
# 1,000 USD per million tokens: keeps every sum within 64 bits (the dearest in 0.2.3 costs 600).
_MAX_RATE: Final = 1000 * _NANO
_TOKEN_KEYS: Final = (
    "input_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "output_mtok",
    "output_reasoning_mtok",
)
_NEVER: Final = np.iinfo(np.int64).max
_ANY_DATE: Final = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class PriceGrid:
    """Rates of one model; one row of ``rates`` a cell, dates outermost, tiers innermost.

    ``rates`` is in nano-USD per million units (int64, ``UNITS`` columns). ``input_rated`` and
    ``output_rated`` say whether the data has a price for that direction at all: without one, used
    tokens have no known price. ``approximate`` marks cells priced by a fallback.
    """

    dates_ns: NDArray[np.int64]
    times_ns: NDArray[np.int64]
    tiers: NDArray[np.int64]
    rates: NDArray[np.int64]
    input_rated: NDArray[np.bool_]
    output_rated: NDArray[np.bool_]
    approximate: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.rates)

    def as_approximate(self) -> PriceGrid:
        """Return the same prices, all marked as found by a fallback."""
        return replace(self, approximate=np.ones(len(self), np.bool_))


@dataclass(frozen=True, slots=True)
class Prices:
    """The cell of the price grid that applies to each row; see ``PriceGrid``."""

    rates: NDArray[np.int64]
    input_rated: NDArray[np.bool_]
    output_rated: NDArray[np.bool_]
    approximate: NDArray[np.bool_]


_NONE: Final = np.zeros(0, np.int64)
NO_PRICE: Final = PriceGrid(
    *(_NONE, _NONE, _NONE),
    np.zeros((1, UNITS), np.int64),
    *(np.zeros(1, np.bool_), np.zeros(1, np.bool_), np.zeros(1, np.bool_)),
)
FREE: Final = replace(NO_PRICE, input_rated=np.ones(1, np.bool_), output_rated=np.ones(1, np.bool_))


def build_grid(model: ModelInfo) -> PriceGrid | None:
    """Return the model's prices, or None when the data holds none for tokens.

    A model whose id ends in ``:free`` has an empty price that means zero; any other empty price
    means that nobody knows.
    """
    conditional = model.prices if isinstance(model.prices, list) else []
    prices = [model.prices] if isinstance(model.prices, ModelPrice) else []
    prices += [condition.prices for condition in conditional]
    if not any(_rates_tokens(price) for price in prices):
        return FREE if model.id.endswith(":free") else None
    dates = sorted({day for condition in conditional for day in _dates(condition)})
    times = sorted({moment for condition in conditional for moment in _times(condition)})
    tiers = sorted({start for price in prices for start in _thresholds(price)})
    before = dates[0] - timedelta(days=1) if dates else _ANY_DATE
    cells = [
        (datetime.combine(day, moment, UTC), size)
        for day, moment in product([before, *dates], [time(0), *times])
        for size in [0, *(start + 1 for start in tiers)]
    ]
    in_force = [model.get_prices(moment) for moment, _ in cells]
    return PriceGrid(
        np.array([_day_ns(day) for day in dates], np.int64),
        np.array([_time_ns(moment) for moment in times], np.int64),
        np.array(tiers, np.int64),
        np.array(
            [_rates(price, size) for price, (_, size) in zip(in_force, cells, strict=True)],
            np.int64,
        ),
        np.array([price.input_mtok is not None for price in in_force]),
        np.array([price.output_mtok is not None for price in in_force]),
        np.array([not _is_active(conditional, moment) for moment, _ in cells]),
    )


def pick_cells(
    grids: Sequence[PriceGrid],
    which: NDArray[np.intp],
    start_ns: NDArray[np.int64],
    input_tokens: NDArray[np.int64],
) -> Prices:
    """Return each row's cell: how many dates, times of day and tiers of its grid it has passed."""
    sizes = np.array([len(grid) for grid in grids])
    cell = (np.cumsum(sizes) - sizes)[which]
    dates = _padded([grid.dates_ns for grid in grids])
    times = _padded([grid.times_ns for grid in grids])
    tiers = _padded([grid.tiers for grid in grids])
    n_tiers = np.array([len(grid.tiers) for grid in grids]) + 1
    n_times = np.array([len(grid.times_ns) for grid in grids]) + 1
    if dates.size or times.size:
        day = (dates[which] <= start_ns[:, None]).sum(1)
        moment = (times[which] <= (start_ns % DAY_NS)[:, None]).sum(1)
        cell = cell + (day * n_times[which] + moment) * n_tiers[which]
    if tiers.size:
        cell = cell + (tiers[which] < input_tokens[:, None]).sum(1)
    return Prices(
        np.concatenate([grid.rates for grid in grids])[cell],
        np.concatenate([grid.input_rated for grid in grids])[cell],
        np.concatenate([grid.output_rated for grid in grids])[cell],
        np.concatenate([grid.approximate for grid in grids])[cell],
    )


def _rates_tokens(price: ModelPrice) -> bool:
    return price.input_mtok is not None or price.output_mtok is not None


def _is_active(conditional: Sequence[ConditionalPrice], moment: datetime) -> bool:
    """Tell whether a price is valid at that time; else genai-prices falls back to the first."""
    return not conditional or any(
        condition.constraint is None or condition.constraint.active(moment)
        for condition in conditional
    )


def _dates(condition: ConditionalPrice) -> tuple[date, ...]:
    constraint = condition.constraint
    return (constraint.start_date,) if isinstance(constraint, StartDateConstraint) else ()


def _times(condition: ConditionalPrice) -> tuple[time, ...]:
    constraint = condition.constraint
    if not isinstance(constraint, TimeOfDateConstraint):
        return ()
    return tuple(_as_utc(moment) for moment in (constraint.start_time, constraint.end_time))


def _as_utc(moment: time) -> time:
    """Return a time of day in UTC; one without a zone is UTC already."""
    anchored = datetime.combine(_ANY_DATE, moment)
    return (anchored.astimezone(UTC) if moment.tzinfo else anchored).time()


def _day_ns(day: date) -> int:
    return int(datetime.combine(day, time(0), UTC).timestamp()) * _NANO


def _time_ns(moment: time) -> int:
    whole_s = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return whole_s * _NANO + moment.microsecond * 1000


def _thresholds(price: ModelPrice) -> list[int]:
    tiered = [getattr(price, key) for key in _TOKEN_KEYS]
    return [tier.start for each in tiered if isinstance(each, TieredPrices) for tier in each.tiers]


def _rates(price: ModelPrice, input_tokens: int) -> list[int]:
    """Return the rate vector for a request of that size.

    Tokens of a kind with no rate of its own are billed as what they are part of: cached ones as
    input, reasoning as output.
    """
    uncached = _rate(price.input_mtok, input_tokens, 0)
    output = _rate(price.output_mtok, input_tokens, 0)
    return [
        _rate(price.requests_kcount, input_tokens, 0) * _MILLION_PER_KCOUNT,
        uncached,
        _rate(price.cache_read_mtok, input_tokens, uncached),
        _rate(price.cache_write_mtok, input_tokens, uncached),
        output,
        _rate(price.output_reasoning_mtok, input_tokens, output),
    ]


def _rate(price: Decimal | TieredPrices | None, input_tokens: int, otherwise: int) -> int:
    """Return nano-USD per million tokens; rates below that (float noise in the data) are rounded.

    The rounding changes no cost by more than half a nano-USD per million tokens.
    """
    if price is None:
        return otherwise
    if isinstance(price, TieredPrices):
        passed = [tier.price for tier in price.tiers if input_tokens > tier.start]
        price = passed[-1] if passed else price.base
    return min(round(price * _NANO), _MAX_RATE)


def _padded(boundaries: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return ragged boundaries as a rectangle; what is missing is never passed."""
    width = max(map(len, boundaries))
    out = np.full((len(boundaries), width), _NEVER)
    if width:
        for row, values in enumerate(boundaries):  # distinct combinations, not spans
            out[row, : len(values)] = values
    return out
