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

from storage.query_sandbox import confine_process, limit_growth

if TYPE_CHECKING:
    from typing import BinaryIO

# DuckDB counts what its operators hold; results, JSON and Arrow come on top
_GROWTH: Final = 2


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
    limit_growth(_GROWTH * limits["memory_limit"])
    threading.Thread(target=_read, args=(questions,), daemon=True).start()
    _say(answers, {"ready": True})
    while True:
        question = json.loads(questions.get())
        try:
            body = session.answer(question["sql"], question["format"])
        except QueryError as error:
            _say(answers, describe(error) | {"is_spent": session.is_spent})
        else:
            _say(answers, {"bytes": len(body)}, body)
        if session.is_spent:
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
