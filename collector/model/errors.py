"""The one error tree: permanent or retryable is decided where the cause is known.

No message in this tree ever contains a payload value; it may name a field, a limit or a path.
"""

from __future__ import annotations


class ClearspanError(Exception):
    """Root of every error that crosses a module border."""


class ConfigError(ClearspanError):
    """The configuration cannot be used; the process exits with code 2 and this message."""


class StartupError(ClearspanError):
    """A resource needed at start is not to be had (port, directory); exit code 2."""


class DirectoryInUse(StartupError):
    """Another process writes to the data directory; ``pid`` is 0 when it did not say which."""

    def __init__(self, message: str, pid: int) -> None:
        """Keep the message and who holds the directory."""
        super().__init__(message)
        self.pid = pid


class QueryError(ClearspanError):
    """A query cannot be answered: wrong SQL or no lake. The text is for whoever wrote the query."""


class QueryRefused(QueryError):
    """The SQL names what is not allowed in a remote query; the text says what."""


class QueryOverLimit(QueryError):
    """The query needs more memory, or its answer more rows or bytes, than are allowed."""


class QueryTimeout(QueryError):
    """The query did not end in the time it is given."""


class QueryAborted(QueryError):
    """The process that ran the query ended before it had answered."""


class QueryUnavailable(QueryError):
    """No process can be started to run queries in, or the lake cannot be read."""


class UpkeepFailed(ClearspanError):
    """A lake cannot be copied or repaired as asked: damaged, full or unreadable; exit code 1."""


class PermanentError(ClearspanError):
    """Sending the same bytes again cannot help: gRPC INVALID_ARGUMENT, HTTP 400."""


class InvalidPayload(PermanentError):
    """The bytes are not the message they claim to be."""


class PayloadTooLarge(PermanentError):
    """A size or count limit is exceeded: gRPC RESOURCE_EXHAUSTED, HTTP 413."""


class RetryableError(ClearspanError):
    """Sending again later can help: carries how long to wait, in seconds."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        """Keep the message and the delay, in seconds, that the sender is told to wait."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(RetryableError):
    """Admission limits are reached: gRPC RESOURCE_EXHAUSTED + RetryInfo, HTTP 429."""


class StorageUnavailable(RetryableError):
    """The journal or lake cannot take data now: gRPC UNAVAILABLE + RetryInfo, HTTP 503."""


class RedactionUnavailable(RetryableError):
    """Redaction could not run, so the batch is refused: gRPC UNAVAILABLE, HTTP 503."""


class ShuttingDown(RetryableError):
    """The process is draining: gRPC UNAVAILABLE + RetryInfo, HTTP 503."""
