"""A command in a real terminal: what it shows, what is typed to it, what the keys do."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
TAB: Final = "\t"

_ROOT: Final = Path(__file__).parents[2]
_TIMEOUT_S: Final = 30.0
_CURSOR_ASKED: Final = b"\x1b[6n"
# colours, cursor movements, titles and modes
_CONTROL: Final = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>78()][0B]?"
)


class Terminal:
    """Runs ``clearspan ARGUMENTS`` in a terminal of its own, as its session's leader."""

    def __init__(
        self, *arguments: str, columns: int = 100, lines: int = 30, **environ: str
    ) -> None:
        """Start it."""
        command = [sys.executable, "-m", "collector.cli", *arguments]
        env = {"TERM": "xterm", "PYTHONPATH": str(_ROOT), **environ}
        self._pid, self._master = pty.fork()
        if self._pid == 0:  # pragma: no cover - the child, which becomes the command
            os.execve(sys.executable, command, os.environ | env)  # noqa: S606 - our own command
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        self._raw = b""
        self._read_to = 0
        self.status: int | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the command where it still runs."""
        if self.status is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._master)

    @property
    def screen(self) -> str:
        """All that was written so far, without control sequences."""
        return _CONTROL.sub(b"", self._raw).decode(errors="replace").replace("\r\n", "\n")

    @property
    def raw(self) -> bytes:
        """All that was written so far."""
        return self._raw

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def wait_for(self, text: str, timeout_s: float = _TIMEOUT_S) -> str:
        """Return what was written since the last call, up to this text."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.screen.find(text, self._read_to)
            if found >= 0:
                start, self._read_to = self._read_to, found + len(text)
                return self.screen[start : self._read_to]
            if not self._read(deadline):
                raise AssertionError(f"no {text!r} in {self.screen[self._read_to :]!r}")

    def wait(self, timeout_s: float = _TIMEOUT_S) -> int:
        """Return the exit code once it ended."""
        deadline = time.monotonic() + timeout_s
        while self._read(deadline):
            pass
        _, status = os.waitpid(self._pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def _read(self, deadline: float) -> bool:
        """Take what is there or comes before the deadline; False when nothing more comes."""
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            chunk = os.read(self._master, 65_536)
        except OSError:  # Linux says EIO when the other end is closed
            return False
        self._raw += chunk
        if _CURSOR_ASKED in chunk:  # as a terminal does; prompt_toolkit asks where the cursor is
            os.write(self._master, b"\x1b[1;1R")
        return bool(chunk)
