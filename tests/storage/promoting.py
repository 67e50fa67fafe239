"""Settings that promote attributes, and batches that have such attributes, for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from collector.model import schema as s
from config.exporters import LakeSettings, PromotedAttribute
from tests.storage.batches import make_batch
from tests.storage.store import Store, lake_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from collector.model.batch import SpanBatch

Pairs = list[tuple[str, str | None]]


def promoting(*columns: tuple[str, ...], **changes: Any) -> LakeSettings:
    """Return settings with columns as (column, key[, type[, source]])."""
    names = ("column", "key", "type", "source")
    promote = tuple(PromotedAttribute(**dict(zip(names, one, strict=False))) for one in columns)
    return lake_settings(promote=promote, **changes)


def batch_with(
    attributes: Sequence[Pairs], resource: Sequence[Pairs] | None = None, seed: int = 0
) -> SpanBatch:
    """Return one span for each list of attributes; the rest is ``make_batch``'s."""
    columns = {s.ATTRIBUTES: pa.array(attributes, s.STRING_MAP)}
    if resource is not None:
        columns[s.RESOURCE_ATTRIBUTES] = pa.array(resource, s.STRING_MAP)
    return make_batch(len(attributes), seed).replace(columns)


def write(data: Path, settings: LakeSettings, *batches: SpanBatch) -> None:
    """Start with these settings, store the batches, a flush each, and stop."""
    store = Store(data, settings)
    for batch in batches:
        store.store(batch)
        assert store.lake.flush()
    assert store.lake.close()
    store.journal.close()


def query(data: Path, sql: str) -> list[dict[str, Any]]:
    """Return the rows that ``clearspan query`` prints, in a process of its own."""
    command = [sys.executable, "-m", "collector.cli", "query", "--data", str(data)]
    done = subprocess.run(
        [*command, "--format", "json", sql], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows
