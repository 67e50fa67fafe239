"""The redaction stage: a batch in, the same batch without PII and secrets out, or an error.

Read ``columns`` for how a batch is taken apart and put together, ``redactor`` for one string.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from collector.model.errors import ClearspanError, RedactionUnavailable
from collector.model.telemetry import REDACTION_DRY_RUN, REDACTIONS
from processors.redaction.cache import VerdictCache
from processors.redaction.columns import BatchRedaction
from processors.redaction.key_filter import KeyFilter
from processors.redaction.redactor import RedactedText, Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.model.batch import BatchT
    from collector.model.telemetry import Telemetry
    from config.settings import RedactionSettings

NOT_ALLOWED = "NOT_ALLOWED"
"""What stands for an attribute without an allowed key where redactions are counted by entity."""
_WAKE_S: Final = 1.0
_log = structlog.get_logger()


class RedactionProcessor:
    """Redacts every string of a batch; each distinct string is examined once while remembered."""

    def __init__(self, settings: RedactionSettings, telemetry: Telemetry) -> None:
        """Load recognizers and screen (about 0.1 s beside Presidio's import, 0.5 s the first time).

        Raises:
            ConfigError: An entity is not known.
        """
        self._redactor = Redactor(settings)
        self._telemetry = telemetry
        self._cache = VerdictCache(settings.cache_strings)
        self._filter = None if settings.allow_all_keys else KeyFilter(self._allowed(settings))
        self._summary = settings.summary
        self._is_dry = settings.dry_run.enabled
        telemetry.set(REDACTION_DRY_RUN, int(self._is_dry))
        if self._is_dry:
            _log.warning("redaction is on trial: everything is stored as it came")
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        """What stands in ``redaction_version``: changes with rules, settings and HMAC key."""
        return self._redactor.version

    def process(self, batch: BatchT) -> BatchT:
        """Return the batch redacted, with ``redaction_count`` and ``redaction_version`` set.

        The result shares no buffer that holds a value which was cut. The count is the number of
        strings of the row that changed, its resource and scope included.

        Raises:
            RedactionUnavailable: Anything went wrong; nothing of the batch may be stored.
        """
        failure = ""
        received = batch
        try:
            with self._turn():
                if self._filter is not None:
                    allowed, removed = self._filter.apply(batch)
                    self._telemetry.add(REDACTIONS, removed, NOT_ALLOWED)
                    batch = batch if self._is_dry else allowed
                work = BatchRedaction(
                    self._redactor,
                    self._cache,
                    self._telemetry,
                    self._summary,
                    is_dry=self._is_dry,
                )
                return work.run(batch, received)
        except ClearspanError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge where redaction fails closed
            failure = type(error).__name__
        # Raised outside the handler: neither cause nor context can carry a value to a log.
        _log.error("redaction failed", error=failure)
        raise RedactionUnavailable("redaction could not run, so the batch was refused")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for the other signal's batch to be done, waking up now and then.

        Who waits in a lock uses no CPU and counts as stuck, see ``collector.heartbeat``; but what
        is waited for shows its own signs of life.
        """
        while not self._lock.acquire(timeout=_WAKE_S):
            pass
        try:
            yield
        finally:
            self._lock.release()

    def _allowed(self, settings: RedactionSettings) -> Callable[[str], bool]:
        allowed = frozenset(settings.allowed_keys)
        return lambda key: key in allowed or self._redactor.keys.is_ignored(key)

    def redact_text(self, text: str, key: str | None = None) -> RedactedText:
        """Redact one string as the value of attribute ``key``; for ``doctor`` and ``redact``."""
        with self._lock:
            return self._redactor.redact_text(text, key)
