"""The strings of several surfaces as positions in one dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from processors.redaction.surfaces import Leaf
    from processors.redaction.verdict import Found, Verdict


class Encoded:
    """The strings of several leaves as positions in one dictionary, and their replacements."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        """Encode; ``codes`` has the positions of all leaves, one behind the other, -1 is null."""
        chunks = pa.chunked_array([leaf.array for leaf in leaves], pa.string())
        encoded = chunks.dictionary_encode().chunks
        self.leaves = leaves
        self.dictionary: pa.Array = encoded[-1].dictionary if encoded else pa.array([], pa.string())
        self.unseen = len(self.dictionary)
        codes = [_codes(chunk.indices) for chunk in encoded]
        self.codes = np.concatenate(codes) if codes else np.empty(0, np.int32)
        self.starts = np.cumsum([0, *(len(leaf.array) for leaf in leaves)])
        self._places = {
            leaf.path: slice(start, end)
            for leaf, start, end in zip(leaves, self.starts, self.starts[1:], strict=False)
        }
        self.strings: list[str] = self.dictionary.to_numpy(zero_copy_only=False).tolist()
        self.added: list[str] = []
        self.found: list[tuple[Found, ...]] = []
        self.kept: list[int] = []

    @property
    def size(self) -> int:
        """How many strings have a place, replacements included."""
        return self.unseen + len(self.added)

    def place(self, leaf: Leaf) -> slice:
        """Return which of the codes are the leaf's."""
        return self._places[leaf.path]

    def text(self, code: int) -> str:
        """Return the string or replacement at a place."""
        return self.strings[code] if code < self.unseen else self.added[code - self.unseen]

    def add(self, text: str) -> int:
        """Give a text its place behind the dictionary and return that."""
        self.added.append(text)
        return self.size - 1

    def judged(self, verdict: Verdict) -> int:
        """Give what is written for a judged string its place, also if that is the string itself."""
        self.found.append(verdict.found)
        place = self.add(verdict.text)
        if not verdict.is_cut:
            self.kept.append(place)
        return place

    def rebuilt(self, changed: NDArray[np.bool_]) -> dict[tuple[str, ...], pa.Array]:
        """Return new arrays, by path, for the leaves in which a position changed."""
        # null is the last of the dictionary, so that codes need no mask
        dictionary = pa.concat_arrays([self.dictionary, pa.array([*self.added, None], pa.string())])
        null = len(dictionary) - 1
        arrays = {}
        for leaf in self.leaves:
            place = self.place(leaf)
            if changed[place].any():
                codes = self.codes[place]
                codes = np.where(codes < 0, np.int32(null), codes)
                arrays[leaf.path] = dictionary.take(int32_array(codes))
        return arrays


def int32_array(values: NDArray[np.int32]) -> pa.Array:
    """Wrap without a copy (``pa.array`` looks for pandas each time: 0.15 ms where it is absent)."""
    return pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(values)])


def _codes(indices: pa.Array) -> NDArray[np.int32]:
    filled = indices.fill_null(-1) if indices.null_count else indices
    codes: NDArray[np.int32] = filled.to_numpy()
    return codes
