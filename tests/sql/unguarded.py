"""A query process without its guard: runs the statements on stdin as they are, tells what came."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from storage.query_sandbox import confine_process, forbid_writing

if TYPE_CHECKING:
    from storage.query_session import QuerySession


def main() -> None:
    """Confine the process as a query process is, run, print one JSON object."""
    confine_process()
    applied = forbid_writing()
    from storage.query_session import QuerySession  # noqa: PLC0415 - as in the query process

    session = QuerySession(
        data=sys.argv[1],
        memory_limit=64 * 2**20,
        threads=1,
        timeout=3,
        max_result_rows=1000,
        max_result_bytes=2**20,
    )
    answers = [_run(session, sql) for sql in json.load(sys.stdin)]
    json.dump({"landlock": applied, "answers": answers}, sys.stdout)


def _run(session: QuerySession, sql: str) -> str:
    with suppress(Exception):
        session._connection.rollback()  # a failed BEGIN would be the end of all that follow
    try:
        relation = session._connection.sql(sql)
        return "[]" if relation is None else str(relation.to_arrow_table().to_pylist())
    except Exception as error:  # noqa: BLE001 - whatever it is, is told
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
