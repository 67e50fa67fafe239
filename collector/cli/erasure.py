"""``clearspan erase``: deletes what is stored of spans, shows that it is gone, and says so."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from collector.cli.progress import progress, wait_visibly
from collector.logs import configure_logging
from collector.metrics.telemetry import PrometheusTelemetry
from collector.model.errors import ClearspanError, ConfigError, DirectoryInUse, StartupError
from config.loader import load_settings
from processors.redaction import findable_entities, forgets_its_key, tokens_of
from storage.byte_search import search
from storage.data_directory import has_logs, log_data, quarantined_files
from storage.erasure import Condition, affected, find
from storage.files import cause
from storage.lake_tables import LOGS, SPANS
from storage.live_data import LiveData
from storage.live_erasure import ask, read_answer, take_requests
from storage.rewrite import stored_signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from config.settings import RedactionSettings
    from storage.erased import Erased
    from storage.rewrite import StoredData

_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
# Searching is one pass over all bytes for each needle.
_MOST_NEEDLES: Final = 64
_POLL_S: Final = 0.2
_FORGOTTEN_KEY: Final = (
    "redaction has no hmac_key: each process has a random one, so tokens that stand for the user "
    "cannot be told from others and stay"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for."""

    trace_ids: Sequence[str]
    users: Sequence[str]
    where: str | None
    whole_traces: bool

    def condition(self, redaction: RedactionSettings) -> Condition:
        """Return it as a condition; a user is looked for as written and as each of its tokens.

        Raises:
            ConfigError: Nothing is asked for, a trace id or user is none, or it is not clear what
                of a trace is meant.
        """
        if not (self.trace_ids or self.users or self.where):
            raise ConfigError("erase what? give --trace-id, --user or --where")
        for trace_id in self.trace_ids:
            if _TRACE_ID.fullmatch(trace_id) is None:
                raise ConfigError(f"--trace-id {trace_id!r:.60} is not 32 hexadecimal digits")
        if not all(map(str.strip, self.users)):
            raise ConfigError("--user is empty: every span would hold it")
        if self.where and (self.trace_ids or self.users) and not self.whole_traces:
            raise ConfigError(
                "--where takes spans alone, --trace-id and --user whole traces: say --whole-traces "
                "for all of them, or ask one after the other"
            )
        texts = list(self.users)
        if self.users:
            entities = findable_entities(redaction)
            texts += [one for user in self.users for one in tokens_of(redaction, user, entities)]
            texts = [one for text in texts for one in _spellings(text)]
        return Condition(
            tuple(map(bytes.fromhex, self.trace_ids)),
            tuple(dict.fromkeys(texts)),
            self.where or "",
            whole_traces=self.whole_traces or bool(self.trace_ids or self.users),
        )

    @property
    def digest(self) -> str:
        """A hash of the question: a receipt must not hold what was erased."""
        plain = json.dumps([list(self.trace_ids), list(self.users), self.where, self.whole_traces])
        return hashlib.sha256(plain.encode()).hexdigest()


def _spellings(text: str) -> Iterator[str]:
    """Yield a text as it stands in attributes, in JSON in them, and in JSON in that."""
    yield text
    for is_ascii in (False, True):
        once = json.dumps(text, ensure_ascii=is_ascii)[1:-1]
        yield once
        yield json.dumps(once)[1:-1]


@dataclass(slots=True)
class _Receipt:
    question_sha256: str
    begun: str
    spans: int = 0
    events: int = 0
    log_records: int = 0
    traces: int = 0
    journalled_spans: int = 0
    journalled_log_records: int = 0
    pending_spans: int = 0
    pending_log_records: int = 0
    files_rewritten: int = 0
    segments_rewritten: int = 0
    rows_that_stay: int = 0
    still_found: int = 0
    searched_files: int = 0
    searched_bytes: int = 0
    searched_for: int = 0
    hits: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    finished: str = ""

    @property
    def is_clean(self) -> bool:
        return not (self.still_found or self.hits or self.problems)


def erase(  # noqa: PLR0913 - the verb's options
    wanted: Wanted,
    files: Sequence[Path],
    overrides: Sequence[str],
    environ: Mapping[str, str],
    *,
    yes: bool,
    no_grace: bool,
    delete_quarantined: bool,
) -> bool:
    """Erase, or only say what would be; return whether nothing is left of it.

    Raises:
        ConfigError: The configuration or what is asked for is wrong.
        QueryError: The SQL is wrong.
        StartupError: There is no lake, or a sidecar is using it.
    """
    settings = load_settings(files, overrides, environ)
    configure_logging(settings.service.telemetry.logs)
    condition = wanted.condition(settings.processors.redaction)
    path = Path(settings.exporters.lake.path)
    grace_s = 0.0 if no_grace else settings.exporters.lake.unlink_grace
    if not yes:
        being_written = _being_written(path)
        erased = find(being_written, condition)
        return _foretell(erased, _affected(being_written, erased))
    receipt = _Receipt(wanted.digest, _now())
    if wanted.users and forgets_its_key(settings.processors.redaction):
        receipt.notes.append(_FORGOTTEN_KEY)
    try:
        with stored_signals(path, grace_s, PrometheusTelemetry()) as stores:
            erased = find(stores, condition)
            for one in chain([erased], take_requests(path)):
                for stored in stores:
                    _rewrite(stored, one, affected(stored, one), receipt)
            for stored in stores:
                if delete_quarantined:
                    stored.delete_quarantined()
                left = stored.unlink_replaced(wait_visibly)
                receipt.problems += [f"{path} could not be deleted" for path in left]
            receipt.still_found = len(find(stores, condition))
    except DirectoryInUse as error:
        if delete_quarantined:
            raise StartupError(f"--delete-quarantined: {error}") from error
        erased = find(_being_written(path), condition)
        _ask(path, erased, error.pid, receipt, no_grace=no_grace)
        receipt.still_found = len(find(_being_written(path), condition))
    receipt.traces = len(erased.traces)
    _search(path, condition, erased, receipt)
    receipt.finished = _now()
    _show(receipt)
    return receipt.is_clean


def _being_written(path: Path) -> list[LiveData]:
    """Return the signals that there are by now."""
    signals = (path, log_data(path)) if has_logs(path) else (path,)
    return [LiveData(one) for one in signals]


def _ask(path: Path, erased: Erased, pid: int, receipt: _Receipt, *, no_grace: bool) -> None:
    """Have the sidecar erase; raises ``ClearspanError`` when it ends before it answers."""
    try:
        answered = ask(path, erased, no_grace=no_grace)
    except OSError as error:
        raise StartupError(f"the sidecar cannot be asked: {cause(error)}") from error
    live = LiveData(path)
    with progress(f"process {pid} erases, and waits for queries that read the old files"):
        is_served = True
        while (answer := read_answer(answered)) is None:
            if not is_served:
                raise StartupError(
                    f"process {pid} ended before it answered; its next start goes on with it, or "
                    "run this again"
                )
            time.sleep(_POLL_S)
            is_served = live.is_served  # then once more: it may have answered and ended
    for name, value in asdict(answer).items():
        setattr(receipt, name, value)


def _rewrite(stored: StoredData, erased: Erased, rows: dict[str, int], receipt: _Receipt) -> None:
    """Rewrite what holds rows to erase: the journal first, so that a restart brings none back."""
    for segment in stored.segments:
        try:
            if not stored.has_settled(segment) and not any(
                erased.touches(batch.table) for _, batch in stored.batches(segment)
            ):
                continue
            counted = stored.rewrite_segment(segment, erased)
        except ClearspanError as error:
            receipt.problems.append(str(error))
            continue
        receipt.segments_rewritten += 1
        if stored.items_table == LOGS:
            receipt.journalled_log_records += counted.before - counted.after
        else:
            receipt.journalled_spans += counted.before - counted.after
    todo = [entry for entry in stored.files if entry.path in rows]
    total = sum(entry.rows for entry in todo)
    done = 0
    with progress("erasing") as show:
        for entry in todo:  # over files
            show(done, total)
            done += entry.rows
            try:
                counted = stored.rewrite_file(entry, erased)
            except ClearspanError as error:
                receipt.problems.append(str(error))
                continue
            gone = counted.before - counted.after
            if gone != rows[entry.path]:
                receipt.problems.append(f"{entry.path}: {gone} rows went, not {rows[entry.path]}")
            receipt.files_rewritten += 1
            receipt.rows_that_stay += counted.after
            if entry.table == SPANS:
                receipt.spans += gone
            elif entry.table == LOGS:
                receipt.log_records += gone
            else:
                receipt.events += gone


def _affected(stores: Sequence[StoredData | LiveData], erased: Erased) -> dict[str, int]:
    return {path: rows for stored in stores for path, rows in affected(stored, erased).items()}


def _search(directory: Path, condition: Condition, erased: Erased, receipt: _Receipt) -> None:
    """Search every byte for texts and trace ids (as bytes and in hexadecimal) that are gone."""
    needles = [text.encode() for text in condition.texts]
    if condition.whole_traces:
        ids = erased.unlinked.to_pylist()
        needles += [spelled for one in ids for spelled in (one, one.hex().encode())]
    found = search(directory, needles[:_MOST_NEEDLES])
    receipt.searched_files, receipt.searched_bytes = found.files, found.bytes
    receipt.searched_for = min(len(needles), _MOST_NEEDLES)
    receipt.hits = [str(path.relative_to(directory)) for path in found.hits]
    quarantined = [*quarantined_files(directory), *quarantined_files(log_data(directory))]
    receipt.problems += [
        f"{path} is quarantined: it may hold what was to be erased" for path in quarantined
    ]
    receipt.problems += [
        f"{path} is damaged: it could not be searched to its end"
        for path in found.damaged
        if path not in quarantined
    ]
    receipt.problems += [f"{path} cannot be read: it was not searched" for path in found.unreadable]


def _foretell(erased: Erased, rows: dict[str, int]) -> bool:
    """Say what would be erased; nothing is wrong with that."""
    sys.stdout.write(
        f"{len(erased.traces):,} traces, {sum(rows.values()):,} rows in {len(rows):,} files of the "
        "lake would be erased, and what the journal holds of them\n"
        "nothing was changed: say --yes to erase\n"
    )
    return True


def _show(receipt: _Receipt) -> None:
    values: dict[str, Any] = {name: getattr(receipt, name) for name in receipt.__slots__}
    sys.stdout.write(json.dumps(values, indent=2) + "\n")
    sys.stdout.flush()
    for problem in receipt.problems:
        sys.stderr.write(f"clearspan: {problem}\n")
    for note in receipt.notes:
        sys.stderr.write(f"clearspan: {note}\n")
    for path in receipt.hits:
        sys.stderr.write(f"clearspan: {path} still holds what was to be erased\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
