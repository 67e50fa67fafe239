"""What samplers share: an empty answer, and the reasons that are no policy's name."""

from __future__ import annotations

from typing import Final

from collector.model.batch import SpanBatch

NOTHING: Final = SpanBatch.empty()
KEPT_ALL: Final = "keep_all"
NOT_SAMPLED: Final = "not_sampled"
LATE: Final = "late"
