"""Tells which spans are billable LLM calls, by operation name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from collector.model import schema as s
from processors.cost.names import EMBEDDINGS, PRICED_OPERATIONS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from collector.model.batch import SpanBatch

# What an operation name says about a row.
NO_CALL, CALL, EMBEDDING, CUSTOM, UNNAMED = range(5)


@dataclass(frozen=True, slots=True)
class Names:
    """One name column: a code a row, and the distinct names (None among them)."""

    codes: NDArray[np.int32]
    values: list[str | None]


def classify(batch: SpanBatch) -> NDArray[np.int8]:
    """Return what each row is, ``NO_CALL`` being 0.

    A span without an operation name is a call if it names a model and reports tokens, as older
    instrumentations do; one with a name of its own making as well, but it may be a sum over
    calls, so it gets no price.
    """
    length = len(batch)
    operations = batch.column(s.GEN_AI_OPERATION_NAME)
    models = [batch.column(name) for name in (s.GEN_AI_REQUEST_MODEL, s.GEN_AI_RESPONSE_MODEL)]
    if operations.null_count == length and all(m.null_count == length for m in models):
        return np.zeros(length, np.int8)
    names = encode(operations)
    kind_of = np.array([_kind(name) for name in names.values], np.int8)  # distinct names
    kinds: NDArray[np.int8] = kind_of[names.codes]
    uncertain = kinds >= CUSTOM
    if uncertain.any():
        has_model = _is_valid(models[0]) | _is_valid(models[1])
        tokens = _is_valid(batch.column(s.INPUT_TOKENS)) | _is_valid(batch.column(s.OUTPUT_TOKENS))
        kinds[uncertain & ~(has_model & tokens)] = NO_CALL
    return kinds


def encode(column: pa.Array) -> Names:
    """Return the names in a column, each distinct one once."""
    encoded = column.dictionary_encode(null_encoding="encode")
    return Names(encoded.indices.to_numpy(), encoded.dictionary.to_pylist())


def _kind(operation: str | None) -> int:
    if not operation:
        return UNNAMED
    lowered = operation.lower()
    if lowered == EMBEDDINGS:
        return EMBEDDING
    if lowered in PRICED_OPERATIONS:
        return CALL
    return NO_CALL if lowered in s.NO_CALL_OPERATIONS else CUSTOM


def _is_valid(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(column.is_valid())
