"""``clearspan verify``, ``backup`` and ``repair``: what they print."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import structlog

from collector.cli.progress import progress
from storage.backup import backup
from storage.lake_tables import LOGS, SPANS
from storage.repair import repair
from storage.verify import Report
from storage.verify import verify as verify_data

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

# Files that wait to be unlinked can be many, and are all alike.
_MOST_NOTES: Final = 20


def show_verification(data: Path, *, as_json: bool) -> bool:
    """Verify and print what was found to stdout; return whether it is sound.

    Raises ``StartupError`` when there is no such directory.
    """
    started = time.monotonic()
    with progress("verify") as on_progress:
        report = verify_data(data, on_progress)
    seconds = time.monotonic() - started
    if as_json:
        sys.stdout.write(json.dumps(_plain(report, data, seconds), indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(report, seconds)))
    sys.stdout.flush()
    return report.is_sound


def make_backup(data: Path, destination: Path, *, update: bool) -> None:
    """Back up and print what was copied; raises as ``storage.backup.backup`` does."""
    started = time.monotonic()
    with progress("backup") as on_progress:
        made = backup(data, destination, update=update, on_progress=on_progress)
    sys.stdout.write(
        f"backup of generation {made.generation} in {destination}: "
        f"{made.copied_files:,} files copied ({made.copied_bytes / 2**20:,.1f} MiB), "
        f"{made.kept_files:,} were there, {made.removed_files:,} removed; "
        f"journal of {made.segments:,} segments ({made.journal_bytes / 2**20:,.1f} MiB); "
        f"begun anew {made.restarts:,} times; {time.monotonic() - started:.1f} s\n"
    )
    sys.stdout.flush()


def make_repair(data: Path, *, dry_run: bool) -> bool:
    """Repair and print what was done; return whether all is sound now (or would be).

    Raises as ``storage.repair.repair`` does.
    """
    # each thing it logs is in the report
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with progress("repair") as on_progress:
        done = repair(data, dry_run=dry_run, on_progress=on_progress)
    for action in done.actions:
        sys.stdout.write(f"{action.file}: {action.what}\n")
    for finding in done.left:
        sys.stdout.write(f"left as it is: {finding.file}: {finding.what}\n")
    count = len(done.actions)
    what = f"{count:,} thing{'' if count == 1 else 's'} {'to do' if dry_run else 'done'}"
    sys.stdout.write(
        f"{what if count else 'nothing to repair'}: generation {done.generation}, "
        f"{done.files:,} files with {_spans(done.rows)}"
        f"{', and ' + _log_records(done.rows) if done.rows[LOGS] else ''}"
        f"{'; nothing was changed' if dry_run else ''}\n"
    )
    sys.stdout.flush()
    return not done.left


def _lines(report: Report, seconds: float) -> Iterator[str]:
    left = _MOST_NOTES
    for finding in report.findings:
        if finding.level == "note":
            left -= 1
            if left < 0:
                continue
        yield f"{finding.level:<7}  {finding.file}: {finding.what}"
    if left < 0:
        yield f"note     {-left:,} more notes; --json has all"
    verdict = "sound" if report.is_sound else "NOT SOUND"
    counts = ", ".join(
        f"{number:,} {level}{'' if number == 1 else 's'}"
        for level in ("error", "warning", "note")
        if (number := report.count(level))
    )
    logs = ""
    if report.logs is not None:
        logs = f"; logs: {_extent(report.logs, _log_records(report.logs.rows), 'log records')}"
    yield (
        f"{verdict}: {_extent(report, _spans(report.rows), 'spans')}{logs}; "
        f"{counts or 'no findings'}; {seconds:.1f} s"
    )


def _extent(report: Report, rows: str, items: str) -> str:
    journal = report.journal
    return (
        f"generation {report.generation}, {report.files:,} files with {rows} "
        f"({report.bytes / 2**20:,.1f} MiB); journal of {journal.segments:,} segments with "
        f"{journal.frames:,} batches of {journal.rows:,} {items}"
    )


def _log_records(rows: Counter[str]) -> str:
    return f"{rows[LOGS]:,} log records"


def _spans(rows: Counter[str]) -> str:
    return f"{rows['spans']:,} spans and {rows['span_events']:,} events"


def _plain(report: Report, data: Path, seconds: float) -> dict[str, Any]:
    plain = {"sound": report.is_sound, "data": str(data), **_plain_extent(report, "spans")}
    plain["span_events"] = report.rows["span_events"]
    if report.logs is not None:
        plain["logs"] = _plain_extent(report.logs, "log_records", LOGS)
    plain["findings"] = [asdict(finding) for finding in report.findings]
    plain["seconds"] = round(seconds, 3)
    return plain


def _plain_extent(report: Report, items: str, table: str = SPANS) -> dict[str, Any]:
    journal = report.journal
    return {
        "generation": report.generation,
        "source_id": report.source_id,
        "settled_through": report.settled_through,
        "files": report.files,
        "bytes": report.bytes,
        items: report.rows[table],
        "journal": {
            "segments": journal.segments,
            "batches": journal.frames,
            items: journal.rows,
            "bytes": journal.bytes,
            "first_batch": journal.first_seq,
            "last_batch": journal.last_seq,
        },
    }
