"""``clearspan repair``: what a start does with a damaged lake, and what only a full read can find.

The manifest is made anew by ``manifest_recovery``, as at a start. Before that every file is read to
its end and what is damaged set aside; after it, entries that misquote their file are corrected.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collector.model.errors import StartupError, UpkeepFailed
from collector.model.signals import LOGS, TRACES
from storage.data_directory import QUARANTINE, has_logs, log_data
from storage.environment import Environment
from storage.files import DirectoryLock, cause
from storage.findings import Finding
from storage.journal_check import JournalCheck, check_journal
from storage.journal_recovery import recover
from storage.lake_file_check import FileCheck, check_file
from storage.lake_tables import TABLES_OF
from storage.manifest import MANIFEST, Manifest
from storage.manifest_check import read_manifests
from storage.manifest_recovery import entry_from, files_on_disk, open_manifest, set_file_aside
from storage.parquet import UNREADABLE, read_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from collector.model.metric import Metric
    from collector.model.signals import Signal
    from storage.manifest_text import FileEntry, ManifestState


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that was done; ``file`` is relative to the data directory."""

    file: str
    what: str


@dataclass(slots=True)
class RepairReport:
    """What was done, what could not be, and what the lake holds now (or would)."""

    actions: list[Action] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    generation: int = 0
    files: int = 0
    rows: Counter[str] = field(default_factory=Counter)

    def add_logs(self, logs: RepairReport) -> None:
        """Add what was done for the log records beside the spans."""
        self.actions += [replace(one, file=f"logs/{one.file}") for one in logs.actions]
        self.left += [replace(one, file=f"logs/{one.file}") for one in logs.left]
        self.files += logs.files
        self.rows += logs.rows

    def did(self, file: str, what: str) -> None:
        """Add an action."""
        self.actions.append(Action(file, what))


class _NoTelemetry:
    """Takes what a sidecar would count."""

    def add(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """Do nothing."""

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Do nothing."""

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Do nothing."""

    def sample(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Do nothing."""


_NO_TELEMETRY: Final = _NoTelemetry()


def _say_nothing(_done: int, _total: int) -> None:
    """Take the place of a progress bar."""


def repair(
    data: Path,
    *,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] = _say_nothing,
) -> RepairReport:
    """Make the data directory sound; change nothing when it is.

    ``dry_run`` does the same to a directory of links and so says exactly what would be done.
    Raises ``StartupError`` when there is no lake, a later version wrote it, or another process
    has it (with its pid), ``UpkeepFailed`` when a file cannot be reached or the disk refuses.
    """
    if not (data / "lake").is_dir():
        raise StartupError(f"there is no lake in the data directory {data}")
    with ExitStack() as owners:
        owners.callback(DirectoryLock(data).close)
        is_with_logs = has_logs(data)
        if is_with_logs:  # both are had before anything is done
            owners.callback(DirectoryLock(log_data(data)).close)
        report = _repair(data, TRACES, on_progress, dry_run=dry_run)
        if is_with_logs:
            report.add_logs(_repair(log_data(data), LOGS, on_progress, dry_run=dry_run))
    return report


def _repair(
    data: Path, signal: Signal, on_progress: Callable[[int, int], None], *, dry_run: bool
) -> RepairReport:
    """Repair what belongs to one signal, in a directory that is ours."""
    try:
        journal = check_journal(data / "journal", signal.batch.schema)
        if dry_run:
            with _links(data / "lake") as lake:
                return _Repair(lake, signal, journal, on_progress).run()
        report = _Repair(data / "lake", signal, journal, on_progress).run()
        if journal.damaged or journal.torn:
            recover(
                data / "journal",
                data / "journal" / QUARANTINE,
                _NO_TELEMETRY,
                signal.batch.schema,
            )
    except OSError as error:
        raise UpkeepFailed(f"repair {error.filename or data}: {cause(error)}") from error
    return report


@contextmanager
def _links(lake: Path) -> Iterator[Path]:
    """Give a directory that reads as the lake does; what is renamed or removed there are links."""
    with tempfile.TemporaryDirectory(prefix="clearspan-") as scratch:
        shadow = Path(scratch) / "lake"
        shadow.mkdir()
        for path in sorted(lake.absolute().rglob("*")):  # a directory comes before what is in it
            link = shadow / path.relative_to(lake.absolute())
            if path.is_dir():
                link.mkdir()
            else:
                link.symlink_to(path)
        yield shadow


class _Repair:
    """One repair of a locked lake: read everything, then act."""

    def __init__(
        self,
        lake: Path,
        signal: Signal,
        journal: JournalCheck,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._lake = lake
        self._tables = TABLES_OF[signal.batch]
        self._journal = journal
        self._on_progress = on_progress
        self._report = RepairReport()
        self._checks: dict[str, FileCheck] = {}
        self._adopted: dict[str, FileEntry] = {}

    def run(self) -> RepairReport:
        """Repair and say what was done; raises OSError."""
        manifests = read_manifests(self._lake)
        if manifests.is_newer:
            first = next(one for one in manifests.findings if "format version" in one.what)
            raise StartupError(f"{first.file} {first.what}")
        state = manifests.state
        for finding in manifests.findings:
            if finding.level == "error":
                source = "from the files" if state is None else "from the other one"
                self._report.did(finding.file, f"{finding.what}: made anew {source}")
        files = state.files if state is not None else self._from_files()
        self._read(files, state.source_id if state is not None else None)
        for check in self._checks.values():
            self._judge(check, set(files))
        self._judge_journal(state.settled_through if state is not None else 0)
        final = self._write(state)
        self._report.generation, self._report.files = final.generation, len(final.files)
        for entry in final.files.values():
            self._report.rows[entry.table] += entry.rows
        return self._report

    def _from_files(self) -> dict[str, FileEntry]:
        """Return what the files say of themselves; nothing is known of one that says nothing."""
        found = {}
        for path in files_on_disk(self._lake):
            try:
                found[path] = entry_from(self._lake, path, read_facts(self._lake / path))
            except UNREADABLE:
                size = (self._lake / path).stat().st_size
                found[path] = replace(entry_from(self._lake, path, None), bytes=size)
        return found

    def _read(self, files: dict[str, FileEntry], source_id: str | None) -> None:
        total, done = sum(entry.bytes for entry in files.values()), 0
        for path, entry in files.items():
            check = self._checks[path] = check_file(self._lake, entry, source_id)
            done += entry.bytes
            self._on_progress(done, total)
            if check.has("unreachable"):
                raise UpkeepFailed(f"lake/{path}: {check.problems[0].what}; nothing was changed")

    def _judge(self, check: FileCheck, listed: set[str]) -> None:
        """Say what is to be done about one file, and set it aside if it is damaged."""
        entry, file = check.entry, f"lake/{check.entry.path}"
        for problem in check.problems:
            if problem.kind == "missing":
                what = f"is not there: dropped from the manifest, {entry.rows:,} rows are lost"
                self._report.did(file, what)
            elif problem.kind == "path":
                self._report.did(file, f"{problem.what}: dropped from the manifest")
            elif problem.kind == "entry":
                self._report.did(file, f"{problem.what}: the manifest was corrected")
            elif problem.kind == "hour":
                self._report.left.append(Finding("error", file, problem.what))
        if check.has("content"):
            what = next(one.what for one in check.problems if one.kind == "content")
            self._report.did(file, f"{what}: set aside in {QUARANTINE}/, {entry.rows:,} rows less")
            self._adopt_replaced(check, listed)
            set_file_aside(self._lake, entry, _NO_TELEMETRY)

    def _adopt_replaced(self, check: FileCheck, listed: set[str]) -> None:
        """Take back the files that a damaged merge replaced, while they are still there.

        Not the one that a rewrite replaced: it may hold what was erased or redacted since.
        """
        try:
            replaced = read_facts(self._lake / check.entry.path).replaces
        except UNREADABLE:
            return
        if len(replaced) == 1:
            return
        on_disk = files_on_disk(self._lake).keys()
        for path in (one for one in replaced if one in on_disk and one not in listed):
            try:
                entry = entry_from(self._lake, path, read_facts(self._lake / path))
            except UNREADABLE:
                continue
            found = check_file(self._lake, entry, None)
            if not found.has("content"):
                self._adopted[path] = replace(entry, crc32=found.crc32)
                what = f"taken back, since what replaced it is damaged: {entry.rows:,} rows"
                self._report.did(f"lake/{path}", what)

    def _judge_journal(self, settled: int) -> None:
        journal = self._journal
        for name, what in journal.damaged:
            done = f"{what}; as found it is in journal/{QUARANTINE}/"
            self._report.did(f"journal/{name}", done)
        for name, what in journal.torn:
            self._report.did(f"journal/{name}", f"{what}: cut off")
        if journal.damaged or journal.quarantined:
            return
        for gap in journal.gaps:
            if gap.last_seq > settled:
                what = f"batches {gap.first_seq} to {gap.last_seq} before it are gone"
                self._report.left.append(Finding("error", f"journal/{gap.segment}", what))

    def _write(self, state: ManifestState | None) -> ManifestState:
        """Open the lake as a start does, then commit what only the full read knows."""
        if state is not None and not self._report.actions and self._corrected(state) == state:
            return state
        environment = Environment()
        opened = open_manifest(
            self._lake, environment, _NO_TELEMETRY, tables=self._tables
        ).manifest.state
        wanted = self._corrected(opened)
        self._describe(opened, wanted, is_rebuilt=state is None)
        if wanted == opened:
            return opened
        manifest = Manifest(self._lake, wanted, opened.generation + 1, environment)
        manifest.commit()
        return manifest.state

    def _corrected(self, state: ManifestState) -> ManifestState:
        """Return what the manifest should say of the files it lists and the batches settled."""
        files = dict(self._adopted)
        for path in state.files:
            check = self._checks[path]
            if check.facts is not None:
                entry = entry_from(self._lake, path, check.facts)
                files[path] = replace(entry, crc32=check.crc32)
        for path in self._replaced(files):
            files.pop(path, None)
        facts = [one.facts for path, one in self._checks.items() if path in files and one.facts]
        settled = max([state.settled_through, *(one.settled_before for one in facts)])
        # what the journal does not hold any more is settled, or lost
        settled = max(settled, self._journal.first_seq - 1)
        return replace(state, files=files, settled_through=settled)

    def _replaced(self, files: Iterable[str]) -> set[str]:
        checks = (self._checks.get(path) for path in files)
        return {one for check in checks if check and check.facts for one in check.facts.replaces}

    def _describe(self, opened: ManifestState, wanted: ManifestState, *, is_rebuilt: bool) -> None:
        report = self._report
        replaced = self._replaced(self._checks)
        for path, check in self._checks.items():
            if check.facts is None or not check.facts.rows or path in wanted.files:
                continue
            if path in replaced and path in opened.files:
                report.did(f"lake/{path}", "dropped: what replaced it is in the manifest too")
            elif path not in replaced:
                what = (
                    f"not all files that were committed with it are there: set aside in "
                    f"{QUARANTINE}/, {check.facts.rows:,} rows less (if the commit was cut short "
                    "they are in the journal)"
                )
                report.did(f"lake/{path}", what)
        if wanted.settled_through > opened.settled_through:
            before, after = opened.settled_through, wanted.settled_through
            what = f"settled_through raised from {before} to {after}, where the journal begins"
            report.did(f"lake/{MANIFEST}", what)
        unsummed = sum(entry.crc32 is None for entry in opened.files.values())
        if unsummed and not is_rebuilt:
            report.did(f"lake/{MANIFEST}", f"checksums of {unsummed:,} files added")
