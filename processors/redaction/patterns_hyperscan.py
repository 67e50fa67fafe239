"""Many patterns at once by Hyperscan.

Compiled databases are kept on disk between starts: compiling takes up to seconds. The scan gives
up the interpreter's lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import hyperscan as hs

from processors.redaction.multi_pattern import Compiled, Expression

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMAT: Final = 2
# Twice as many take four times as long to compile: 356, of all entities, 26 s rather than 11. Those
# of the defaults are fewer; a scan of short texts by two databases takes a fifth more.
_MOST_TOGETHER: Final = 256
_DIGEST_BYTES: Final = 32
_FLAGS: Final = (
    hs.HS_FLAG_PREFILTER
    | hs.HS_FLAG_DOTALL
    | hs.HS_FLAG_MULTILINE
    | hs.HS_FLAG_SINGLEMATCH
    | hs.HS_FLAG_ALLOWEMPTY
)


def compile_all(expressions: Sequence[Expression]) -> Compiled:
    """Load the databases of exactly these expressions, or compile them.

    A file that is damaged, of another build or not readable is ignored; one that cannot be
    written is not written. The files hold patterns only, never data.
    """
    parts = [
        _database(expressions[first : first + _MOST_TOGETHER])
        for first in range(0, len(expressions), _MOST_TOGETHER)
    ]
    databases = [database for database, _ in parts]

    def scan(data: bytes, found: list[int]) -> None:
        for database in databases:
            database.scan(data, _collect, context=found)

    return Compiled(scan, frozenset().union(*(failed for _, failed in parts)))


def _database(expressions: Sequence[Expression]) -> tuple[hs.Database, frozenset[int]]:
    """Return the database, and the marks of what does not compile."""
    content = json.dumps(
        [_FORMAT, version("hyperscan"), *((e.text, e.mark, e.is_caseless) for e in expressions)]
    )
    path = _directory() / f"screen-{hashlib.sha256(content.encode()).hexdigest()[:32]}.hsdb"
    database = _load(path)
    if database is not None:
        return database, frozenset()
    try:
        database = _compile(expressions)
    except hs.error:
        good = [one for one in expressions if _compiles(one)]
        return _compile(good), frozenset(one.mark for one in expressions if one not in good)
    _save(path, hs.dumpb(database))
    return database, frozenset()


def _collect(mark: int, _from: int, _to: int, _flags: int, found: Any) -> None:
    found.append(mark)


def _compile(expressions: Sequence[Expression]) -> hs.Database:
    database = hs.Database(mode=hs.HS_MODE_BLOCK)
    database.compile(
        expressions=[one.text.encode() for one in expressions],
        ids=[one.mark for one in expressions],
        elements=len(expressions),
        flags=[_FLAGS | (hs.HS_FLAG_CASELESS if one.is_caseless else 0) for one in expressions],
    )
    return database


def _compiles(expression: Expression) -> bool:
    try:
        _compile([expression])
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
