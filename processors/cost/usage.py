"""What each LLM call used, made consistent: nothing an emitter reports can raise here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow.compute as pc

from collector.model import schema as s
from processors.cost.grid import UNITS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from collector.model.batch import SpanBatch

_UNREPORTED: Final = -1
_MAX_TOKENS: Final = 10**11  # more than any model will take; keeps the sums within 64 bits
_COLUMNS: Final = (
    s.INPUT_TOKENS,
    s.OUTPUT_TOKENS,
    s.CACHE_READ_TOKENS,
    s.CACHE_WRITE_TOKENS,
    s.REASONING_TOKENS,
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of each row, by how they are billed.

    ``counts`` (int64, one column a unit of ``grid``) adds up to one request plus
    ``billed_input`` (cached tokens included) plus ``billed_output`` (reasoning included).
    ``is_reported`` is false where neither input nor output was reported.
    """

    counts: NDArray[np.int64]
    billed_input: NDArray[np.int64]
    billed_output: NDArray[np.int64]
    is_reported: NDArray[np.bool_]
    is_approximate: NDArray[np.bool_]


def read_usage(
    batch: SpanBatch,
    rows: NDArray[np.intp],
    is_embedding: NDArray[np.bool_],
) -> Usage:
    """Return the usage of these rows.

    By the conventions input includes cached tokens and output includes reasoning. An emitter
    that reports more of the part than of the whole counts them apart, so they are added, and the
    row is approximate; so is one that leaves input or output out (embeddings have no output).
    A negative or impossible count is taken as not reported.
    """
    reported = [_counts(batch.column(name), rows) for name in _COLUMNS]
    has_input, has_output = reported[0] >= 0, reported[1] >= 0
    tokens_in, tokens_out, cache_read, cache_write, reasoning = (
        np.maximum(column, 0) for column in reported
    )
    cached = cache_read + cache_write
    exclusive_input = cached > tokens_in
    exclusive_output = reasoning > tokens_out
    tokens_in = tokens_in + np.where(exclusive_input, cached, 0)
    tokens_out = tokens_out + np.where(exclusive_output, reasoning, 0)
    counts = np.empty((len(rows), UNITS), np.int64)
    counts.T[:] = (
        np.ones(len(rows), np.int64),
        tokens_in - cached,
        cache_read,
        cache_write,
        tokens_out - reasoning,
        reasoning,
    )
    incomplete = ~has_input | ~(has_output | is_embedding)
    return Usage(
        counts,
        tokens_in,
        tokens_out,
        has_input | has_output,
        exclusive_input | exclusive_output | incomplete,
    )


def _counts(column: pa.Array, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    if column.null_count == len(column):
        return np.full(len(rows), _UNREPORTED, np.int64)
    counts = pc.fill_null(column, _UNREPORTED).to_numpy()[rows]
    return np.where((counts < 0) | (counts > _MAX_TOKENS), _UNREPORTED, counts)
