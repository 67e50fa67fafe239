"""What a lake does at opening: find its state again, whatever the last process left behind."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog

from collector.model import telemetry as t
from collector.model.errors import StartupError
from storage.data_directory import QUARANTINE
from storage.files import (
    free_name,
    list_directory,
    make_directories,
    means_damage,
    remove_quietly,
    replace_file,
    set_aside,
    sync_directory,
)
from storage.lake_tables import SPAN_EVENTS, SPANS, TABLES
from storage.layout import UNKNOWN, Layout
from storage.manifest import MANIFEST, MANIFEST_COPY, Manifest
from storage.manifest_text import (
    FileEntry,
    ManifestDamagedError,
    ManifestState,
    NewerManifestError,
    empty_path,
    parse,
)
from storage.parquet import UNREADABLE, Facts, empty_file, is_whole, read_facts

if TYPE_CHECKING:
    from pathlib import Path

    from collector.model.telemetry import Telemetry
    from storage.environment import Environment
    from storage.layout import PromotedColumn

STAGING: Final = "staging"
OUR_FILE: Final = re.compile(
    r"(?:spans|span_events|logs)/date=\d{4}-\d{2}-\d{2}/hour=\d{2}/(\d{12,})-[0-9a-f]{8}\.parquet",
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened manifest, and files no longer in it that a reader may still have open.

    ``is_durable`` tells whether a power loss leaves them out of it. ``updated_s`` is when the last
    process wrote the manifest, None if that is not known.
    """

    manifest: Manifest
    replaced: tuple[str, ...]
    is_durable: bool
    updated_s: float | None


def open_manifest(
    directory: Path,
    environment: Environment,
    telemetry: Telemetry,
    promoted: tuple[PromotedColumn, ...] | None = None,
    tables: tuple[str, ...] = (SPANS, SPAN_EVENTS),
) -> Opened:
    """Return the lake's state, made anew if there is none and rebuilt if it is damaged.

    New files get these promoted columns, those that the lake has if None. ``tables`` are those of
    the lake's signal. A manifest of an earlier
    format version is written in today's.

    Raises ``StartupError`` when a later version wrote it or it is of another signal, OSError when
    the disk refuses.
    """
    make_directories(directory)
    staging = directory / STAGING
    make_directories(staging)
    remove_quietly([*list_directory(staging), *directory.glob("*.json.tmp")])
    on_disk = files_on_disk(directory)
    found = _read(directory)
    if found is not None and found.tables != tables:
        raise StartupError(f"{directory} is a lake of {' and '.join(found.tables)}")
    state = found or _rebuild(directory, on_disk, telemetry)
    # one without rows only says what it replaced
    listed = {path: entry for path, entry in state.files.items() if entry.rows}
    files = {
        path: entry for path, entry in listed.items() if _is_there(directory, entry, telemetry)
    }
    # A name with a generation that was never committed belongs to no reader: a crash fell between
    # rename and commit, and its rows are in the journal. An older one was replaced.
    orphans = {path: generation for path, generation in on_disk.items() if path not in files}
    never_committed = [path for path, gen in orphans.items() if found and gen > state.generation]
    remove_quietly([directory / path for path in never_committed])
    # Left out at an earlier start: what was erased since may be in them.
    returned = [path for path in state.missing if path in orphans and path not in never_committed]
    for path in returned:
        _set_returned_aside(directory, path, telemetry)
    left_out = listed.keys() - files.keys()
    columns = state.layout.columns if promoted is None else promoted
    layout = Layout.of_today(SPANS, columns)
    _write_empty_files(directory, layout, tables)
    manifest = Manifest(
        directory,
        replace(
            state,
            files=files,
            layout=layout,
            tables=tables,
            missing=tuple(sorted(left_out.union(state.missing) - set(returned))),
        ),
        max([state.generation, *on_disk.values()]) + 1,
        environment,
    )
    is_durable = manifest.commit()
    # what could not be moved aside is no replaced file either
    replaced = orphans.keys() - left_out - set(never_committed) - set(returned)
    return Opened(manifest, tuple(sorted(replaced)), is_durable, state.updated_s)


def set_file_aside(directory: Path, entry: FileEntry, telemetry: Telemetry) -> None:
    """Move a damaged lake file to ``quarantine/``, count and log it."""
    # a manifest may say anything, and only our own files are ours to move
    is_ours = OUR_FILE.fullmatch(entry.path) is not None
    moved = set_aside(directory / entry.path, directory / QUARANTINE) if is_ours else None
    telemetry.add(t.LAKE_QUARANTINED)
    _log.error(
        "lake file is damaged or missing",
        file=entry.path,
        table=entry.table,
        rows=entry.rows,
        quarantined=moved is not None,
    )


def _set_returned_aside(directory: Path, path: str, telemetry: Telemetry) -> None:
    """Move a file that was left out at an earlier start to ``quarantine/``, count and log it."""
    moved = set_aside(directory / path, directory / QUARANTINE)
    telemetry.add(t.LAKE_QUARANTINED)
    _log.error(
        "lake file came back after a start without it", file=path, quarantined=moved is not None
    )


def _read(directory: Path) -> ManifestState | None:
    """Return what the manifest says, or its copy if it is damaged; None if neither can be read."""
    for name in (MANIFEST, MANIFEST_COPY):
        path = directory / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            if not means_damage(error):
                raise
            content = b""
        try:
            state = parse(content)
        except NewerManifestError as error:
            msg = f"{path}: format version {error} is of a later clearspan"
            raise StartupError(msg) from error
        except ManifestDamagedError:
            kept = free_name(directory, f"{name}.damaged")
            path.rename(kept)
            _log.error("manifest is damaged", file=name, kept_as=kept.name)
            continue
        return state
    return None


def files_on_disk(directory: Path) -> dict[str, int]:
    """Return our Parquet files, in the manifest or not, with the generation each was made for."""
    found = {}
    for table in TABLES:
        for path in (directory / table).glob("date=*/hour=*/*.parquet"):  # over files
            name = path.relative_to(directory).as_posix()
            match = OUR_FILE.fullmatch(name)
            if match is not None:
                found[name] = int(match[1])
    return found


def _is_there(directory: Path, entry: FileEntry, telemetry: Telemetry) -> bool:
    if OUR_FILE.fullmatch(entry.path) and is_whole(directory / entry.path, entry.bytes):
        return True
    set_file_aside(directory, entry, telemetry)
    return False


def _rebuild(directory: Path, on_disk: dict[str, int], telemetry: Telemetry) -> ManifestState:
    """Return the state that the files themselves tell, or that of a new lake if there are none.

    Left out: a file that another one replaces, and the newest generation if it is not complete
    (its commit may not have happened, so its rows are in the journal).
    """
    facts: dict[str, Facts] = {}
    for path in on_disk:  # over files
        try:
            facts[path] = read_facts(directory / path)
        except UNREADABLE as error:
            if not means_damage(error):
                raise
            set_file_aside(directory, entry_from(directory, path, None), telemetry)
    replaced = {path for fact in facts.values() for path in fact.replaces}
    newest = max(on_disk.values(), default=0)
    last = [path for path in facts if on_disk[path] == newest]
    incomplete = {path for path in last if len(last) < facts[path].parts}
    for path in incomplete:
        set_file_aside(directory, entry_from(directory, path, facts[path]), telemetry)
    if on_disk:
        _log.error("manifest is rebuilt from the files", files=len(on_disk))
    kept = sorted(facts.keys() - replaced - incomplete)
    return ManifestState(
        generation=newest,
        source_id=next((facts[path].source_id for path in kept), secrets.token_hex(8)),
        settled_through=max((fact.settled_before for fact in facts.values()), default=0),
        files={path: entry_from(directory, path, facts[path]) for path in kept},
        layout=_newest_layout(facts, on_disk),
    )


def _newest_layout(facts: dict[str, Facts], on_disk: dict[str, int]) -> Layout:
    spans = [path for path in facts if path.startswith(f"{SPANS}/")]
    return facts[max(spans, key=on_disk.__getitem__)].layout if spans else UNKNOWN


def entry_from(directory: Path, path: str, facts: Facts | None) -> FileEntry:
    """Return what the manifest says of a file; None: nothing is known of what it holds."""
    if facts is None:
        return FileEntry(path, path.split("/", 1)[0], 0, 0, 0, 0, 0, 0)
    return FileEntry(
        path=path,
        table=path.split("/", 1)[0],
        rows=facts.rows,
        bytes=(directory / path).stat().st_size,
        min_start_us=facts.min_start_us,
        max_start_us=facts.max_start_us,
        min_seq=facts.min_seq,
        max_seq=facts.max_seq,
        rules=facts.rules,
        layout=facts.layout,
    )


def _write_empty_files(directory: Path, layout: Layout, tables: tuple[str, ...]) -> None:
    """Give each table its file without rows, with the columns of this version and layout."""
    for table in tables:
        path = directory / empty_path(table)
        content = empty_file(table, layout)
        if path.is_file() and path.read_bytes() == content:
            continue
        make_directories(path.parent)
        replace_file(path, content)
        sync_directory(path.parent)
