"""Series in numpy arrays: a bounded index of label values, counters and histograms over it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress, count, repeat
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from collector.metrics.families import OVERFLOW_LABEL
from collector.metrics.snapshot import CounterSnapshot, Exemplars, HistogramSnapshot, label_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from collector.metrics.labels import Groups
    from collector.model.metric import Metric

_OVERFLOW_ROW: Final = 0
_NEW: Final = -1
_FIRST_ROWS: Final = 64
_MOST_COUNTED: Final = 2**62
_MOST_OBSERVED: Final = 1e9
_T = TypeVar("_T", bound=np.generic)
_EXEMPLAR: Final = np.dtype([("trace_id", "V16"), ("value", "f8"), ("time", "f8")])


@dataclass(frozen=True, slots=True)
class SeriesPolicy:
    """How many series a family may hold and how long; one policy for all families.

    ``limit`` does not count the overflow series. A series without a span for ``expiration_s`` may
    be forgotten, with 0 never. ``clock`` gives Unix seconds and may jump; ``monotonic`` measures
    delays and never does.
    """

    limit: int
    expiration_s: float
    clock: Callable[[], float]
    monotonic: Callable[[], float]


class SeriesIndex:
    """Label values to row numbers; row 0 is the overflow series, at most ``limit`` others exist.

    Bounded: once full it remembers nothing about label values it does not hold.
    """

    def __init__(self, labels: tuple[str, ...], policy: SeriesPolicy) -> None:
        """Start with the overflow series alone."""
        self._names = labels
        self._policy = policy
        # in the order of the rows, which begin at 1
        self._rows: dict[tuple[str, ...], int] = {}
        self._seen = np.zeros(_FIRST_ROWS)
        overflow = label_text((*labels, OVERFLOW_LABEL), (*[""] * len(labels), "true"))
        self.texts = [overflow]
        self.created = [policy.clock()]

    def __len__(self) -> int:
        """Return the number of series held beside the overflow series."""
        return len(self._rows)

    def locate(self, groups: Groups) -> NDArray[np.int64]:
        """Return the series row of every span of ``groups``, adding series while there is room."""
        limit = self._policy.limit
        full = len(self._rows) >= limit
        found = list(map(self._rows.get, groups.labels, repeat(_OVERFLOW_ROW if full else _NEW)))
        if not full and _NEW in found:
            now = self._policy.clock()
            missing = compress(groups.labels, map(_NEW.__eq__, found))
            # one turn for each series it does not hold, at most ``limit`` until some are forgotten
            for labels in dict.fromkeys(missing):
                if len(self._rows) >= limit:
                    break
                self._rows[labels] = len(self.texts)
                self.texts.append(label_text(self._names, labels))
                self.created.append(now)
            found = list(map(self._rows.get, groups.labels, repeat(_OVERFLOW_ROW)))
        rows = np.array(found, dtype=np.int64)
        if self._policy.expiration_s:
            self._seen = _grown(self._seen, len(self.texts))
            self._seen[rows] = self._policy.monotonic()
        return rows[groups.codes]

    def forget_idle(self) -> NDArray[np.int64] | None:
        """Forget the series without a span for the policy's time; those behind them move up.

        Returns the rows that stay, ascending; None when all do. The overflow series always stays.
        """
        if not self._policy.expiration_s:
            return None
        idle_s = self._policy.monotonic() - self._seen[: len(self.texts)]
        stays = idle_s < self._policy.expiration_s
        stays[_OVERFLOW_ROW] = True
        if stays.all():
            return None
        chosen = stays.tolist()
        self._rows = dict(zip(compress(self._rows, chosen[1:]), count(1)))
        self.texts = list(compress(self.texts, chosen))
        self.created = list(compress(self.created, chosen))
        rows = np.flatnonzero(stays)
        self._seen = _compacted(self._seen, rows)
        return rows


class CounterSeries:
    """Whole-number counters; the exposed value is the count divided by ``divisor``."""

    def __init__(
        self,
        metric: Metric,
        policy: SeriesPolicy,
        *,
        divisor: int = 1,
    ) -> None:
        """Start without series."""
        self.metric = metric
        self.index = SeriesIndex(metric.labels, policy)
        self._divisor = divisor
        self._values = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self._used = np.zeros(_FIRST_ROWS, dtype=bool)

    def add(self, groups: Groups, amounts: NDArray[np.int64] | int = 1) -> None:
        """Add ``amounts`` (never negative, one a span) to the series of the spans."""
        rows = self.index.locate(groups)
        self._values = _grown(self._values, len(self.index.texts))
        self._used = _grown(self._used, len(self.index.texts))
        if isinstance(amounts, int):
            np.add.at(self._values, rows, amounts)
        else:
            # what senders claim may be more than fits: a counter stops there and never goes back
            added = np.bincount(rows, amounts, len(self._values))
            is_full = self._values + added >= _MOST_COUNTED
            np.add.at(self._values, rows, amounts)
            self._values[is_full] = _MOST_COUNTED
        self._used[rows] = True

    def snapshot(self) -> CounterSnapshot:
        """Return a copy of what is exposed."""
        used = np.flatnonzero(self._used[: len(self.index.texts)])
        rows = used.tolist()
        values = self._values[used]
        return CounterSnapshot(
            self.metric,
            list(map(self.index.texts.__getitem__, rows)),
            (values / self._divisor if self._divisor > 1 else values).tolist(),
            list(map(self.index.created.__getitem__, rows)),
        )

    def forget_idle(self) -> None:
        """Forget the series that got no span for the policy's time, with all they counted."""
        rows = self.index.forget_idle()
        if rows is not None:
            self._values = _compacted(self._values, rows)
            self._used = _compacted(self._used, rows)


class HistogramSeries:
    """Histograms with the metric's buckets, and the last trace id of every bucket."""

    def __init__(
        self,
        metric: Metric,
        policy: SeriesPolicy,
        *,
        exemplars: bool,
    ) -> None:
        """Start without series."""
        self.metric = metric
        self.index = SeriesIndex(metric.labels, policy)
        self._clock = policy.clock
        self._bounds = np.array(metric.buckets)
        self._cells = len(metric.buckets) + 1
        self._counts = np.zeros((_FIRST_ROWS, self._cells), dtype=np.int64)
        self._sums = np.zeros(_FIRST_ROWS)
        rows = _FIRST_ROWS if exemplars else 0
        self._last = np.zeros((rows, self._cells), dtype=_EXEMPLAR)

    def observe(
        self,
        groups: Groups,
        values: NDArray[np.float64],
        trace_ids: NDArray[np.void],
    ) -> None:
        """Add one value (finite, never negative) and one trace id a span.

        One that no clock and no model gives counts as ``_MOST_OBSERVED``: the sum stays of use.
        """
        values = np.minimum(values, _MOST_OBSERVED)
        rows = self.index.locate(groups)
        held = len(self.index.texts)
        self._counts = _grown(self._counts, held)
        self._sums = _grown(self._sums, held)
        cells = rows * self._cells + np.searchsorted(self._bounds, values, side="left")
        np.add.at(self._counts.reshape(-1), cells, 1)
        np.add.at(self._sums, rows, values)
        if len(self._last):
            self._last = _grown(self._last, held)
            latest = np.empty(len(cells), dtype=_EXEMPLAR)
            latest["trace_id"] = trace_ids
            latest["value"] = values
            latest["time"] = self._clock()
            # of several writes to one bucket the last stays; id and value are written as one
            self._last.reshape(-1)[cells] = latest

    def snapshot(self) -> HistogramSnapshot:
        """Return a copy of what is exposed."""
        held = len(self.index.texts)
        cumulative = np.cumsum(self._counts[:held], axis=1)
        used = np.flatnonzero(cumulative[:, -1])
        rows = used.tolist()
        last = self._last[used] if len(self._last) else None
        return HistogramSnapshot(
            self.metric,
            list(map(self.index.texts.__getitem__, rows)),
            cumulative[used],
            self._sums[used].tolist(),
            list(map(self.index.created.__getitem__, rows)),
            None
            if last is None
            else Exemplars(last["trace_id"].copy(), last["value"].copy(), last["time"].copy()),
        )

    def forget_idle(self) -> None:
        """Forget the series that got no span for the policy's time, with their exemplars."""
        rows = self.index.forget_idle()
        if rows is not None:
            self._counts = _compacted(self._counts, rows)
            self._sums = _compacted(self._sums, rows)
            if len(self._last):
                self._last = _compacted(self._last, rows)


def _compacted(array: NDArray[_T], rows: NDArray[np.int64]) -> NDArray[_T]:
    """Return a copy of these rows, with no more room than they or the first ones need."""
    return _grown(array[rows], _FIRST_ROWS)


def _grown(array: NDArray[_T], rows: int) -> NDArray[_T]:
    """Return the array with room for ``rows`` rows, at least doubled when it has not."""
    if rows <= len(array):
        return array
    larger = np.zeros((max(rows, 2 * len(array)), *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
