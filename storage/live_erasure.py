"""Erasing in a lake that a sidecar is writing to: asked for by a file, done by the sidecar.

``clearspan erase`` finds the spans, without a lock, and leaves their ids in
``erase/<name>.arrow``. The sidecar drops them from its memory, rewrites journal and lake, waits
until nothing of the old files is left and answers in ``erase/<name>.json``. A request that a crash
interrupted is done at the next start.
"""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from collector.model import schema as s
from collector.model.errors import ClearspanError
from storage.data_directory import LAKE
from storage.erased import KEY_SCHEMA, RECORD_SCHEMA, Erased
from storage.files import (
    cause,
    list_directory,
    make_directories,
    remove_quietly,
    replace_file,
    sync_directory,
)
from storage.journal_segment import Segment, scan
from storage.lake_tables import IDENTITY, LOGS, SPAN_EVENTS, SPANS, align
from storage.live_data import batches_of
from storage.repeating import Repeating
from storage.rewrite import rewrite_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from storage.journal import Journal
    from storage.lake import Lake
    from storage.manifest_text import FileEntry
    from storage.rewrite import LakeFiles

_log = structlog.get_logger()
_DIRECTORY: Final = "erase"
_REQUEST_SUFFIX: Final = ".arrow"
_POLL_S: Final = 0.5
_WHOLE: Final = b"whole_traces"
_NO_GRACE: Final = b"no_grace"
_COLUMNS: Final = {
    SPANS: (s.TRACE_ID, s.SPAN_ID, s.LINKS),
    SPAN_EVENTS: (s.TRACE_ID, s.SPAN_ID),
    LOGS: (s.TRACE_ID, s.SPAN_ID, s.BATCH_SEQ, IDENTITY[LOGS]),
}
_REQUEST: Final = pa.schema([*KEY_SCHEMA, *RECORD_SCHEMA])
_TRACES: Final = pa.schema([KEY_SCHEMA.field(s.TRACE_ID)])
_NO_REQUEST: Final = (OSError, pa.ArrowException, KeyError, ValueError)


@dataclass(slots=True)
class Answer:
    """What was erased, in rows, and what could not be."""

    spans: int = 0
    events: int = 0
    log_records: int = 0
    journalled_spans: int = 0
    journalled_log_records: int = 0
    pending_spans: int = 0
    pending_log_records: int = 0
    files_rewritten: int = 0
    segments_rewritten: int = 0
    rows_that_stay: int = 0
    problems: list[str] = field(default_factory=list)


def ask(path: Path, erased: Erased, *, no_grace: bool) -> Path:
    """Leave a request for a data directory's sidecar; return where its answer will be.

    Traces that are only to be unlinked are named like those that were found. Raises OSError.
    """
    directory = path / _DIRECTORY
    make_directories(directory)
    options = {_WHOLE: b"1" if erased.is_whole else b"", _NO_GRACE: b"1" if no_grace else b""}
    keys = pa.table({s.TRACE_ID: erased.unlinked}, _TRACES) if erased.is_whole else erased.keys
    table = pa.concat_tables([keys, erased.records], promote_options="default")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(options)) as writer:
        writer.write_table(table.replace_schema_metadata(options))
    request = directory / f"{secrets.token_hex(8)}{_REQUEST_SUFFIX}"
    replace_file(request, sink.getvalue().to_pybytes())
    sync_directory(directory)
    return request.with_suffix(".json")


def take_requests(path: Path) -> Iterator[Erased]:
    """Yield what a sidecar that is gone was still asked to erase; forget each once it is done.

    For whoever holds the lock on the data directory. One that cannot be read is left to the next
    sidecar, which answers it.
    """
    left = list_directory(path / _DIRECTORY)
    remove_quietly([one for one in left if one.suffix == ".tmp"])
    for request in left:
        if request.suffix != _REQUEST_SUFFIX:
            continue
        try:
            erased, _ = _read(request)
        except _NO_REQUEST:
            continue
        yield erased
        remove_quietly([request])


def read_answer(path: Path) -> Answer | None:
    """Return the sidecar's answer and remove it; None as long as there is none.

    The request goes first, which holds ids of what is erased: the sidecar answers before it does
    that, and may be killed in between.
    """
    try:
        answer = Answer(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    remove_quietly([path.with_suffix(_REQUEST_SUFFIX), path])
    return answer


@dataclass(frozen=True, slots=True)
class LiveStore:
    """Where a running sidecar keeps what it took of one signal; ``path`` is its data directory."""

    path: Path
    lake: Lake
    journal: Journal


class LiveErasure:
    """Looks for requests and does them, in a thread of its own."""

    def __init__(
        self, path: Path, stores: Sequence[LiveStore], on_failure: Callable[[], None]
    ) -> None:
        """Look in the data directory; nothing runs before ``start``."""
        self._directory = path / _DIRECTORY
        self._stores = tuple(stores)
        self._on_failure = on_failure
        self._is_stopping = threading.Event()
        self._thread = Repeating(
            "erase", _POLL_S, self.look, on_failure, is_stopping=self._is_stopping
        )

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End; a request that is not done is done at the next start."""
        self._thread.stop()

    def look(self) -> None:
        """Do what is asked for, one request after the other."""
        for request in list_directory(self._directory):
            if request.suffix == _REQUEST_SUFFIX and not self._is_stopping.is_set():
                self._do(request)

    def _do(self, request: Path) -> None:
        answer = Answer()
        try:
            erased, no_grace = _read(request)
        except FileNotFoundError:
            return  # answered before a restart, and read by now
        except _NO_REQUEST as error:
            answer.problems.append(f"the request cannot be read: {cause(error)}")
        else:
            left = self._erase_from_all(erased, answer, no_grace=no_grace)
            while any(path.exists() for path in left):
                if self._is_stopping.wait(_POLL_S):
                    break
            if self._is_stopping.is_set():
                return  # the next start does all of it once more
        _log.info(
            "erased",
            spans=answer.spans,
            events=answer.events,
            log_records=answer.log_records,
            problems=len(answer.problems),
        )
        replace_file(request.with_suffix(".json"), json.dumps(asdict(answer)).encode())
        request.unlink(missing_ok=True)  # whoever read the answer may have been quicker

    def _erase_from_all(self, erased: Erased, answer: Answer, *, no_grace: bool) -> list[Path]:
        """Erase and return the files to wait for; a failure is part of the answer."""
        left: list[Path] = []
        try:
            for store in self._stores:
                left += self._erase(store, erased, answer, no_grace=no_grace)
        except Exception as error:  # noqa: BLE001 - else it failed for ever, and all requests behind it
            self._on_failure()
            _log.exception("erasing fails")
            answer.problems.append(f"the sidecar failed: {type(error).__name__}")
        return left

    def _erase(
        self, store: LiveStore, erased: Erased, answer: Answer, *, no_grace: bool
    ) -> list[Path]:
        """Erase from memory, journal and files, in this order; return the files to wait for."""
        pending = store.lake.forget(erased, store.journal.last_seq)
        journalled = self._erase_from_journal(store, erased, answer)
        if store.lake.items_table == LOGS:
            answer.pending_log_records += pending
            answer.journalled_log_records += journalled
        else:
            answer.pending_spans += pending
            answer.journalled_spans += journalled
        if not store.lake.flush():
            answer.problems.append("the lake could not be flushed")
        with store.lake.rewriting() as files:
            for entry in files.files:
                if self._is_stopping.is_set():
                    break
                try:
                    if any(map(erased.touches, files.columns(entry, _COLUMNS[entry.table]))):
                        _rewrite(files, entry, erased, answer)
                except ClearspanError as error:
                    answer.problems.append(str(error))
            # also what a merge has just replaced
            waiting = files.waiting
            if no_grace:
                files.unlink_now(waiting)
        return [store.path / LAKE / path for path in waiting]

    def _erase_from_journal(self, store: LiveStore, erased: Erased, answer: Answer) -> int:
        """Erase and return how many rows went."""
        segments = store.journal.seal()
        gone = 0
        ends = [*(segment.first_seq for segment in segments[1:]), None]
        for segment, before_seq in zip(segments, ends, strict=False):  # none: nothing to do
            try:
                gone += _erase_from_segment(store, segment, before_seq, erased, answer)
            except ClearspanError as error:
                answer.problems.append(str(error))
        return gone


def _erase_from_segment(
    store: LiveStore, segment: Segment, before_seq: int | None, erased: Erased, answer: Answer
) -> int:
    """Rewrite a segment that holds what is to go; return how many rows went."""
    try:
        data = segment.path.read_bytes()
    except FileNotFoundError:
        return 0  # settled meanwhile: it is in the files
    except OSError as error:
        raise ClearspanError(f"{segment.path}: {cause(error)}") from error
    found = Segment(
        segment.path, segment.ordinal, segment.first_seq, segment.magic, schema=segment.schema
    )
    scan(found, data, before_seq)
    batches = list(batches_of(found, data, store.lake.source_id))
    if not any(erased.touches(batch.table) for batch in batches):
        return 0
    numbered = zip((frame.seq for frame in found.frames), batches, strict=True)
    with store.journal.holding(segment) as is_there:
        if not is_there:
            return 0
        _, rows = rewrite_segment(found, numbered, erased)
        answer.segments_rewritten += 1
        return rows.before - rows.after


def _read(request: Path) -> tuple[Erased, bool]:
    """Return what goes, and whether replaced files are to be unlinked at once."""
    with pa.ipc.open_file(request.read_bytes()) as reader:
        keys = reader.read_all()
    options = keys.schema.metadata or {}
    rows = align(keys, _REQUEST)
    is_span = rows.column(s.TRACE_ID).is_valid()
    erased = Erased(
        rows.filter(is_span).select(KEY_SCHEMA.names),
        whole_traces=bool(options[_WHOLE]),
        records=rows.filter(pc.invert(is_span)).select(RECORD_SCHEMA.names),
    )
    return erased, bool(options[_NO_GRACE])


def _rewrite(files: LakeFiles, entry: FileEntry, erased: Erased, answer: Answer) -> None:
    rows = files.rewrite_file(entry, erased)
    answer.files_rewritten += 1
    answer.rows_that_stay += rows.after
    gone = rows.before - rows.after
    if entry.table == SPANS:
        answer.spans += gone
    elif entry.table == LOGS:
        answer.log_records += gone
    else:
        answer.events += gone
