"""A change of stored rows, and a process that makes it until it is killed.

Importable by name, because the test starts it through a fork server.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collector.model import schema as s
from collector.model.errors import ClearspanError
from storage.environment import Environment
from storage.rewrite import StoredData
from tests.storage.recording import RecordingTelemetry

if TYPE_CHECKING:
    from collector.model.batch import SpanBatch

NEW_NAME = "rewritten"


class RenameAndDrop:
    """Gives every row a name and drops those whose trace id is odd."""

    rules: str | None = "new rules"

    def spans(self, rows: pa.Table) -> pa.Table:
        """Change rows of ``spans``."""
        place = rows.schema.get_field_index(s.NAME)
        names = pa.repeat(NEW_NAME, rows.num_rows)
        return rows.set_column(place, rows.schema.field(place), names).filter(_is_even(rows))

    events = spans

    def batch(self, batch: SpanBatch) -> SpanBatch:
        """Change journalled rows."""
        named = batch.replace({s.NAME: pa.repeat(NEW_NAME, len(batch))})
        return named.keep(_is_even(batch.table).to_numpy(zero_copy_only=False))


def _is_even(rows: pa.Table) -> pa.Array:
    ids = rows.column(s.TRACE_ID).to_pylist()
    return pa.array(np.array([trace_id[-1] % 2 == 0 for trace_id in ids], bool))


def rewrite_all(path: Path, environment: Environment | None = None) -> int:
    """Do what is left to do and unlink what was replaced; return how many files that were."""
    change = RenameAndDrop()
    with StoredData(path, 0.0, RecordingTelemetry(), environment) as stored:
        todo = [entry for entry in stored.files if entry.rules != change.rules]
        for entry in todo:
            stored.rewrite_file(entry, change)
        for segment in stored.segments:
            stored.rewrite_segment(segment, change)
        if left := stored.unlink_replaced():
            raise ClearspanError(f"still there: {left}")
    return len(todo)


def rewrite_until_killed(path: str, die_at: str, nth: int) -> None:
    """Rewrite; at the ``nth`` reaching of the point ``die_at``: SIGKILL."""
    reached: Counter[str] = Counter()

    def maybe_die(point: str) -> None:
        reached[point] += 1
        if point == die_at and reached[point] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    rewrite_all(Path(path), Environment(reached=maybe_die))
