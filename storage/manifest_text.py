"""The manifest as text: the list of files that are the lake, with a checksum at its end.

The format is a contract with readers in other processes; docs/storage.md describes it.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from storage.lake_tables import LOGS, SPAN_EVENTS, SPANS
from storage.layout import UNKNOWN, Layout

FORMAT_VERSION: Final = 2
READABLE_VERSIONS: Final = (1, 2)
"""Version 1 has no layouts: which of the schema's columns its files have is not known."""
_CHECKSUM: Final = ',"checksum":"crc32:'


class ManifestDamagedError(Exception):
    """The text is no manifest as it was written; never leaves storage."""


class NewerManifestError(Exception):
    """A later version of clearspan wrote the manifest; never leaves storage."""


@dataclass(frozen=True)
class FileEntry:
    """One committed Parquet file; ``path`` is relative to the lake directory.

    ``crc32`` is of all its bytes: footer, page index and Bloom filters have no checksum of their
    own, and a reader trusts them. None if nobody took it when the file was made. ``layout`` are the
    columns the file has.
    """

    path: str
    table: str
    rows: int
    bytes: int
    min_start_us: int
    max_start_us: int
    min_seq: int
    max_seq: int
    rules: str = ""
    crc32: int | None = None
    layout: Layout = UNKNOWN

    @property
    def partition(self) -> str:
        """The directory of the file's hour, without the table's."""
        return self.path.split("/", 1)[1].rsplit("/", 1)[0]

    @cached_property
    def text(self) -> str:
        """The entry as JSON, made once: a manifest of 1,000 files is written every flush."""
        values = {name: getattr(self, name) for name in _FIELDS}
        if self.crc32 is None:
            del values["crc32"]
        if self.layout.id:
            values["layout"] = self.layout.id
        return json.dumps(values, separators=(",", ":"))


_FIELDS: Final = tuple(name for name in FileEntry.__dataclass_fields__ if name != "layout")


@dataclass(frozen=True, slots=True)
class ManifestState:
    """What one generation of the manifest says; new files of ``spans`` are of its ``layout``.

    ``tables`` are those of the lake's signal. ``missing`` are files that were left out at a
    start, not there or damaged. ``updated_s`` is when this generation was written, seconds since
    1970, if known.
    """

    generation: int
    source_id: str
    settled_through: int
    files: dict[str, FileEntry]
    layout: Layout = UNKNOWN
    tables: tuple[str, ...] = (SPANS, SPAN_EVENTS)
    missing: tuple[str, ...] = ()
    updated_s: float | None = None


def empty_path(table: str) -> str:
    """Return the path of the table's file without rows, first in its list."""
    return f"{table}/_empty.parquet"


def render(state: ManifestState, now_s: float) -> bytes:
    """Return the manifest's text, written now."""
    lists = {table: [empty_path(table)] for table in state.tables}
    for entry in state.files.values():  # over files
        lists[entry.table].append(entry.path)
    today = {table: state.layout.of_table(table) for table in lists}
    layouts = {layout.id: layout for layout in today.values()}
    layouts.update({entry.layout.id: entry.layout for entry in state.files.values()})
    head = json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "generation": state.generation,
            "source_id": state.source_id,
            "settled_through": state.settled_through,
            "updated": datetime.fromtimestamp(now_s, UTC).isoformat(),
            "layout": {table: layout.id for table, layout in today.items()},
            "layouts": {name: one.plain for name, one in layouts.items() if name},
            **({"missing": state.missing} if state.missing else {}),
            **lists,
        },
        separators=(",", ":"),
    )
    files = ",".join(entry.text for entry in state.files.values())
    return seal(f'{head[:-1]},"files":[{files}]'.encode())


def seal(body: bytes) -> bytes:
    """Return the manifest of a JSON object without its closing brace: with checksum and brace."""
    return body + f'{_CHECKSUM}{zlib.crc32(body):08x}"}}\n'.encode()


def parse(content: bytes) -> ManifestState:
    """Read a manifest; raises ``ManifestDamagedError`` or ``NewerManifestError``."""
    body, found, rest = content.rpartition(_CHECKSUM.encode())
    if not found or rest != f'{zlib.crc32(body):08x}"}}\n'.encode():
        raise ManifestDamagedError("checksum")
    try:
        values: dict[str, Any] = json.loads(body + b"}")
        if values["format_version"] not in READABLE_VERSIONS:
            raise NewerManifestError(str(values["format_version"]))
        layouts = {"": UNKNOWN, **_layouts(values.get("layouts", {}))}
        entries = [
            FileEntry(
                **{name: file[name] for name in _FIELDS if name in file},
                layout=layouts[file.get("layout", "")],
            )
            for file in values["files"]
        ]
        state = ManifestState(
            generation=values["generation"],
            source_id=values["source_id"],
            settled_through=values["settled_through"],
            files={entry.path: entry for entry in entries},
            layout=layouts[values.get("layout", {}).get(SPANS, "")],
            tables=(LOGS,) if LOGS in values else (SPANS, SPAN_EVENTS),
            missing=tuple(map(str, values.get("missing", ()))),
            updated_s=datetime.fromisoformat(values["updated"]).timestamp()
            if "updated" in values
            else None,
        )
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ManifestDamagedError("content") from error
    if not all(map(_is_typed, entries)) or len(state.files) != len(entries):
        raise ManifestDamagedError("files")
    return state


def _layouts(values: dict[str, Any]) -> dict[str, Layout]:
    layouts = {name: Layout.of_plain(plain) for name, plain in values.items()}
    if any(one.id != name for name, one in layouts.items()):
        raise ValueError("layout")
    return layouts


def _is_typed(entry: FileEntry) -> bool:
    texts = (entry.path, entry.table, entry.rules)
    numbers = (getattr(entry, name) for name in _FIELDS[2:] if name not in {"rules", "crc32"})
    return all(isinstance(text, str) for text in texts) and all(
        isinstance(number, int) for number in numbers
    )
