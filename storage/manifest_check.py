"""Reading the manifest and its copy without changing either, and what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from storage.files import cause
from storage.findings import Finding
from storage.manifest import MANIFEST, MANIFEST_COPY
from storage.manifest_text import (
    FORMAT_VERSION,
    ManifestDamagedError,
    ManifestState,
    NewerManifestError,
    empty_path,
    parse,
)

if TYPE_CHECKING:
    from pathlib import Path

# Read once, a commit between the two would be reported, as a note.
_TRIES: Final = 3


@dataclass(slots=True)
class Manifests:
    """The newest state that can be read (``content`` is its text) and what is wrong.

    ``state`` is None when neither can be read. ``is_newer``: a later version wrote one of them,
    so nothing else that is here can be judged.
    """

    state: ManifestState | None = None
    content: bytes = b""
    is_newer: bool = False
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Read:
    content: bytes = b""
    state: ManifestState | None = None
    finding: Finding | None = None
    is_newer: bool = False


def read_manifests(lake: Path) -> Manifests:
    """Read both; never raises. The copy stands in when the manifest is damaged or missing."""
    for _ in range(_TRIES):
        # the copy first: a commit replaces it last, so it is never ahead of a manifest read later
        copy, main = _read(lake, MANIFEST_COPY), _read(lake, MANIFEST)
        if copy.content == main.content:
            break
    best = main if main.state is not None else copy
    found = Manifests(best.state, best.content, main.is_newer or copy.is_newer)
    found.findings += [one.finding for one in (main, copy) if one.finding is not None]
    if main.state is not None:
        _compare_lists(main, found)
        _compare_copy(main, copy, found)
    return found


def _read(lake: Path, name: str) -> _Read:
    file = f"lake/{name}"
    try:
        content = (lake / name).read_bytes()
        return _Read(content, parse(content))
    except FileNotFoundError:
        return _Read(finding=Finding("error", file, "is not there"))
    except OSError as error:
        return _Read(finding=Finding("error", file, f"cannot be read: {cause(error)}"))
    except NewerManifestError as error:
        what = f"has format version {error!s:.20}; this clearspan reads up to {FORMAT_VERSION}"
        return _Read(finding=Finding("error", file, what), is_newer=True)
    except ManifestDamagedError as error:
        what = "is empty" if not content else f"is damaged ({error})"
        return _Read(finding=Finding("error", file, what))


def _compare_lists(main: _Read, found: Manifests) -> None:
    """SQL reads the lists of paths, everything else the entries: they must be the same."""
    values = json.loads(main.content)
    files = main.state.files.values() if main.state is not None else ()
    for table in main.state.tables if main.state is not None else ():
        paths = [empty_path(table), *(entry.path for entry in files if entry.table == table)]
        if values.get(table) != paths:
            what = f"lists other files under {table!r} than under 'files'"
            found.findings.append(Finding("error", f"lake/{MANIFEST}", what))


def _compare_copy(main: _Read, copy: _Read, found: Manifests) -> None:
    if main.state is None or copy.state is None or copy.content == main.content:
        return
    file = f"lake/{MANIFEST_COPY}"
    ours, theirs = main.state.generation, copy.state.generation
    if theirs < ours:
        what = f"is of generation {theirs}, the manifest of {ours}: a commit was not finished"
        found.findings.append(Finding("note", file, what))
    else:
        what = f"is of generation {theirs} and differs from the manifest of {ours}"
        found.findings.append(Finding("error", file, what))
