"""A lake made by hand from the documented layout: Parquet files and a manifest, nothing else.

The SQL face is held to the format on disk here, not to the code that usually writes it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from collector.model import schema
from storage.lake_tables import SPAN_EVENTS_SCHEMA, SPANS_SCHEMA, split

if TYPE_CHECKING:
    from pathlib import Path

    from collector.model.batch import SpanBatch

_SCHEMAS = {"spans": SPANS_SCHEMA, "span_events": SPAN_EVENTS_SCHEMA}


class SmallLake:
    """Writes batches the way readers expect to find them."""

    def __init__(self, data: Path) -> None:
        """Make an empty lake under the data directory."""
        self.path = data / "lake"
        self.files: dict[str, list[str]] = {}
        for table, columns in _SCHEMAS.items():
            self.files[table] = [f"{table}/_empty.parquet"]
            (self.path / table).mkdir(parents=True)
            pq.write_table(columns.empty_table(), self.path / self.files[table][0])
        self.generation = 0
        self.commit()

    def append(self, batch: SpanBatch) -> None:
        """Write the batch's spans and events as new files and commit them."""
        for part in split(batch.table, now_us=0):
            self.files[part.table].append(self.write(part.table, part.partition, part.rows))
        self.commit()

    def write(self, table: str, partition: str, rows: pa.Table) -> str:
        """Write one file and return its path in the lake, without committing it."""
        directory = self.path / table / partition
        directory.mkdir(parents=True, exist_ok=True)
        name = f"{table}/{partition}/{len(self.files[table]):05}-{os.urandom(4).hex()}.parquet"
        pq.write_table(
            rows,
            self.path / name,
            row_group_size=32_768,
            bloom_filter_options={schema.TRACE_ID: {"ndv": max(1, rows.num_rows), "fpp": 0.01}},
        )
        return name

    def compact(self, *, unlink: bool) -> None:
        """Merge the files of each table into one; ``unlink`` takes the old ones away at once."""
        for table, columns in _SCHEMAS.items():
            empty, *old = self.files[table]
            rows = pa.concat_tables(
                [pq.ParquetFile(self.path / name).read() for name in old] or [columns.empty_table()]
            )
            self.files[table] = [empty, self.write(table, "date=2026-01-01/hour=00", rows)]
            self.commit()
            for name in old if unlink else []:
                (self.path / name).unlink()

    def commit(self) -> None:
        """Replace the manifest."""
        self.generation += 1
        manifest = {
            "format_version": 1,
            "generation": self.generation,
            "source_id": "test",
            "settled_through": self.generation,
            "updated": "2026-01-01T00:00:00Z",
            **self.files,
            "files": [],
        }
        temporary = self.path / "_manifest.json.tmp"
        temporary.write_text(json.dumps(manifest), encoding="utf-8")
        temporary.replace(self.path / "_manifest.json")
