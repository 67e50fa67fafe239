"""Files that left the manifest, kept until no query that began before can still read them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from storage import environment as env

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from storage.environment import Environment
    from storage.manifest import Manifest


class ReplacedFiles:
    """Unlinks each file ``grace_s`` after it was replaced; one thread at a time.

    Nothing of this is on disk: after a restart every file that is not in the manifest begins its
    grace anew, which is never too short.
    """

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        grace_s: float,
        environment: Environment,
    ) -> None:
        """Start with nothing to unlink."""
        self._directory = directory
        self._manifest = manifest
        self._grace_s = grace_s
        self._environment = environment
        self._due: dict[str, float] = {}
        self._returning: set[str] = set()

    def add(self, paths: Iterable[str], *, is_durable: bool) -> None:
        """Let the grace of these files (relative to the lake) begin when no power loss undoes it.

        That is now, if the commit they left by ``is_durable``; else at the next one that is:
        meanwhile a power loss would bring the old manifest back, and them with it.
        """
        self._returning.update(paths)
        if is_durable:
            due = self._environment.monotonic() + self._grace_s
            self._due.update(dict.fromkeys(self._returning, due))
            self._returning.clear()

    def hurry(self, paths: Iterable[str]) -> None:
        """Let the grace of these files be over."""
        now = self._environment.monotonic()
        self._due.update({path: now for path in paths if path in self._due})

    @property
    def wait_s(self) -> float:
        """Return how long it is until the grace of all of them is over."""
        now = self._environment.monotonic()
        return max((due - now for due in self._due.values()), default=0.0)

    @property
    def waiting(self) -> list[str]:
        """The files that are still there."""
        return [*self._due, *self._returning]

    def unlink_due(self) -> None:
        """Unlink the files whose grace is over, and hours that became empty.

        The manifest is written once more where files only wait for one that is durable.
        """
        if self._returning:
            with contextlib.suppress(OSError):
                self.add((), is_durable=self._manifest.commit())
        now = self._environment.monotonic()
        over = [path for path, due in self._due.items() if due <= now]
        for path in over:
            file = self._directory / path
            with contextlib.suppress(OSError):  # tried again next time, or at the next start
                file.unlink(missing_ok=True)
                del self._due[path]
            # under the lock, or a commit could find its directory gone
            with self._manifest.lock, contextlib.suppress(OSError):
                file.parent.rmdir()
                file.parent.parent.rmdir()
        if over:
            self._environment.reached(env.REPLACED_UNLINKED)
