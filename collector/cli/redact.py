"""``clearspan redact``: what redaction does to text, JSON lines or OTLP, without a sidecar."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from collector.cli.redact_otlp import is_otlp, redact_otlp
from collector.logs import configure_logging
from collector.metrics.telemetry import PrometheusTelemetry
from config.loader import load_settings
from processors.redaction import RedactionProcessor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from processors.redaction import RedactedText

_ENCODING: Final = ("utf-8", "surrogateescape")  # what is no UTF-8 goes through as it is


class Redacting:
    """One call of the verb: the redaction in effect and where its answers go."""

    def __init__(
        self, files: Sequence[Path], overrides: Sequence[str], environ: Mapping[str, str]
    ) -> None:
        """Load the configuration and the recognizers; raises ConfigError."""
        settings = load_settings(files, overrides, environ)
        configure_logging(settings.service.telemetry.logs)
        self._processor = RedactionProcessor(settings.processors.redaction, PrometheusTelemetry())
        self._console = Console(highlight=False, soft_wrap=True)
        self._shows = self._console.is_terminal
        self._found = 0
        self.is_ok = True

    def json_lines(self, data: bytes) -> None:
        """Answer each line ``{"text", "key"}`` with its findings; name the lines that are none."""
        for number, line in enumerate(data.splitlines(), 1):
            if not line.strip():
                continue
            asked = _asked(line)
            if asked is None:
                self.complain(f'line {number}: is no {{"text": string, "key": string}}')
                continue
            self._out(json.dumps(_answer(*asked, self._processor.redact_text(*asked))))

    def text(self, data: bytes, key: str | None, *, whole: bool) -> None:
        """Redact line by line (or all as one text): findings on a terminal, else the result."""
        text = data.decode(*_ENCODING)
        for number, line in enumerate([text] if whole else text.splitlines(), 1):
            done = self._processor.redact_text(line, key)
            if self._shows:
                self._explain(number, line, done)
            else:
                self._out(done.text, end="" if whole else "\n")
            self._found += len(done.findings)

    def otlp(self, data: bytes) -> None:
        """Redact an OTLP/JSON request as the sidecar would; raises PermanentError."""
        result, changes = redact_otlp(data, self._processor)
        if self._shows:
            for change in changes:
                where = f"{change.path} {change.key}" if change.key else change.path
                self._console.print(Text(where, "bold"))
                self._explain(
                    0, change.before, self._processor.redact_text(change.before, change.key)
                )
        else:
            self._out(result)
        self._found += len(changes)

    def finish(self) -> None:
        """Say how much was found, to whoever watches."""
        sys.stdout.flush()
        if self._shows:
            self._console.print(f"{self._found} found", style="bold")

    def _explain(self, number: int, text: str, done: RedactedText) -> None:
        shown = Text(f"{number}: " if number else "  ")
        begin = len(shown)
        shown.append(_printable(text))
        for found in done.findings:
            shown.stylize("bold red", begin + found.start, begin + found.end)
        self._console.print(shown)
        if done.text == text:
            return
        self._console.print(Text(f"  -> {_printable(done.text)}", "green"))
        for found in done.findings:
            self._console.print(
                f"     {found.entity}  {found.start}-{found.end}  score {found.score:.2f}"
                f"  rule {found.rule}",
                markup=False,
                style="dim",
            )

    def complain(self, what: str) -> None:
        """Say on stderr what could not be read; the rest goes on."""
        self.is_ok = False
        sys.stdout.flush()
        sys.stderr.write(f"clearspan: {what}\n")

    def _out(self, text: str, end: str = "\n") -> None:
        sys.stdout.buffer.write((text + end).encode(*_ENCODING))


def redact(  # noqa: PLR0913 - the verb's options
    inputs: Sequence[Path],
    files: Sequence[Path],
    overrides: Sequence[str],
    environ: Mapping[str, str],
    *,
    key: str | None,
    whole: bool,
    as_json: bool,
) -> bool:
    """Redact files (stdin if there are none); return whether all of it could be read.

    Raises:
        ConfigError: The configuration is wrong.
        PermanentError: OTLP/JSON that is no request.
    """
    work = Redacting(files, overrides, environ)
    for data in _read(inputs, work):
        if as_json:
            work.json_lines(data)
        elif is_otlp(data):
            work.otlp(data)
        else:
            work.text(data, key, whole=whole)
    work.finish()
    return work.is_ok


def _read(inputs: Sequence[Path], work: Redacting) -> Iterator[bytes]:
    if not inputs:
        yield sys.stdin.buffer.read()
    for path in inputs:
        try:
            data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        except OSError as error:
            work.complain(f"{path} cannot be read: {error.strerror}")
            continue
        yield data


def _asked(line: bytes) -> tuple[str, str | None] | None:
    try:
        asked: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict) or not isinstance(asked.get("text"), str):
        return None
    key = asked.get("key")
    return (asked["text"], key) if key is None or isinstance(key, str) else None


def _answer(text: str, _key: str | None, done: RedactedText) -> dict[str, Any]:
    return {
        "text": text,
        "redacted": done.text,
        "findings": [
            {
                "entity": found.entity,
                "start": found.start,
                "end": found.end,
                "score": found.score,
                "rule": found.rule,
            }
            for found in done.findings
        ],
    }


def _printable(text: str) -> str:
    """Return the text as one line of as many characters, without what a terminal obeys."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
