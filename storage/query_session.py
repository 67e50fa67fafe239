"""The lake as a query process sees it: DuckDB locked down, every query guarded and cut off in size.

DuckDB's part of the confinement, as measured with 2.0: with no directory for temporary files (it
could be read and written) ``allowed_directories`` leaves nothing but the lake. That it lets COPY
write there is for ``query_sandbox`` to forbid. ``max_execution_time`` ends most queries, but not
one long call of a function (``repeat('x', 2000000000)`` takes 30 s), which the sidecar kills.
"""

from __future__ import annotations

import glob
import io
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa

from collector.model.errors import QueryError, QueryOverLimit, QueryTimeout, QueryUnavailable
from storage.sql import connect, from_newest_files, refresh
from storage.sql_files import quote
from storage.sql_guard import guarded_statement
from storage.sql_lakes import find_lakes, log_lake_of
from storage.sql_output import Result
from storage.sql_types import without_loss

if TYPE_CHECKING:
    from storage.sql_output import Format

_BATCH_ROWS: Final = 2_048
# DuckDB's messages quote values, and a value may be as large as the memory allows.
_MESSAGE_CHARS: Final = 4_096
# How DuckDB's messages begin, whichever exception they come in
_NO_MEMORY: Final = "Out of Memory Error"
_INTERRUPTED: Final = "INTERRUPT Error"


class QuerySession:
    """One connection of a query process."""

    def __init__(  # noqa: PLR0913 - what the settings say, as it came over the pipe
        self,
        *,
        data: str,
        memory_limit: int,
        threads: int,
        timeout: float,
        max_result_rows: int,
        max_result_bytes: int,
    ) -> None:
        """Open the lake of a data directory; sizes in bytes, the timeout in seconds.

        Raises QueryError when it cannot be read.
        """
        self._lakes = find_lakes(data)
        places = (*self._lakes, *filter(None, map(log_lake_of, self._lakes)))
        # a name with [ * ? is also a pattern to DuckDB, and escaped where it is read
        self._places = tuple(dict.fromkeys((*places, *map(glob.escape, places))))
        self._most_rows = max_result_rows
        self._most_bytes = max_result_bytes
        self._timeout_s = timeout
        self.is_spent = False
        self._connection = from_newest_files(lambda: connect(data, spills=False, is_session=True))
        for statement in (
            "SET python_enable_replacements = false",
            f"SET memory_limit = '{memory_limit} bytes'",
            f"SET threads = {threads}",
            f"SET max_execution_time = {max(1, round(timeout * 1000))}",
            f"SET allowed_directories = [{', '.join(quote(f'{one}/') for one in self._places)}]",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            self._connection.execute(statement)

    def answer(self, sql: str, form: Format) -> bytes:
        """Return all rows of a guarded query in a format.

        Raises QueryError; ``is_spent`` says afterwards that memory ran out and this process should
        not go on.
        """
        try:
            return from_newest_files(lambda: self._answer(sql, form))
        except (duckdb.Error, pa.ArrowException, OSError, MemoryError) as error:
            raise self._told(error) from error
        except QueryError as error:
            cause = error.__cause__
            if isinstance(cause, (duckdb.OutOfMemoryException, MemoryError)):
                raise self._told(cause) from error
            raise type(error)(self._without_paths(str(error))) from error

    def _told(self, error: Exception) -> QueryError:
        """Return what the client is told; an error amid the rows reaches Python as an OSError."""
        text = str(error)
        if isinstance(error, MemoryError) or text.startswith(_NO_MEMORY):
            self.is_spent = True
            return QueryOverLimit(
                "the query needs more memory than extensions.sql.memory_limit allows"
            )
        if text.startswith(_INTERRUPTED):
            return QueryTimeout(
                f"the query took longer than {self._timeout_s:g} s (extensions.sql.timeout)"
            )
        return QueryError(self._without_paths(text))

    def _answer(self, sql: str, form: Format) -> bytes:
        statement = guarded_statement(self._connection, sql)
        try:
            refresh(self._connection, self._lakes)
        except QueryError as error:  # nothing is wrong with the query
            raise QueryUnavailable(str(error)) from error.__cause__
        output = _Bounded(self._most_bytes)
        # sql() rather than execute(), which holds all rows before the first is there
        reader = without_loss(self._connection.sql(statement)).to_arrow_reader(_BATCH_ROWS)
        try:
            rows = self._rows(reader)
        finally:
            reader.close()  # one that was not read to its end would keep the connection
        Result.of(rows).write(output, form)
        return output.getvalue()

    def _rows(self, reader: pa.RecordBatchReader) -> pa.Table:
        batches: list[pa.RecordBatch] = []
        rows = size_bytes = 0
        for batch in reader:  # batches, as DuckDB produces them
            rows += batch.num_rows
            size_bytes += batch.nbytes
            if rows > self._most_rows:
                raise QueryOverLimit(
                    f"the result has more than {self._most_rows:,} rows "
                    "(extensions.sql.max_result_rows): aggregate, or add a LIMIT"
                )
            if size_bytes > self._most_bytes:
                raise too_many_bytes(self._most_bytes)
            batches.append(batch)
        return pa.Table.from_batches(batches, reader.schema)

    def _without_paths(self, message: str) -> str:
        """Return DuckDB's words without where on this machine the lake is."""
        for lake in self._places:
            message = message.replace(f"{lake}/", "").replace(lake, "the lake")
        return message


class _Bounded(io.BytesIO):
    """Bytes in memory, up to a limit."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    def write(self, content: Any) -> int:
        if self.tell() + len(memoryview(content)) > self._most_bytes:
            raise too_many_bytes(self._most_bytes)
        return super().write(content)


def too_many_bytes(most_bytes: int) -> QueryOverLimit:
    """Return the error that names the limit."""
    return QueryOverLimit(
        f"the result has more than {most_bytes:,} bytes (extensions.sql.max_result_bytes): select "
        "fewer columns, aggregate, or add a LIMIT"
    )


def describe(error: QueryError) -> dict[str, str]:
    """Return an error as it goes over the pipe; a long message is cut and says so."""
    message = str(error)
    if len(message) > _MESSAGE_CHARS:
        message = f"{message[:_MESSAGE_CHARS]}… (cut; it has {len(message):,} characters)"
    return {"error": type(error).__name__, "message": message}
