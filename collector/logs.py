"""clearspan's own log: structured, on stderr, and never with a piece of what passes through.

Our own events are fixed messages with fields. What other libraries log is not trusted: their
message may be built from data and their exceptions quote it, so of a third party's record only
the template, and of an exception only type and place, are written.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import structlog

from collector.model.errors import ClearspanError

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType

    from structlog.typing import Processor

    from config.settings import LogsSettings

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_WITHHELD: Final = "message withheld"
# Presidio's trace of its decisions prints the text it analysed, at any level and by a handler of
# its own (presidio_analyzer/__init__.py).
_SILENCED: Final = ("decision_process",)
# Loggers whose messages without arguments are literals in their source, checked for uvicorn 0.54.
_LITERAL: Final = frozenset({"uvicorn.error"})


def configure_logging(settings: LogsSettings, stream: TextIO | None = None) -> None:
    """Send everything that is logged to ``stream`` (stderr), third parties' from WARNING up.

    Also takes over what Python prints of exceptions nobody caught, since it prints their text.
    May be called again; the last call holds.
    """
    out = cast("TextIO", _Unfailing(stream or sys.stderr))
    renderer = _renderer(settings, out)
    structlog.configure(
        processors=[*_shared(), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_third_party, *_shared()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            use_get_message=False,
            pass_foreign_args=True,
        ),
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    handler.setLevel(_LEVELS[settings.level])
    # not higher: redaction watches Presidio's warnings to fail closed when a pattern timed out
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # else a failing format prints the record's arguments
    for name in _SILENCED:
        _silence(logging.getLogger(name))
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def place(error: BaseException) -> str:
    """Return ``module:line`` of where an exception was raised."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return "unknown"
    frame, line = frames[-1]
    return f"{frame.f_globals.get('__name__', 'unknown')}:{line}"


class _Unfailing(io.TextIOBase):
    """A stream that loses what it cannot write: on a full disk, or when nobody reads it any more.

    What logs is on its way out of a failure already: an error of the log's own would end a worker
    thread, or have rows stored twice.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # ValueError: it was closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


def _renderer(settings: LogsSettings, out: TextIO) -> Processor:
    console = settings.encoding == "console" or (settings.encoding == "auto" and out.isatty())
    if console:
        return structlog.dev.ConsoleRenderer(colors=out.isatty())
    return structlog.processors.JSONRenderer()


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_exception_text,
    ]


def _without_exception_text(
    _logger: Any,
    _method: str,
    event: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    """Put type and place in the stead of an exception; our own errors hold no payload."""
    error = event.pop("exc_info", None)
    event.pop("stack_info", None)
    if error is True:
        error = sys.exception()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error_type"] = type(error).__name__
        event["error_at"] = place(error)
        if isinstance(error, ClearspanError):
            event["error"] = str(error)
    return event


def _third_party(
    _logger: Any,
    _method: str,
    event: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    """Reduce another library's record to what cannot hold data: the template and the place."""
    record: logging.LogRecord = event["_record"]
    event["logger"] = record.name
    event["at"] = f"{record.module}:{record.lineno}"
    if isinstance(record.msg, BaseException):
        event["exc_info"] = record.msg
    template = isinstance(record.msg, str) and record.msg != "%s"
    arguments = event.pop("positional_args", None)
    told = template and (arguments or record.name in _LITERAL)
    event["event"] = record.msg.strip() if told else _WITHHELD
    return event


def _silence(logger: logging.Logger) -> None:
    logger.disabled = True
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)


def _uncaught(
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().error("uncaught exception", exc_info=error.with_traceback(trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "unknown"
    error = args.exc_value
    structlog.get_logger().error("thread ended by an exception", thread=name, exc_info=error)


def _unraisable(args: Any) -> None:
    error = args.exc_value
    structlog.get_logger().error("exception that cannot be raised", exc_info=error)
