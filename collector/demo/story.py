"""What the demo shows: sections of tables, each from SQL over the lake or from the scrape."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from collector.demo import queries
from collector.demo.planted import EXHIBITS
from collector.demo.sidecar import sum_metrics
from collector.model import telemetry as t
from storage.byte_search import search

if TYPE_CHECKING:
    import duckdb
    from rich.console import Console

    from collector.demo.planted import Exhibit
    from collector.demo.sidecar import DemoSidecar

_ERRORS_SHOWN: Final = 6
_CELL_CHARS: Final = 42
_SHOWN_SERIES: Final = (
    "traces_span_metrics_calls_total",
    "clearspan_gen_ai_cost_usd_total",
    "clearspan_spans_",
    "otelcol_processor_tail_sampling_count_traces_sampled_total",
)
_SERIES_EACH: Final = 4


class Story:
    """Prints the sections in order; ``leaks`` says afterwards how many planted values were found.

    ``unsearched`` is how many files could not be searched to their end. ``lake`` is a DuckDB
    connection with the views over the sidecar's data, ``scrape`` the text of its ``/metrics`` after
    everything was decided.
    """

    def __init__(
        self,
        console: Console,
        sidecar: DemoSidecar,
        lake: duckdb.DuckDBPyConnection,
        scrape: str,
    ) -> None:
        """Only keep them."""
        self._console = console
        self._sidecar = sidecar
        self._lake = lake
        self._scrape = scrape
        self.leaks = self.unsearched = 0

    def tell(self) -> None:
        """Print all sections."""
        self._redacted()
        self._cost()
        self._routes()
        self._errors()
        self._next()
        self._metrics()

    def _redacted(self) -> None:
        self._title("What was redacted")
        table = Table(box=None)
        for name in ("where", "before (in the app)", "after (SELECT from the lake)"):
            table.add_column(name, no_wrap=True)
        for exhibit in EXHIBITS:
            before = Text(_around(exhibit.text, exhibit.secret))
            before.highlight_words([exhibit.secret], "red")
            after = self._stored(exhibit)
            if exhibit.secret in after:
                self.leaks += 1
            styled = Text(after)
            styled.highlight_regex(r"<[A-Z_]+(?::\w+)?>", "green")
            table.add_row(exhibit.place, before, styled)
        self._console.print(table)
        needles = [exhibit.secret for exhibit in EXHIBITS]
        searched_for = [needle.encode() for needle in needles]
        found = search(self._sidecar.root, searched_for, ignore_case=True)
        in_scrape = [needle for needle in needles if needle.lower() in self._scrape.lower()]
        hits = len(found.hits) + len(in_scrape)
        self.leaks += hits
        self.unsearched += len(found.damaged) + len(found.unreadable)
        self._say(
            f"searched {found.files} files (data, journal, log; raw and decompressed), "
            f"{found.bytes:,} bytes, and the scrape for {len(needles)} planted values: {hits} hits",
        )

    def _stored(self, exhibit: Exhibit) -> str:
        marked = "attributes['demo.exhibit'] = $name"
        where = "resource_attributes['app.dsn'] IS NOT NULL"
        parameters = {}
        if exhibit.name != "resource":
            where = f"{marked} AND {exhibit.after} IS NOT NULL"
            parameters = {"name": exhibit.name}
        # the span itself, not its parent: the latest to start
        order = "start_time_unix_nano DESC" if exhibit.table == "spans" else "event_idx"
        found = f"FROM {exhibit.table} WHERE {where} ORDER BY {order} LIMIT 1"
        sql = f"SELECT {exhibit.after} {found}"
        row = self._lake.execute(sql, parameters).fetchone()
        if row is None:
            return "(not in the lake)"
        return _around(" ".join(str(row[0]).split()), "<")

    def _cost(self) -> None:
        self._title("What it cost, by model (sampled spans times their weight)")
        table = Table("provider", "model", box=None)
        for name in ("calls", "input tokens", "USD", "unpriced"):
            table.add_column(name, justify="right")
        for provider, model, calls, tokens, usd, unpriced in self._rows(queries.COST_BY_MODEL):
            price = "NULL (nobody knows it)" if usd is None else f"{usd:.4f}"
            table.add_row(provider, model, f"{calls:,}", f"{tokens:,}", price, f"{unpriced:,}")
        self._console.print(table)

    def _routes(self) -> None:
        self._title("Slowest routes (percentiles corrected by sample_weight)")
        table = Table("route", box=None)
        for name in ("requests", "stored", "p50 ms", "p95 ms", "p95 uncorrected"):
            table.add_column(name, justify="right")
        for route, requests, stored, p50, p95, raw in self._rows(queries.SLOWEST_ROUTES):
            figures = (f"{p50:,.0f}", f"{p95:,.0f}", f"{raw:,.0f}")
            table.add_row(route, f"{requests:,}", str(stored), *figures)
        self._console.print(table)

    def _errors(self) -> None:
        self._title("Error traces kept by tail sampling")
        rows = self._rows(queries.ERROR_TRACES)
        table = Table("trace", "root", box=None)
        for name in ("errors", "ms", "USD", "kept by", "weight"):
            table.add_column(name, justify="right")
        for trace, root, errors, took, usd, reason, weight in rows[:_ERRORS_SHOWN]:
            price = "-" if usd is None else f"{usd:.4f}"
            table.add_row(trace, root, str(errors), f"{took:,.0f}", price, reason, f"{weight:g}")
        self._console.print(table)
        if len(rows) > _ERRORS_SHOWN:
            self._say(f"... and {len(rows) - _ERRORS_SHOWN} more, every one of them")
        kept = ", ".join(
            f"{policy} {traces} (weight {weight:g})"
            for policy, traces, weight in self._rows(queries.KEPT_BY_REASON)
        )
        self._say(f"kept traces by policy: {kept}")
        stored, estimate, error = self._rows(queries.ESTIMATED_SPANS)[0]
        received = sum_metrics(self._scrape)[t.RECEIVED_SPANS.name]
        self._say(
            f"received {received:,.0f} spans (counter, exact), stored {stored:,}; "
            f"sum(sample_weight) = {estimate:,.0f} ± {error:,.0f}",
        )

    def _next(self) -> None:
        self._title("SQL to try next (while it runs: clearspan demo --keep)")
        data = shlex.quote(str(self._sidecar.data))
        for sql in queries.TO_TRY:
            self._say(f'clearspan query --data {data} "{sql}"')

    def _metrics(self) -> None:
        self._title(f"A piece of the scrape (http://{self._sidecar.metrics}/metrics)")
        lines = [line for line in self._scrape.splitlines() if not line.startswith("#")]
        for prefix in _SHOWN_SERIES:
            shown = [line for line in lines if line.startswith(prefix)]
            shown = [line for line in shown if "_created" not in line]
            for line in shown[: 2 * _SERIES_EACH if prefix.endswith("_") else _SERIES_EACH]:
                self._say(line)

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._lake.execute(sql).fetchall()

    def _title(self, text: str) -> None:
        self._console.print()
        self._console.rule(Text(text, "bold"), align="left", characters="─")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _around(text: str, found: str) -> str:
    """Return the text, cut to about a cell's width around ``found`` (which stays whole)."""
    spare = max(8, _CELL_CHARS - len(found))
    start = max(0, min(text.find(found) - spare // 2, len(text) - _CELL_CHARS))
    end = max(start + _CELL_CHARS, text.find(found) + len(found))
    head, tail = "…" if start else "", "…" if end < len(text) else ""
    return f"{head}{text[start:end]}{tail}"
