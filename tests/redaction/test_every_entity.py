"""Every entity in every spelling on every surface: none is left in any buffer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from collector.model import schema as s
from collector.model.batch import SpanBatch
from processors.redaction.surfaces import surfaces
from tests.e2e.leak_search import find_any
from tests.redaction.published_cases import EVERY_ENTITY, Planted, every_entity_spelled
from tests.redaction.sample_batches import buffers_of, made, plant

if TYPE_CHECKING:
    from processors.redaction import RedactionProcessor

NOWHERE = Path("/nonexistent")


@pytest.fixture(scope="module")
def texts() -> dict[str, Planted]:
    """One case of each entity in every spelling."""
    return every_entity_spelled()


@pytest.fixture(scope="module")
def everything() -> RedactionProcessor:
    """A processor that looks for all entities."""
    processor, _ = made(entities=EVERY_ENTITY)
    return processor


def _column(path: tuple[str, ...], texts: list[str]) -> dict[str, pa.Array]:
    field = s.SPAN_SCHEMA.field(path[0])
    values: list[Any] = [plant(field.type, (field.name,), path, text) for text in texts]
    return {field.name: pa.array(values, field.type)}


@pytest.mark.parametrize("path", surfaces(), ids=".".join)
def test_no_entity_in_any_spelling_survives(
    everything: RedactionProcessor, texts: dict[str, Planted], path: tuple[str, ...]
) -> None:
    """Scenario: a span for each of 1,302 texts, with it on this surface.

    Guarantees: no trace of any in any buffer; the same search finds all of them before.
    """
    assert len(texts) >= 90 * 14
    planted = [one.text for one in texts.values()]
    batch = SpanBatch.from_columns(_column(path, planted), len(planted))
    traces = {name: one.trace for name, one in texts.items()}
    before = find_any(traces, NOWHERE, {"before": buffers_of(batch)})
    assert before == set(traces)
    after = buffers_of(everything.process(batch))
    assert find_any(traces, NOWHERE, {"after": after}) == set()
