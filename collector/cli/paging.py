"""Long tables through the user's pager."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from typing import Final

# As git sets it: leave at once where it fits on one screen, cut long lines, leave the screen as it
# was. A user's own LESS is kept.
_LESS: Final = "FRSX"


def pager() -> list[str] | None:
    """Return the command of ``$PAGER``, else ``less`` where there is one; None: do not page."""
    wanted = os.environ.get("PAGER")
    if wanted is None:
        return ["less"] if shutil.which("less") else None
    try:
        command = shlex.split(wanted)
    except ValueError:  # a quote without its other
        return None
    return command if command and command != ["cat"] and shutil.which(command[0]) else None


def page(text: str, command: list[str]) -> None:
    """Show the text in a pager and return when the user leaves it."""
    process = subprocess.Popen(  # noqa: S603 - the user's own pager
        command, stdin=subprocess.PIPE, env={"LESS": _LESS, **os.environ}
    )
    # the pager may be left before it has read everything
    with contextlib.suppress(BrokenPipeError):
        process.communicate(text.encode())
    while process.poll() is None:
        # Ctrl-C is the pager's own key
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
