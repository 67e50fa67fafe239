"""What keeps a lake small and its files few and alike: one slow thread.

Retention, compaction, unlinking, and files that get the columns promoted today.
"""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import structlog

from collector.model import telemetry as t
from storage import environment as env
from storage.compaction import (
    READ_ROWS,
    DamagedInputError,
    Merge,
    merge_files,
    merged_facts,
    plan_merges,
)
from storage.file_rewriter import FileRewriter
from storage.files import cause
from storage.lake_tables import ITEM_TABLES
from storage.manifest_recovery import STAGING, set_file_aside
from storage.repeating import Repeating
from storage.replaced_files import ReplacedFiles
from storage.retention import CautiousClock, expired_files
from storage.service_retention import ServiceRetention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.model.metric import Metric
    from collector.model.telemetry import Telemetry
    from config.exporters import LakeSettings
    from storage.environment import Environment
    from storage.manifest import Manifest
    from storage.manifest_text import FileEntry

_log = structlog.get_logger()
_QUIET_AFTER_S: Final = 600.0
_INTERVAL_WITHOUT_COMPACTION_S: Final = 30.0
_NICENESS: Final = 10


class Maintenance:
    """Retention, compaction and unlinking of one lake; ``run`` is called by one thread only."""

    def __init__(  # noqa: PLR0913 - what one lake is
        self,
        directory: Path,
        settings: LakeSettings,
        telemetry: Telemetry,
        manifest: Manifest,
        environment: Environment,
        *,
        expired: Metric,
        seen_s: float | None,
    ) -> None:
        """Nothing runs yet; ``replaced`` takes files that other parts let go of.

        ``expired`` counts the rows that retention removes; ``seen_s`` is what the clock said when
        the last process wrote the manifest.
        """
        self.replaced: Final = ReplacedFiles(
            directory, manifest, settings.unlink_grace, environment
        )
        self._rewriter = FileRewriter(directory, manifest, self.replaced, environment)
        self._services = ServiceRetention(directory, settings.retention)
        self._directory = directory
        self._settings = settings
        self._telemetry = telemetry
        self._expired = expired
        self._manifest = manifest
        self._environment = environment
        self._clock = CautiousClock(environment, seen_s)
        self._last_flush: dict[str, float] = {}
        self._running = threading.Lock()
        self._is_stopping = threading.Event()
        self._is_asked = threading.Event()
        self._has_failed = False

    def note_flush(self, partition: str) -> None:
        """Remember that an hour is being written to, so that it is not merged to the end."""
        self._last_flush[partition] = self._environment.monotonic()

    def thread(self) -> Repeating:
        """Return the thread that calls ``run``, at low priority."""
        interval = self._settings.compaction.interval or _INTERVAL_WITHOUT_COMPACTION_S
        return Repeating(
            "lake-maintenance",
            interval,
            self.run,
            self._count_failure,
            on_start=_lower_priority,
            is_stopping=self._is_stopping,
        )

    @contextmanager
    def paused(self) -> Iterator[ReplacedFiles]:
        """Let nothing of this run meanwhile; what is replaced instead goes to what is yielded."""
        self._is_asked.set()  # under load there is always something more to merge
        with self._running:
            self._is_asked.clear()
            yield self.replaced

    def run(self) -> None:
        """Expire, merge and unlink until there is nothing to merge; a full disk ends it quietly."""
        with self._running:
            try:
                renews = self._settings.compaction.interval > 0
                # what comes in meanwhile may give it more to merge for ever, so all have a turn
                while self._run_once(renews=renews) and not self._is_interrupted:
                    renews = False
            except OSError as error:
                self._count_failure()
                if not self._has_failed:
                    self._has_failed = True
                    _log.warning("lake maintenance fails", cause=cause(error))
            else:
                self._has_failed = False

    def _run_once(self, *, renews: bool) -> bool:
        """Return whether anything was merged; raises OSError."""
        try:
            self._expire()
            self._expire_services()
            merges = self._plan() if self._settings.compaction.interval else []
            for merge in merges:  # over hours
                if self._is_interrupted:
                    break
                self._merge(merge)
            if renews:
                self._renew_one()
        finally:  # it may be what makes room on a full disk
            self.replaced.unlink_due()
        pa.default_memory_pool().release_unused()
        return bool(merges)

    @property
    def _is_interrupted(self) -> bool:
        return self._is_stopping.is_set() or self._is_asked.is_set()

    def _expire(self) -> None:
        state = self._manifest.state
        expired = expired_files(
            state.files.values(),
            self._settings.retention,
            self._clock.now_s(),
            state.settled_through,
        )
        if not expired:
            return
        self._commit_removal(set(expired))
        for path, reason in expired.items():  # over files
            if state.files[path].table in ITEM_TABLES:
                self._telemetry.add(self._expired, state.files[path].rows, reason)

    def _expire_services(self) -> None:
        """Delete rows whose service has had its time, file by file."""
        state = self._manifest.state
        files, now_s = state.files.values(), self._clock.now_s()
        plan = self._services.plan(files, now_s, state.settled_through)
        while not self._is_stopping.is_set():
            try:
                expired = next(plan, None)
                if expired is None:
                    return
                entry, gone = expired.entry, expired.entry.rows
                if expired.is_whole_file:
                    self._commit_removal({entry.path})
                else:
                    rows = self._rewriter.rewrite(entry, expired.keep, entry.rules, READ_ROWS)
                    gone = rows.before - rows.after
            except DamagedInputError as error:
                self._set_aside(error.entry)
                return  # a generator that raised is over: the rest has its turn next time
            if entry.table in ITEM_TABLES:
                self._telemetry.add(self._expired, gone, "service")

    def _commit_removal(self, paths: set[str]) -> None:
        self.replaced.add(paths, is_durable=self._manifest.commit(remove=paths))

    def _plan(self) -> list[Merge]:
        now = self._environment.monotonic()
        self._last_flush = {
            partition: at
            for partition, at in list(self._last_flush.items())
            if now - at < _QUIET_AFTER_S
        }
        files = self._manifest.state.files.values()
        quiet = {entry.partition for entry in files} - self._last_flush.keys()
        return plan_merges(files, self._settings.compaction, quiet)

    def _merge(self, merge: Merge) -> None:
        state = self._manifest.state
        facts = merged_facts(merge, state)
        path = self._directory / STAGING / f"{secrets.token_hex(8)}.parquet"
        inputs = {entry.path for entry in merge.inputs}
        try:
            staged = merge_files(self._directory, path, merge, facts)
        except DamagedInputError as error:
            self._set_aside(error.entry)
            return
        self._environment.reached(env.MERGE_WRITTEN)
        is_durable = self._manifest.commit(add=[staged], remove=inputs)
        self._environment.reached(env.MERGE_COMMITTED)
        self.replaced.add(inputs, is_durable=is_durable)
        self._telemetry.add(t.LAKE_COMPACTIONS)

    def _renew_one(self) -> None:
        """Rewrite the newest file that no merge will touch and that lacks today's columns.

        One a time: after a change of ``promote`` that is every file, and queries are right
        meanwhile.
        """
        state = self._manifest.state
        stale = [
            entry
            for entry in state.files.values()
            if entry.layout != state.layout.of_table(entry.table)
            and entry.partition not in self._last_flush
        ]
        if not stale or self._is_stopping.is_set():
            return
        entry = max(stale, key=lambda entry: entry.partition)
        try:
            self._rewriter.rewrite(entry, lambda rows: rows, entry.rules, READ_ROWS)
        except DamagedInputError as error:
            self._set_aside(error.entry)

    def _set_aside(self, entry: FileEntry) -> None:
        self._manifest.commit(remove={entry.path})
        set_file_aside(self._directory, entry, self._telemetry)

    def _count_failure(self) -> None:
        self._telemetry.add(t.LAKE_FAILURES, 1, "maintenance")


def _lower_priority() -> None:
    """Let the pipeline's threads go first (on Linux a thread has a niceness of its own)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
