"""The log: one shape for all, and nothing in it of what passes through."""

from __future__ import annotations

import errno
import io
import json
import logging
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from collector.logs import configure_logging
from collector.model.errors import StorageUnavailable
from config.settings import LogsSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

_CANARY = "canary-51c0de"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Give back the process-wide state that configuring takes."""
    root = logging.getLogger()
    handlers, level, hooks = list(root.handlers), root.level, (sys.excepthook, sys.unraisablehook)
    thread_hook, raises = threading.excepthook, logging.raiseExceptions
    # an HTTP listener that another test started here has set it
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn_level = uvicorn.level
    uvicorn.setLevel(logging.NOTSET)
    yield
    uvicorn.setLevel(uvicorn_level)
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, sys.unraisablehook = hooks
    threading.excepthook = thread_hook
    logging.raiseExceptions = raises
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def _configured(**settings: Any) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(LogsSettings(**settings), stream)
    return stream


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _boom() -> None:
    raise ValueError(_CANARY)


def test_own_events_are_json_off_a_terminal() -> None:
    """Scenario: an event with fields. Guarantee: one JSON object, ISO time in UTC, level."""
    stream = _configured()
    structlog.get_logger().info("ready", port=4317)
    (line,) = _lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "ready", "port": 4317, "level": "info"}


def test_a_terminal_gets_text_unless_json_is_asked_for() -> None:
    """Scenario: stderr is a terminal. Guarantee: `auto` is for people, `json` stays JSON."""
    terminal = _Terminal()
    configure_logging(LogsSettings(), terminal)
    structlog.get_logger().info("ready")
    assert "ready" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    terminal = _Terminal()
    configure_logging(LogsSettings(encoding="json"), terminal)
    structlog.get_logger().info("ready")
    assert json.loads(terminal.getvalue())["event"] == "ready"


class _Full(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "injected")

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "injected")


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_log_that_cannot_be_written_fails_nobody(is_closed: bool) -> None:
    """Scenario: stderr is a file on a full disk, a pipe nobody reads, or closed.

    Guarantee: whoever logs, ours or theirs, goes on; the thread that stores spans is one of them.
    """
    stream = _Full()
    configure_logging(LogsSettings(), stream)
    if is_closed:
        stream = _configured()
        stream.close()
    structlog.get_logger().error("lost")
    logging.raiseExceptions = True
    logging.getLogger("uvicorn.error").error("lost")
    for handler in logging.getLogger().handlers:
        handler.flush()


def test_levels() -> None:
    """Scenario: level `warning`. Guarantee: less is not written, ours or theirs."""
    stream = _configured(level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    logging.getLogger("uvicorn.error").info("quiet")
    logging.getLogger("uvicorn.error").warning("told")
    assert [line["event"] for line in _lines(stream)] == ["loud", "told"]


def test_level_error_still_lets_handlers_see_third_party_warnings() -> None:
    """Scenario: redaction watches Presidio's warnings. Guarantee: no level setting blinds it."""
    seen: list[logging.LogRecord] = []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    logger = logging.getLogger("presidio-analyzer")
    watch = Watch()
    logger.addHandler(watch)
    try:
        stream = _configured(level="error")
        logger.warning("Regex timeout for %s", "a pattern")
    finally:
        logger.removeHandler(watch)
    assert len(seen) == 1
    assert _lines(stream) == []


def test_an_exception_of_others_is_type_and_place_only() -> None:
    """Scenario: ValueError with payload in its text. Guarantee: its text is not written."""
    stream = _configured()
    try:
        _boom()
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = _lines(stream)
    assert line["error_type"] == "ValueError"
    module, _, number = line["error_at"].rpartition(":")
    assert module == _boom.__module__
    assert int(number) == _boom.__code__.co_firstlineno + 1
    assert _CANARY not in stream.getvalue()


def test_our_own_errors_keep_their_text() -> None:
    """Scenario: an error of our tree, free of payload by rule. Guarantee: the reason is told."""
    stream = _configured()
    structlog.get_logger().error("refused", exc_info=StorageUnavailable("journal is full"))
    assert _lines(stream)[0]["error"] == "journal is full"


def test_third_party_records_hold_no_data() -> None:
    """Scenario: libraries log payload in every way there is. Guarantee: only templates arrive."""
    stream = _configured()
    logger = logging.getLogger("grpc._server")
    logger.error("Exception calling application: %s", _CANARY)
    logger.error(f"built with {_CANARY}")  # noqa: G004 - what a careless library does
    logger.error("%s", _CANARY)
    logger.error(ValueError(_CANARY))
    logger.error({"text": _CANARY})
    logger.error("bad %d", _CANARY)
    logger.error("stack", stack_info=True)
    try:
        _boom()
    except ValueError:
        logger.exception("while at it")
    warnings.warn(_CANARY, stacklevel=1)
    assert _CANARY not in stream.getvalue()
    told = [line["event"] for line in _lines(stream)]
    assert told[0] == "Exception calling application: %s"
    assert told[1:5] == ["message withheld"] * 4
    assert len(told) == 9


def test_presidios_decision_trace_is_silent() -> None:
    """Scenario: Presidio traces a decision, printing the text. Guarantee: nothing is written."""
    import presidio_analyzer  # noqa: F401, PLC0415 - it gives that logger a handler of its own

    stream = _configured(level="debug")
    logger = logging.getLogger("decision_process")
    logger.error(_CANARY)
    assert stream.getvalue() == ""
    assert logger.handlers == []


@pytest.mark.parametrize("where", ["thread", "main"])
def test_what_nobody_caught(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Scenario: an uncaught exception. Guarantee: logged without its text, not printed."""
    stream = _configured()
    if where == "thread":
        thread = threading.Thread(target=_boom, name="worker")
        hook = threading.excepthook
        thread.start()
        thread.join()
        assert threading.excepthook is hook
    else:
        try:
            _boom()
        except ValueError as error:
            sys.excepthook(type(error), error, error.__traceback__)
    (line,) = _lines(stream)
    assert line["error_type"] == "ValueError"
    assert _CANARY not in stream.getvalue() + capsys.readouterr().err


def test_configuring_again_replaces() -> None:
    """Scenario: configured twice. Guarantee: the last stream gets each event once."""
    first = _configured()
    second = _configured()
    structlog.get_logger().info("once")
    logging.getLogger("uvicorn.error").warning("once")
    assert first.getvalue() == ""
    assert len(_lines(second)) == 2
