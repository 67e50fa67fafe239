"""A process that queries all the time; importable by name, for a fork server."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from collector.model.errors import ClearspanError
from storage.sql import connect, refresh, run_statements
from storage.sql_lakes import find_lakes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext
    from multiprocessing.sharedctypes import Synchronized


class Reader:
    """What came of the queries; ``problems`` when they have ended."""

    def __init__(self, context: ForkServerContext) -> None:
        """Start at nothing."""
        self.counter = context.Value("q", 0)
        self.problems: tuple[str, ...] = ()

    @property
    def queries(self) -> int:
        """How many there were up to now."""
        return self.counter.value


@contextmanager
def queries(context: ForkServerContext, path: Path, lasting: str = "true") -> Iterator[Reader]:
    """Query in another process, as ``clearspan shell`` does, until the end of the block.

    Every tenth query has a new connection, as with ``clearspan query``.

    No query may fail or see a span twice, and the spans that ``lasting`` is true of, which nobody
    removes, may not become fewer.
    """
    ours, theirs = context.Pipe()
    reader = Reader(context)
    process = context.Process(
        target=_query_until_told, args=(str(path), lasting, reader.counter, theirs)
    )
    process.start()
    try:
        ours.recv()
        yield reader
    finally:
        ours.send("stop")
        reader.problems = ours.recv()
        process.join()


def _query_until_told(
    path: str, lasting: str, counter: Synchronized[int], wire: Connection
) -> None:
    seen, problems = 0, []
    sql = f"""
        SELECT count(*) AS n, count(DISTINCT span_id) AS d, count(*) FILTER ({lasting}) AS lasting
        FROM spans
    """
    lakes = find_lakes(Path(path))
    wire.send("ready")
    connection = connect(Path(path))
    while not wire.poll():
        try:
            if counter.value % 10:
                refresh(connection, lakes)
            else:
                connection = connect(Path(path))
            answer = run_statements(connection, sql)
        except ClearspanError as error:
            problems.append(str(error))
            continue
        row = answer.table.to_pylist()[0] if answer else {}
        counter.value += 1
        if row["n"] != row["d"] or row["lasting"] < seen:
            problems.append(f"{row} after {seen}")
        seen = row["lasting"]
    wire.send(tuple(problems))
