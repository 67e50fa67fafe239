"""``clearspan verify``: is everything on disk what it was when it was written?

Reads only and takes no lock, so it runs beside the sidecar. A file that goes away because a newer
manifest replaced it is no error: the newer manifest's files are read instead.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow.parquet as pq

from collector.model.errors import StartupError
from collector.model.signals import LOGS, TRACES
from storage.data_directory import QUARANTINE, has_logs, log_data
from storage.files import cause, list_directory, walk_files
from storage.findings import Finding
from storage.journal_check import JournalCheck, check_journal
from storage.lake_file_check import check_file
from storage.lake_tables import SPAN_EVENTS, SPANS, TABLES
from storage.manifest import MANIFEST
from storage.manifest_check import read_manifests
from storage.manifest_text import empty_path
from storage.parquet import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from collector.model.signals import Signal
    from storage.findings import Level
    from storage.lake_file_check import FileCheck, Kind
    from storage.manifest_text import FileEntry, ManifestState

_WARNINGS: Final[frozenset[Kind]] = frozenset({"columns", "foreign"})
# Each pass reads only what a newer manifest added, so all but the first are short.
_MOST_PASSES: Final = 20


def _say_nothing(_done: int, _total: int) -> None:
    """Take the place of a progress bar."""


@dataclass(slots=True)
class Report:
    """What was read and what was found; ``rows`` by table, of files without an error.

    ``logs`` is the report on the log records beside the spans, whose findings are here as well.
    """

    generation: int = 0
    source_id: str = ""
    settled_through: int = 0
    files: int = 0
    bytes: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    unsummed: int = 0
    journal: JournalCheck = field(default_factory=JournalCheck)
    findings: list[Finding] = field(default_factory=list)
    logs: Report | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong; warnings and notes are not."""
        return not self.count("error")

    def count(self, level: Level) -> int:
        """Return the number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    def note(self, level: Level, file: str, what: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(level, file, what))


def verify(data: Path, on_progress: Callable[[int, int], None] = _say_nothing) -> Report:
    """Read manifest, lake files and journal of a data directory from end to end.

    ``on_progress`` is called with the bytes done and the bytes there are. Raises ``StartupError``
    when there is no such directory; everything else is a finding.
    """
    if not data.is_dir():
        raise StartupError(f"there is no data directory {data}")
    report = _verify(data, TRACES, on_progress)
    if has_logs(data):
        report.logs = _verify(log_data(data), LOGS, on_progress)
        report.findings += [replace(one, file=f"logs/{one.file}") for one in report.logs.findings]
    return report


def _verify(data: Path, signal: Signal, on_progress: Callable[[int, int], None]) -> Report:
    """Read what belongs to one signal."""
    lake = data / "lake"
    report = Report()
    on_disk = _parquet_files(lake, report)
    manifests = read_manifests(lake)
    report.findings += manifests.findings
    state = manifests.state
    if not manifests.is_newer:
        if state is not None:
            state = _Files(lake, report, on_progress).check(state)
            report.generation, report.source_id = state.generation, state.source_id
        _note_orphans(lake, on_disk, state, report)
    _check_journal(data, signal, state, report)
    _note_set_aside(lake, report)
    return report


class _Files:
    """The lake's files, read in passes until all that the newest manifest lists were."""

    def __init__(self, lake: Path, report: Report, on_progress: Callable[[int, int], None]) -> None:
        self._lake = lake
        self._report = report
        self._on_progress = on_progress
        self._sound: dict[str, FileCheck] = {}
        self._seen: set[str] = set()
        self._done = 0

    def check(self, state: ManifestState) -> ManifestState:
        """Return the state whose files were read."""
        self._check_empty_files(state)
        for number in range(_MOST_PASSES):
            gone = self._read(state, is_first=number == 0)
            if not gone:
                break
            newer = read_manifests(self._lake).state or state
            for entry in gone:
                if entry.path in newer.files:
                    what = f"is not there; {entry.rows:,} rows"
                    self._report.note("error", f"lake/{entry.path}", what)
            state = newer
        else:
            what = f"changed {_MOST_PASSES} times while it was read: not all of it was"
            self._report.note("warning", f"lake/{MANIFEST}", what)
        self._sum_up(state)
        return state

    def _read(self, state: ManifestState, *, is_first: bool) -> list[FileEntry]:
        """Check the files not seen yet, newest hour first; return those that are not there."""
        todo = [entry for path, entry in state.files.items() if path not in self._seen]
        todo.sort(key=lambda entry: entry.table != SPANS)
        todo.sort(key=_hour, reverse=True)
        total = self._done + sum(entry.bytes for entry in todo)
        gone: list[FileEntry] = []
        for hour, entries in groupby(todo, key=_hour):
            checks = [self._check_one(entry, state, total) for entry in entries]
            absent = [check.entry for check in checks if check.has("missing")]
            gone += absent
            is_whole = not absent and all(not check.problems for check in checks)
            if SPAN_EVENTS in state.tables and is_first and is_whole:
                self._match_events(hour, checks)
            for check in checks:
                check.span_keys = np.empty(0, np.uint64)
        return gone

    def _check_one(self, entry: FileEntry, state: ManifestState, total: int) -> FileCheck:
        check = check_file(self._lake, entry, state.source_id)
        self._seen.add(entry.path)
        for problem in check.problems:
            if problem.kind != "missing":
                level: Level = "warning" if problem.kind in _WARNINGS else "error"
                self._report.note(level, f"lake/{entry.path}", problem.what)
        if all(problem.kind in _WARNINGS for problem in check.problems):
            self._sound[entry.path] = check
        self._done += entry.bytes
        self._on_progress(self._done, total)
        return check

    def _match_events(self, hour: str, checks: Iterable[FileCheck]) -> None:
        """Say when an hour holds events of spans that are not in it."""
        spans: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
        events = list(spans)
        for check in checks:
            (spans if check.entry.table == SPANS else events).append(check.span_keys)
        keys = np.unique(np.concatenate(events))
        strays = int((~np.isin(keys, np.concatenate(spans))).sum())
        if strays:
            what = (
                f"holds events of {strays:,} spans that are not in spans/{hour} "
                "(retention by size and quarantine leave such)"
            )
            self._report.note("warning", f"lake/span_events/{hour}", what)

    def _sum_up(self, state: ManifestState) -> None:
        report = self._report
        report.settled_through = state.settled_through
        settled = 0
        for path, check in self._sound.items():
            if path not in state.files or check.facts is None:
                continue
            report.files += 1
            report.bytes += check.entry.bytes
            report.rows[check.entry.table] += check.facts.rows
            report.unsummed += check.entry.crc32 is None
            settled = max(settled, check.facts.settled_before)
            for replaced in check.facts.replaces:
                if replaced in state.files:
                    what = f"is in the manifest beside {path}, which replaced it"
                    report.note("error", f"lake/{replaced}", what)
        if settled > state.settled_through:
            what = f"settled_through is {state.settled_through}, it was {settled} once"
            report.note("error", f"lake/{MANIFEST}", what)
        if report.unsummed:
            what = f"has no checksum of {report.unsummed:,} files; clearspan repair adds them"
            report.note("note", f"lake/{MANIFEST}", what)

    def _check_empty_files(self, state: ManifestState) -> None:
        for table in state.tables:
            layout = state.layout.of_table(table)
            promoted = {one.column for one in layout.columns}
            known = set(layout.arrow(table).names)
            path = empty_path(table)
            try:
                with pq.ParquetFile(self._lake / path) as file:
                    is_right = not file.metadata.num_rows
                    names = set(file.schema_arrow.names)
                    what = None if is_right else "holds rows"
                    if is_right and names - known:
                        what = "has columns this version does not know"
                    elif is_right and promoted - names:
                        what = "lacks promoted columns; queries need them"
            except FileNotFoundError:
                what = "is not there; queries need it"
            except UNREADABLE as error:
                what = f"cannot be read: {cause(error)}"
            if what:
                self._report.note("error", f"lake/{path}", what)


def _hour(entry: FileEntry) -> str:
    return entry.path.partition("/")[2].rpartition("/")[0]


def _parquet_files(lake: Path, report: Report) -> set[str]:
    """Return what is there besides the files without rows, ours or not."""

    def note(path: Path) -> None:
        report.note("warning", f"lake/{path.relative_to(lake).as_posix()}", "cannot be listed")

    paths = [path for table in TABLES for path in walk_files(lake / table, note)]
    found = {path.relative_to(lake).as_posix() for path in paths}
    return found - {empty_path(table) for table in TABLES}


def _note_orphans(
    lake: Path, on_disk: set[str], state: ManifestState | None, report: Report
) -> None:
    # The listing is older than the manifest, so a file being committed is in both.
    listed = state.files if state is not None else {}
    for path in sorted(on_disk - set(listed)):
        if (lake / path).exists():
            report.note("note", f"lake/{path}", "is not in the manifest, so in no query")


def _check_journal(data: Path, signal: Signal, state: ManifestState | None, report: Report) -> None:
    journal = report.journal = check_journal(data / "journal", signal.batch.schema)
    for name, what in journal.damaged:
        report.note("error", f"journal/{name}", what)
    for name, what in journal.torn:
        report.note("note", f"journal/{name}", what)
    for name in journal.quarantined:
        report.note("warning", f"journal/{QUARANTINE}/{name}", "was set aside as damaged")
    if state is None:
        return
    # read after the journal: what was dropped from it meanwhile is settled by now
    newest = read_manifests(data / "lake").state or state
    settled = newest.settled_through
    level: Level = "warning" if journal.quarantined else "error"
    for gap in journal.gaps:
        if gap.last_seq > settled:
            what = f"batches {max(gap.first_seq, settled + 1)} to {gap.last_seq} before it are gone"
            report.note(level, f"journal/{gap.segment}", what)
    if journal.first_seq > settled + 1:
        what = f"batches {settled + 1} to {journal.first_seq - 1} are neither here nor settled"
        report.note(level, "journal", what)


def _note_set_aside(lake: Path, report: Report) -> None:
    for path in list_directory(lake / QUARANTINE):
        report.note("warning", f"lake/{QUARANTINE}/{path.name}", "was set aside as damaged")
    for path in sorted(lake.glob("*.damaged*")):
        report.note("warning", f"lake/{path.name}", "is a manifest set aside as damaged")
