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
import structlog

from collector.model import schema as s
from collector.model.errors import ClearspanError
from storage.erased import KEY_SCHEMA, Erased
from storage.files import (
    cause,
    list_directory,
    make_directories,
    remove_quietly,
    replace_file,
    sync_directory,
)
from storage.journal_frame import FrameError, decode
from storage.journal_segment import Segment, scan
from storage.lake_tables import SPAN_EVENTS, SPANS, TABLES, events_of
from storage.manifest_check import read_manifests
from storage.repeating import Repeating
from storage.rewrite import rewrite_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from collector.model.batch import SpanBatch
    from storage.journal import Journal
    from storage.lake import Lake
    from storage.layout import Layout
    from storage.manifest_text import FileEntry, ManifestState
    from storage.rewrite import LakeFiles

_log = structlog.get_logger()
_DIRECTORY: Final = "erase"
_POLL_S: Final = 0.5
_WHOLE: Final = b"whole_traces"
_NO_GRACE: Final = b"no_grace"
_COLUMNS: Final = {
    SPANS: (s.TRACE_ID, s.SPAN_ID, s.LINKS),
    SPAN_EVENTS: (s.TRACE_ID, s.SPAN_ID),
}


@dataclass(slots=True)
class Answer:
    """What was erased, in rows, and what could not be."""

    spans: int = 0
    events: int = 0
    journalled_spans: int = 0
    pending_spans: int = 0
    files_rewritten: int = 0
    segments_rewritten: int = 0
    rows_that_stay: int = 0
    problems: list[str] = field(default_factory=list)


class LiveData:
    """What is stored while a sidecar goes on writing, to find spans in; nothing is locked."""

    def __init__(self, path: Path) -> None:
        """Take a data directory."""
        self._path = path
        self._lake = path / "lake"

    def journalled(self) -> Iterator[dict[str, pa.Table]]:
        """Yield what the journal holds, a batch as the lake would have it.

        To be asked before ``files_by_table``: what the journal drops meanwhile is in newer files.
        """
        for path in list_directory(self._path / "journal"):
            segment = Segment.named(path)
            try:
                data = path.read_bytes() if segment else b""
            except FileNotFoundError:
                continue
            if segment is None:
                continue
            scan(segment, data, None)
            for batch in _batches(segment, data, ""):
                events, _ = events_of(batch.table)
                yield {SPANS: batch.table.drop_columns([s.EVENTS]), SPAN_EVENTS: events}

    def files_by_table(self) -> dict[str, list[Path]]:
        """Return the lake's files as of now; raises ``ClearspanError`` without a manifest."""
        files = self._state().files.values()
        return {
            table: [self._lake / one.path for one in files if one.table == table]
            for table in TABLES
        }

    @property
    def layout(self) -> Layout:
        """The promoted columns of files that are written now."""
        return self._state().layout

    def _state(self) -> ManifestState:
        state = read_manifests(self._lake).state
        if state is None:
            raise ClearspanError(f"there is no readable manifest in {self._lake}")
        return state

    def relative(self, file: Path) -> str:
        """Return a file's path as the manifest has it."""
        return file.relative_to(self._lake).as_posix()

    def ask(self, erased: Erased, *, no_grace: bool) -> Path:
        """Leave a request for the sidecar; return where its answer will be. Raises OSError."""
        directory = self._path / _DIRECTORY
        make_directories(directory)
        options = {_WHOLE: b"1" if erased.is_whole else b"", _NO_GRACE: b"1" if no_grace else b""}
        table = erased.keys.replace_schema_metadata(options)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        request = directory / f"{secrets.token_hex(8)}.arrow"
        replace_file(request, sink.getvalue().to_pybytes())
        sync_directory(directory)
        return request.with_suffix(".json")


def read_answer(path: Path) -> Answer | None:
    """Return the sidecar's answer and remove it; None as long as there is none."""
    try:
        answer = Answer(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    remove_quietly([path])
    return answer


class LiveErasure:
    """Looks for requests and does them, in a thread of its own."""

    def __init__(
        self, path: Path, lake: Lake, journal: Journal, on_failure: Callable[[], None]
    ) -> None:
        """Nothing runs before ``start``."""
        self._directory = path / _DIRECTORY
        self._lake_directory = path / "lake"
        self._lake = lake
        self._journal = journal
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
            if request.suffix == ".arrow" and not self._is_stopping.is_set():
                self._do(request)

    def _do(self, request: Path) -> None:
        answer = Answer()
        try:
            erased, no_grace = _read(request)
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            answer.problems.append(f"the request cannot be read: {cause(error)}")
        else:
            left = self._erase(erased, answer, no_grace=no_grace)
            while any((self._lake_directory / path).exists() for path in left):
                if self._is_stopping.wait(_POLL_S):
                    break
            if self._is_stopping.is_set():
                return  # the next start does all of it once more
        _log.info("erased", spans=answer.spans, events=answer.events, problems=len(answer.problems))
        replace_file(request.with_suffix(".json"), json.dumps(asdict(answer)).encode())
        request.unlink()

    def _erase(self, erased: Erased, answer: Answer, *, no_grace: bool) -> list[str]:
        """Erase from memory, journal and files, in this order; return the files to wait for."""
        answer.pending_spans = self._lake.forget(erased, self._journal.last_seq)
        self._erase_from_journal(erased, answer)
        if not self._lake.flush():
            answer.problems.append("the lake could not be flushed")
        with self._lake.rewriting() as files:
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
        return waiting

    def _erase_from_journal(self, erased: Erased, answer: Answer) -> None:
        segments = self._journal.seal()
        ends = [*(segment.first_seq for segment in segments[1:]), None]
        for segment, before_seq in zip(segments, ends, strict=False):  # none: nothing to do
            try:
                self._erase_from_segment(segment, before_seq, erased, answer)
            except ClearspanError as error:
                answer.problems.append(str(error))

    def _erase_from_segment(
        self, segment: Segment, before_seq: int | None, erased: Erased, answer: Answer
    ) -> None:
        try:
            data = segment.path.read_bytes()
        except FileNotFoundError:
            return  # settled meanwhile: it is in the files
        except OSError as error:
            raise ClearspanError(f"{segment.path}: {cause(error)}") from error
        found = Segment(segment.path, segment.ordinal, segment.first_seq, segment.magic)
        scan(found, data, before_seq)
        batches = list(_batches(found, data, self._lake.source_id))
        if not any(erased.touches(batch.table) for batch in batches):
            return
        numbered = zip((frame.seq for frame in found.frames), batches, strict=True)
        with self._journal.holding(segment) as is_there:
            if is_there:
                _, rows = rewrite_segment(found, numbered, erased)
                answer.segments_rewritten += 1
                answer.journalled_spans += rows.before - rows.after


def _read(request: Path) -> tuple[Erased, bool]:
    """Return what goes, and whether replaced files are to be unlinked at once."""
    with pa.ipc.open_file(request.read_bytes()) as reader:
        keys = reader.read_all()
    options = keys.schema.metadata or {}
    erased = Erased(keys.cast(KEY_SCHEMA), whole_traces=bool(options[_WHOLE]))
    return erased, bool(options[_NO_GRACE])


def _batches(segment: Segment, data: bytes, source_id: str) -> Iterator[SpanBatch]:
    view = memoryview(data)
    for frame in segment.frames:
        part = view[frame.offset : frame.offset + frame.size_bytes]
        try:
            yield decode(part, frame, segment.schema, source_id)
        except FrameError as error:
            raise ClearspanError(f"{segment.path} was written by another version") from error


def _rewrite(files: LakeFiles, entry: FileEntry, erased: Erased, answer: Answer) -> None:
    rows = files.rewrite_file(entry, erased)
    answer.files_rewritten += 1
    answer.rows_that_stay += rows.after
    if entry.table == SPANS:
        answer.spans += rows.before - rows.after
    else:
        answer.events += rows.before - rows.after
