"""``clearspan reredact``: today's redaction over everything that is stored."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from collector.cli.progress import progress, wait_visibly
from collector.logs import configure_logging
from collector.metrics.telemetry import PrometheusTelemetry
from collector.model import schema as s
from collector.model.batch import LogBatch, SpanBatch
from collector.model.errors import ClearspanError, ConfigError
from collector.redact_again import RedactAgain
from config.loader import load_settings
from processors.redaction import RedactionProcessor
from storage.event_batches import from_batch, to_batch
from storage.lake_tables import SPANS_SCHEMA
from storage.rewrite import rewritten, stored_signals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from collector.model.batch import BatchT
    from config.settings import ClearspanSettings
    from storage.journal_segment import Segment
    from storage.manifest_text import FileEntry
    from storage.rewrite import StoredData


class Redacted:
    """A ``Change``: rows as today's redaction leaves them."""

    def __init__(self, again: RedactAgain) -> None:
        """Redact by this."""
        self._again = again
        self.rules: str | None = again.rules

    def spans(self, rows: pa.Table) -> pa.Table:
        """Return redacted rows of ``spans``."""
        columns = {name: rows.column(name).combine_chunks() for name in SPANS_SCHEMA.names}
        clean = self._again.batch(SpanBatch.from_columns(columns, rows.num_rows))
        return clean.table.drop_columns([s.EVENTS])

    def events(self, rows: pa.Table) -> pa.Table:
        """Return redacted rows of ``span_events``."""
        return from_batch(self._again.batch(to_batch(rows)), rows)

    def logs(self, rows: pa.Table) -> pa.Table:
        """Return redacted rows of ``logs``."""
        return self._again.batch(LogBatch(rows.combine_chunks())).table

    def batch(self, batch: BatchT) -> BatchT:
        """Return redacted rows of the journal."""
        return self._again.batch(batch)


@dataclass(slots=True)
class _Outcome:
    files: int = 0
    rows: int = 0
    journalled: int = 0
    problems: list[str] = field(default_factory=list)


def reredact(  # noqa: PLR0913 - the verb's options
    files: Sequence[Path],
    overrides: Sequence[str],
    environ: Mapping[str, str],
    *,
    dry_run: bool,
    no_grace: bool,
    delete_quarantined: bool,
) -> bool:
    """Rewrite what was stored under other rules; return whether all of it could be.

    Raises:
        ConfigError: The configuration is wrong, or has no key for the tokens it asks for.
        StartupError: There is no lake, or a sidecar is using it.
    """
    settings = load_settings(files, overrides, environ)
    configure_logging(settings.service.telemetry.logs)
    _check(settings)
    lake = settings.exporters.lake
    grace_s = 0.0 if no_grace else lake.unlink_grace
    again = RedactAgain(RedactionProcessor(settings.processors.redaction, PrometheusTelemetry()))
    outcome = _Outcome()
    with stored_signals(Path(lake.path), grace_s, PrometheusTelemetry()) as stores:
        for stored in stores:
            _rewrite(stored, again, outcome, dry_run=dry_run)
            if delete_quarantined and not dry_run:
                stored.delete_quarantined()
            outcome.problems += [
                f"{path} is quarantined: not redacted" for path in stored.quarantined
            ]
        for stored in () if dry_run else stores:
            left = stored.unlink_replaced(wait_visibly)
            outcome.problems += [f"{path} could not be deleted" for path in left]
    _report(outcome, again, dry_run=dry_run)
    return not outcome.problems


def _check(settings: ClearspanSettings) -> None:
    redaction = settings.processors.redaction
    if redaction.dry_run.enabled:
        raise ConfigError("processors.redaction.dry_run is enabled: it would cut nothing")
    hashes = (redaction.hash_function or "").startswith("hmac") or redaction.content == "hash"
    if redaction.hmac_key is None and (
        hashes or any(one.type == "hmac" for one in redaction.operators.values())
    ):
        raise ConfigError(
            "processors.redaction.hmac_key is not set: stored tokens would get new ones that join "
            "with nothing written later; set the key, or `operators: {IDENTITY: replace}`"
        )


def _rewrite(stored: StoredData, again: RedactAgain, outcome: _Outcome, *, dry_run: bool) -> None:
    change = Redacted(again)
    todo = [entry for entry in stored.files if entry.rules != again.rules]
    total = sum(entry.rows for entry in todo)
    done = 0
    with progress("redacting") as show:
        for entry in todo:  # over files
            show(done, total)
            done += entry.rows
            try:
                if dry_run:
                    _try_out(stored, entry, change)
                else:
                    stored.rewrite_file(entry, change)
            except ClearspanError as error:
                outcome.problems.append(str(error))
            else:
                outcome.files += 1
                outcome.rows += entry.rows
        for segment in stored.segments:  # over journal segments
            try:
                if stored.has_settled(segment) or not all(
                    again.meets(batch) for _, batch in stored.batches(segment)
                ):
                    outcome.journalled += (
                        _try_batches(stored, segment, change)
                        if dry_run
                        else stored.rewrite_segment(segment, change).before
                    )
            except ClearspanError as error:
                outcome.problems.append(str(error))


def _try_out(stored: StoredData, entry: FileEntry, change: Redacted) -> None:
    for piece in stored.pieces(entry):
        rewritten(change, entry.table)(piece)


def _try_batches(stored: StoredData, segment: Segment, change: Redacted) -> int:
    return sum(len(change.batch(batch)) for _, batch in stored.batches(segment))


def _report(outcome: _Outcome, again: RedactAgain, *, dry_run: bool) -> None:
    for problem in outcome.problems:
        sys.stderr.write(f"clearspan: {problem}\n")
    verb = "would be" if dry_run else "were"
    journal = f" and {outcome.journalled:,} journalled rows" if outcome.journalled else ""
    sys.stdout.write(
        f"{outcome.files:,} files with {outcome.rows:,} rows{journal} {verb} rewritten; "
        f"{again.strings:,} strings {verb} cut in {again.rows:,} rows\n"
    )
    if dry_run and outcome.files:
        sys.stdout.write("nothing was changed: this was a dry run\n")
