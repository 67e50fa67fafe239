"""A process that runs remote queries: a question a line comes in, an answer goes out.

Started by ``query_processes``; ends when its input does, even in the middle of a query, so it never
outlives the sidecar. An answer is a line of JSON and, where that has ``bytes``, as many bytes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from storage.query_sandbox import confine_process, data_bytes, limit_data

if TYPE_CHECKING:
    from typing import BinaryIO

# Stacks of threads and the like, which are reserved rather than used: 100 MiB were seen.
_RESERVED_BYTES: Final = 128 * 2**20


def main() -> None:
    """Confine the process, open the lake, say so, and answer until the input ends."""
    confine_process()
    # libraries that print must not print into the answers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    limits = json.loads(sys.stdin.readline())
    questions: SimpleQueue[str] = SimpleQueue()

    # Heavy imports begin threads, which are confined only when they are made afterwards.
    from collector.model.errors import QueryError  # noqa: PLC0415
    from storage.query_session import QuerySession, describe  # noqa: PLC0415

    try:
        session = QuerySession(**limits)
    except QueryError as error:
        _say(answers, describe(error))
        return
    # DuckDB counts what its operators hold; results, JSON and Arrow come on top. A process that
    # keeps what a query left makes room for a new one before the next query lacks it.
    well_grown = data_bytes() + _RESERVED_BYTES + limits["memory_limit"]
    limit_data(well_grown + limits["memory_limit"])
    threading.Thread(target=_read, args=(questions,), daemon=True).start()
    _say(answers, {"ready": True})
    while True:
        question = json.loads(questions.get())
        body = b""
        try:
            body = session.answer(question["sql"], question["format"])
            head: dict[str, Any] = {"bytes": len(body)}
        except QueryError as error:
            head = describe(error)
        is_spent = session.is_spent or data_bytes() > well_grown
        _say(answers, head | {"is_spent": is_spent}, body)
        if is_spent:
            return


def _read(questions: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        questions.put(line)
    os._exit(0)


def _say(answers: BinaryIO, answer: dict[str, Any], body: bytes = b"") -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.write(body)
    answers.flush()


if __name__ == "__main__":
    main()
