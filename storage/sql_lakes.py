"""Which lakes a query reads: directories, patterns of directories and S3 prefixes, each checked."""
# ruff: noqa: S608 - what is put together here is quoted paths

from __future__ import annotations

import glob
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb

from collector.model.errors import QueryError
from storage.lake_tables import LOGS, SPAN_EVENTS, SPANS
from storage.manifest import MANIFEST
from storage.manifest_text import FORMAT_VERSION, READABLE_VERSIONS
from storage.sql_files import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

DataSource = Path | str | Sequence[Path | str]

_REMOTE: Final = "s3://"
_LAKE: Final = "lake"


def find_lakes(data: DataSource) -> tuple[str, ...]:
    """Return the lakes of data directories, each once: absolute directories and S3 URLs.

    A text may be a pattern (``/pods/*/clearspan``) or an ``s3://bucket/prefix``; a lake directory
    itself is taken as well. Raises QueryError, which names what is no lake or cannot be read.
    """
    sources = [data] if isinstance(data, (Path, str)) else data
    found: dict[str, str] = {}
    for source in sources:  # over what was named
        if str(source).startswith(_REMOTE):
            found |= {lake: lake for lake in _remote_lakes(str(source))}
        else:
            lakes = map(_lake, _directories(source))
            found |= {os.path.realpath(lake): str(lake) for lake in lakes}
    return tuple(found.values())


def is_remote(lake: str) -> bool:
    """Return whether a lake is not in the file system."""
    return lake.startswith(_REMOTE)


def log_lake_of(lake: str) -> str:
    """Return where the log records beside a lake of spans are, if there are any.

    Nowhere, which is an empty text, when the lake stands alone rather than in a data directory.
    """
    data, _, name = lake.rpartition("/")
    return f"{data}/{LOGS}/{_LAKE}" if name == _LAKE else ""


def find_log_lakes(connection: duckdb.DuckDBPyConnection, lakes: Sequence[str]) -> tuple[str, ...]:
    """Return the lakes of log records that there are beside lakes of ``find_lakes``.

    Raises duckdb.Error when a remote place cannot be looked at.
    """
    return tuple(
        place for place in filter(None, map(log_lake_of, lakes)) if _is_lake(connection, place)
    )


def _is_lake(connection: duckdb.DuckDBPyConnection, place: str) -> bool:
    if not is_remote(place):
        return Path(place, MANIFEST).exists()
    # without a pattern glob() returns what it is given
    pattern = quote(f"{glob.escape(place)}/{MANIFEST[:-1]}[{MANIFEST[-1]}]")
    return bool(connection.sql(f"SELECT file FROM glob({pattern})").fetchall())


def load_remote_access(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection read S3 with DuckDB's httpfs as it is installed; nothing is downloaded.

    Raises QueryError when it is not installed.
    """
    try:
        connection.execute("LOAD httpfs")
    except duckdb.Error as error:
        raise QueryError(
            "S3 needs DuckDB's extension httpfs, which is not installed here and is never "
            "downloaded by clearspan. Where downloads are allowed, install it once with the same "
            f"DuckDB ({duckdb.__version__}): python -c \"import duckdb; duckdb.sql('INSTALL "
            "httpfs')\""
        ) from error


def _directories(source: Path | str) -> list[Path]:
    path = Path(source)
    if path.exists() or not glob.has_magic(str(source)):
        return [path.absolute()]
    matches = sorted(filter(os.path.isdir, glob.glob(str(source), recursive=True)))  # noqa: PTH207 - a pattern may be absolute
    if not matches:
        raise QueryError(f"no directory matches {source}")
    return [Path(match).absolute() for match in matches]


def _lake(data: Path) -> Path:
    """Return the lake directory of a data directory, or of itself, once it is checked."""
    if not data.is_dir():
        raise QueryError(f"there is no data directory {data}")
    lake = data if (data / MANIFEST).exists() else data / _LAKE
    path = lake / MANIFEST
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise QueryError(
            f"there is no {path}: is this the directory of exporters.lake.path, and has clearspan "
            "run with it?"
        ) from error
    except OSError as error:
        raise QueryError(f"{path} cannot be read: {error.strerror}") from error
    if _check_manifest(content, str(path)) != SPANS:
        raise QueryError(f"{lake} holds the log records of {lake.parent.parent}: name that")
    return lake


def _remote_lakes(url: str) -> Iterator[str]:
    """Yield the lakes at a prefix, which may hold ``*``: there, or in ``lake`` below it."""
    prefix = url.rstrip("/")
    reasons = []
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        load_remote_access(connection)
        manifests = []
        for place in (MANIFEST, f"{_LAKE}/{MANIFEST}"):
            names = quote(f"{prefix}/{place}")
            query = f"SELECT filename, content FROM read_text({names}) ORDER BY filename"
            try:
                manifests += connection.sql(query).fetchall()
            except duckdb.Error as error:
                reasons.append(str(error).strip().splitlines()[0])
    if not manifests:
        raise QueryError(f"there is no lake at {url}: {reasons[0] if reasons else 'no manifest'}")
    for name, content in manifests:  # over lakes
        if _check_manifest(content, name) == SPANS:
            yield name.removesuffix(f"/{MANIFEST}")


def _check_manifest(content: bytes | str, where: str) -> str:
    """Return which lake it is of by its first table; a pattern finds those of log records too."""
    try:
        manifest: Any = json.loads(content)
    except ValueError as error:
        raise QueryError(f"{where} is not a clearspan manifest: it is not JSON") from error
    if not isinstance(manifest, dict):
        raise QueryError(f"{where} is not a clearspan manifest: it is not an object")
    version = manifest.get("format_version")
    if version not in READABLE_VERSIONS:
        raise QueryError(
            f"{where} has format_version {version!r:.20}; "
            f"this clearspan reads up to {FORMAT_VERSION}"
        )
    for tables in ((SPANS, SPAN_EVENTS), (LOGS,)):
        if all(isinstance(manifest.get(table), list) and manifest[table] for table in tables):
            return tables[0]
    raise QueryError(f"{where} is not a clearspan manifest: it lists no files")
