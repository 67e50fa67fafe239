"""The bodies of log records: values without a key, but with a type, and content in GenAI events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow.compute as pc

from collector.model.log_schema import BODY, BODY_TYPE, EVENT_NAME
from processors.redaction.keys import SCAN

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from collector.model.batch import Batch
    from processors.redaction.encoded import Encoded
    from processors.redaction.keys import KeyClass, KeyClassifier

# Events of OpenTelemetry's GenAI conventions: their bodies are prompts and answers.
_GEN_AI: Final = "gen_ai."


@dataclass(frozen=True, slots=True)
class Body:
    """Where the bodies of a batch stand on the value side, and what is known of them."""

    start: int
    types: pa.StringArray
    event_names: pa.StringArray

    @staticmethod
    def of(batch: Batch, value_side: Encoded) -> Body | None:
        """Return the batch's bodies, None if it has none."""
        if batch.schema.get_field_index(BODY) < 0:
            return None
        for leaf in value_side.leaves:
            if leaf.path == (BODY,):
                start = value_side.place(leaf).start
                return Body(start, batch.column(BODY_TYPE), batch.column(EVENT_NAME))
        return None

    def tagged(self, tags: pa.StringArray) -> NDArray[np.int64] | None:
        """Return the positions of bodies with one of these types, None if there are none."""
        places = np.flatnonzero(pc.is_in(self.types, tags).to_numpy(zero_copy_only=False))
        return places + self.start if len(places) else None

    def classes(self, keys: KeyClassifier) -> Iterator[tuple[KeyClass, NDArray[np.int64]]]:
        """Yield the classes that bodies are judged under, each with its positions."""
        if keys.body is SCAN and keys.gen_ai_body is SCAN:
            return
        found = pc.starts_with(self.event_names, _GEN_AI).fill_null(False)
        is_gen_ai = found.to_numpy(zero_copy_only=False)
        for key_class, chosen in ((keys.body, ~is_gen_ai), (keys.gen_ai_body, is_gen_ai)):
            if key_class is not SCAN and chosen.any():
                yield key_class, np.flatnonzero(chosen) + self.start
