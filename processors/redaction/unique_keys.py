"""Keeps the keys of a map apart: those an app gave twice, and those redaction made the same.

DuckDB refuses a whole result when one map in it has a key twice, so one such span would make all
others unreadable. Nothing is thrown away: the second ``same`` of a map becomes ``same#2``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processors.redaction.encoded import Encoded

    Codes = NDArray[np.int32]
    Numbers = NDArray[np.int64]

# A table of one bool for each map and distinct key is the fastest check, as long as it is small.
_CELLS_AN_ENTRY: Final = 64


def keep_keys_apart(side: Encoded, before: Codes) -> bool:
    """Rename the keys that repeat in a map; return whether there were any.

    ``side`` has the keys of all maps; ``before`` are its codes as they were before redaction,
    which tell the type tag of one value from that of another.
    """
    if side.added:
        _same_code_for_same_text(side)
    tag_leaves = {leaf.path: leaf for leaf in side.leaves if leaf.is_tagging}
    renamed = False
    for leaf in side.leaves:  # surfaces, not spans
        place = side.place(leaf)
        maps = leaf.maps()
        if leaf.is_tagging or _all_differ(maps, side.codes[place], side.size):
            continue
        if not renamed:
            side.codes = side.codes.copy()
            renamed = True
        side.codes[place] = _numbered(maps, side.codes[place], side)
        tags = tag_leaves.get(leaf.tags_path)
        if tags is not None:
            there = side.place(tags)
            values = maps * side.unseen + before[place]
            tagged = tags.maps() * side.unseen + before[there]
            side.codes[there] = side.codes[place][_places_of(tagged, values)]
    return renamed


def _same_code_for_same_text(side: Encoded) -> None:
    """Let equal texts have equal codes: redaction gives each replacement one of its own."""
    first: dict[str, int] = {}
    texts = [*side.strings, *side.added]  # distinct keys
    canonical = np.array([first.setdefault(text, code) for code, text in enumerate(texts)])
    side.codes = canonical.astype(np.int32)[side.codes]


def _all_differ(maps: Numbers, codes: Codes, size: int) -> bool:
    """Tell whether no map has a code twice."""
    if not len(codes):
        return True
    cells = maps * size + codes
    table = int(maps[-1] + 1) * size
    if table > _CELLS_AN_ENTRY * len(cells):
        return len(np.unique(cells)) == len(cells)
    seen = np.zeros(table, bool)
    seen[cells] = True
    return int(np.count_nonzero(seen)) == len(cells)


def _numbered(maps: Numbers, codes: Codes, side: Encoded) -> Codes:
    """Return codes that differ within each map, by adding texts like ``key#2`` to the side."""
    known = {text: code for code, text in enumerate([*side.strings, *side.added])}
    codes = codes.copy()
    while not _all_differ(maps, codes, side.size):  # again only if the app has a ``key#2`` itself
        repeats = _earlier_occurrences(maps * side.size + codes)
        again = np.flatnonzero(repeats)
        pairs, inverse = np.unique(
            np.stack([codes[again], repeats[again]]), axis=1, return_inverse=True
        )
        for position, (code, repeat) in enumerate(pairs.T.tolist()):  # distinct new keys
            text = f"{side.text(code)}#{repeat + 1}"
            pairs[0, position] = known.setdefault(text, side.size)
            if pairs[0, position] == side.size:
                side.add(text)
        codes[again] = pairs[0][inverse.reshape(-1)]
    return codes


def _earlier_occurrences(ids: Numbers) -> Numbers:
    """Return for each id how many equal ones stand before it."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    counts = np.empty(len(ids), np.int64)
    counts[order] = np.arange(len(ids)) - np.searchsorted(ordered, ordered)
    return counts


def _places_of(wanted: Numbers, ids: Numbers) -> Numbers:
    """Return where in ``ids`` each wanted one stands: the n-th of equal ones at the n-th."""
    order = np.argsort(ids, kind="stable")
    places: Numbers = order[np.searchsorted(ids[order], wanted) + _earlier_occurrences(wanted)]
    return places
