"""Compiled Hyperscan databases, kept on disk between starts: compiling takes up to seconds."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hyperscan as hs

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMAT: Final = 1
_DIGEST_BYTES: Final = 32


def load_or_compile(
    expressions: Sequence[str], marks: Sequence[int], flags: Sequence[int]
) -> tuple[hs.Database, set[int]]:
    """Return a database with its scratch space, and the marks of expressions it does not hold.

    A file that is damaged, of another build or not readable is ignored; one that cannot be
    written is not written. The file holds patterns only, never data.
    """
    content = json.dumps(
        [_FORMAT, version("hyperscan"), *zip(expressions, marks, flags, strict=True)]
    )
    path = _directory() / f"screen-{hashlib.sha256(content.encode()).hexdigest()[:32]}.hsdb"
    database = _load(path)
    if database is not None:
        return database, set()
    failed: set[int] = set()
    try:
        database = _compile(expressions, marks, flags)
    except hs.error:
        good = [index for index in range(len(marks)) if _compiles(expressions[index], flags[index])]
        failed = set(marks) - {marks[index] for index in good}
        database = _compile(
            [expressions[index] for index in good],
            [marks[index] for index in good],
            [flags[index] for index in good],
        )
    if not failed:
        _save(path, hs.dumpb(database))
    return database, failed


def _compile(expressions: Sequence[str], marks: Sequence[int], flags: Sequence[int]) -> hs.Database:
    database = hs.Database(mode=hs.HS_MODE_BLOCK)
    database.compile(
        expressions=[text.encode() for text in expressions],
        ids=list(marks),
        elements=len(marks),
        flags=list(flags),
    )
    return database


def _compiles(expression: str, flags: int) -> bool:
    try:
        _compile([expression], [0], [flags])
    except hs.error:
        return False
    return True


def _directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path("~/.cache")
    return root / "clearspan"


def _load(path: Path) -> hs.Database | None:
    try:
        path = path.expanduser()
        if path.stat().st_uid != os.geteuid():
            return None
        raw = path.read_bytes()
    except (OSError, RuntimeError):
        return None
    digest, dump = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if hashlib.sha256(dump).digest() != digest:
        return None
    try:
        database = hs.loadb(dump, hs.HS_MODE_BLOCK)
        database.scratch = hs.Scratch(database)
    except hs.error:
        return None
    return database


def _save(path: Path, dump: bytes) -> None:
    """Write beside and rename, so that another process never reads half a file."""
    try:
        path = path.expanduser()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(dump).digest() + dump)
        Path(file.name).replace(path)
    except (OSError, RuntimeError):
        return
