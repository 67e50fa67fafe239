"""The bodies of log records: values without a key, but with a type, and content in GenAI events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.log_schema import BODY, BODY_TYPE, EVENT_NAME
from processors.redaction.keys import SCAN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from collector.model.batch import Batch
    from processors.redaction.encoded import Encoded
    from processors.redaction.keys import KeyClass, KeyClassifier

# Events of OpenTelemetry's GenAI conventions: their bodies are prompts and answers.
_GEN_AI: Final = "gen_ai."
# The attribute that told an event's name before log records had a field for it.
_NAME_KEY: Final = "event.name"


@dataclass(frozen=True, slots=True)
class Body:
    """Where the bodies of a batch stand on the value side, and what is known of them."""

    start: int
    types: pa.StringArray
    event_names: pa.StringArray
    attributes: pa.MapArray

    @staticmethod
    def of(batch: Batch, value_side: Encoded, received: Batch) -> Body | None:
        """Return the batch's bodies, None if it has none.

        ``received`` is the batch with all attributes: one that goes may name the event.
        """
        if batch.schema.get_field_index(BODY) < 0:
            return None
        for leaf in value_side.leaves:
            if leaf.path == (BODY,):
                start = value_side.place(leaf).start
                named_by = map(received.column, (EVENT_NAME, s.ATTRIBUTES))
                return Body(start, batch.column(BODY_TYPE), *named_by)
        return None

    def tagged(self, tags: pa.StringArray) -> NDArray[np.int64] | None:
        """Return the positions of bodies with one of these types, None if there are none."""
        places = np.flatnonzero(pc.is_in(self.types, tags).to_numpy(zero_copy_only=False))
        return places + self.start if len(places) else None

    def classes(self, keys: KeyClassifier) -> Iterator[tuple[KeyClass, NDArray[np.int64]]]:
        """Yield the classes that bodies are judged under, each with its positions."""
        if keys.body is SCAN and keys.gen_ai_body is SCAN:
            return
        is_gen_ai = _is_gen_ai(self.event_names)
        is_gen_ai[self._rows_with_event_names()] = True
        for key_class, chosen in ((keys.body, ~is_gen_ai), (keys.gen_ai_body, is_gen_ai)):
            if key_class is not SCAN and chosen.any():
                yield key_class, np.flatnonzero(chosen) + self.start

    def _rows_with_event_names(self) -> NDArray[np.int64]:
        """Return the rows in whose attributes a GenAI event is named."""
        offsets = self.attributes.offsets.to_numpy()
        first, last = int(offsets[0]), int(offsets[-1])
        is_name = pc.equal(self.attributes.keys.slice(first, last - first), _NAME_KEY)
        values = self.attributes.items.slice(first, last - first)
        places = np.flatnonzero(is_name.to_numpy(zero_copy_only=False) & _is_gen_ai(values))
        return np.searchsorted(offsets, places + first, side="right") - 1


def _is_gen_ai(names: pa.StringArray) -> NDArray[np.bool_]:
    found = pc.starts_with(names, _GEN_AI).fill_null(False)
    told: NDArray[np.bool_] = found.to_numpy(zero_copy_only=False)
    return told.copy()


def with_allowed_keys(
    batch: Batch, is_allowed: Callable[[str], bool]
) -> tuple[pa.StringArray, int] | None:
    """Return bodies without entries of maps whose keys are not allowed, and how many went.

    None when none did. The loop is over distinct maps.
    """
    if batch.schema.get_field_index(BODY) < 0:
        return None
    texts, types = batch.column(BODY), batch.column(BODY_TYPE)
    total = 0
    for tag, filtered in _MAPS:
        is_map = pc.equal(types, tag)
        maps = pc.if_else(is_map, texts, pa.scalar(None, pa.string())).dictionary_encode()
        kept = [_without(text, filtered, is_allowed) for text in maps.dictionary.to_pylist()]
        gone = pa.array([count for _, count in kept], pa.int64()).take(maps.indices)
        total += pc.sum(gone).as_py() or 0
        rewritten = pa.array([text for text, _ in kept], pa.string()).take(maps.indices)
        texts = pc.if_else(pc.greater(gone, 0).fill_null(False), rewritten, texts)
    return (texts, total) if total else None


def _without(
    text: str,
    filtered: Callable[[Any, Callable[[str], bool]], tuple[Any, int]],
    is_allowed: Callable[[str], bool],
) -> tuple[str, int]:
    """Filter a map's text; one that is no map was put in place of one by an earlier redaction."""
    try:
        kept, gone = filtered(json.loads(text), is_allowed)
    except json.JSONDecodeError:
        return text, 0
    return json.dumps(kept, ensure_ascii=False), gone


def _filtered_map(value: Any, is_allowed: Callable[[str], bool]) -> tuple[Any, int]:
    kept = {key: item for key, item in value.items() if is_allowed(key)}
    return kept, len(value) - len(kept)


def _filtered_typed(value: Any, is_allowed: Callable[[str], bool]) -> tuple[Any, int]:
    """Filter OTLP/JSON, in which a list may stand as well as a map."""
    if "kvlistValue" not in value:
        return value, 0
    pairs = value["kvlistValue"]["values"]
    kept = [pair for pair in pairs if is_allowed(pair["key"])]
    return {"kvlistValue": {"values": kept}}, len(pairs) - len(kept)


# as ``otlp.values`` writes them
_MAPS: Final = (("kvlist", _filtered_map), ("otlp", _filtered_typed))
