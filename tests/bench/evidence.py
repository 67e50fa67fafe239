"""What the sidecar itself says after a run: rows in the lake, and its conservation counters."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import duckdb
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.receivers import Receiver

SETTLE_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.1
_PREFIX: Final = "clearspan_spans_"


@dataclass(frozen=True, slots=True)
class Rows:
    """Spans in the lake by its manifest, and how many different (trace id, span id) they are."""

    rows: int
    distinct: int


@dataclass(frozen=True, slots=True)
class Counters:
    """received + replayed = stored + dropped + pending + refused, and where the time went."""

    received: int = 0
    replayed: int = 0
    stored: int = 0
    dropped: int = 0
    pending: int = 0
    refused: int = 0
    stage_s: dict[str, float] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether the conservation law holds."""
        left = self.received + self.replayed
        return left == self.stored + self.dropped + self.pending + self.refused


def lake_rows(data: Path) -> Rows:
    """Count the spans of the manifest's files, with plain DuckDB."""
    lake = data / "lake"
    manifest = json.loads((lake / "_manifest.json").read_text())
    files = [str(lake / name) for name in manifest["spans"]]
    query = "SELECT count(*), count(DISTINCT (trace_id, span_id)) FROM read_parquet(?)"
    with duckdb.connect() as connection:
        row = connection.execute(query, [files]).fetchone()
    if row is None:
        raise RuntimeError("count(*) gave no row")
    return Rows(*row)


def read_counters(scrape: str) -> Counters:
    """Sum the conservation counters over their labels; stages in seconds of wall time."""
    sums: dict[str, float] = {}
    stages: dict[str, float] = {}
    for family in text_string_to_metric_families(scrape):
        for sample in family.samples:
            if sample.name.startswith(_PREFIX):
                name = sample.name.removeprefix(_PREFIX).removesuffix("_total")
                sums[name] = sums.get(name, 0) + sample.value
            elif sample.name == "clearspan_stage_duration_seconds_sum":
                stages[sample.labels["stage"]] = sample.value
    names = ("received", "replayed", "stored", "dropped", "pending", "refused")
    return Counters(**{name: int(sums.get(name, 0)) for name in names}, stage_s=stages)


def await_settled(receiver: Receiver) -> Counters:
    """Wait until nothing is pending in the sidecar (or for SETTLE_TIMEOUT_S) and read it."""
    give_up = time.monotonic() + SETTLE_TIMEOUT_S
    counters = read_counters(receiver.scrape())
    while counters.pending and time.monotonic() < give_up:
        time.sleep(_POLL_S)
        counters = read_counters(receiver.scrape())
    return counters
