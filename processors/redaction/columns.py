"""Redacts a batch column-wise: encode, judge what is new, rebuild what changed.

All strings of the batch become positions in two dictionaries (keys, and everything else), so that
a string is judged once however often it occurs. The only loops here are over distinct strings
that the cache does not know, over distinct keys, and over surfaces.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import compress, repeat
from operator import is_not, not_
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from processors.redaction.audit import Audit
from processors.redaction.body import Body
from processors.redaction.cache import UNKNOWN
from processors.redaction.encoded import Encoded, int32_array
from processors.redaction.keys import SCAN, KeyClass, KeyKind
from processors.redaction.summary import MaskedKeys
from processors.redaction.surfaces import Leaf, Surfaces
from processors.redaction.unique_keys import keep_keys_apart
from processors.redaction.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from collector.model.batch import BatchT
    from collector.model.telemetry import Telemetry
    from config.redaction import Summary
    from processors.redaction.cache import Unknown, VerdictCache
    from processors.redaction.redactor import Redactor

_BYTES_TAGS: Final = pa.array(["bytes"])
_SCALAR_TAGS: Final = pa.array(["int", "double", "bool"])


class BatchRedaction:
    """The work on one batch."""

    def __init__(
        self,
        redactor: Redactor,
        cache: VerdictCache,
        telemetry: Telemetry,
        summary: Summary = "silent",
        *,
        is_dry: bool = False,
    ) -> None:
        """Borrow the parts; nothing is kept between batches but what the cache keeps.

        ``is_dry`` counts all that would change, and changes nothing.
        """
        self._is_dry = is_dry
        self._summary = summary
        self._redactor = redactor
        self._version = pa.scalar(redactor.version, pa.string())  # with its type: 40 us less
        self._cache = cache
        self._telemetry = telemetry
        self._audit = Audit()

    def run(self, batch: BatchT, received: BatchT) -> BatchT:
        """Return the redacted batch; ``received`` has the same rows with all their attributes."""
        found = Surfaces.of(batch)
        keys = [leaf for leaf in found.leaves if leaf.is_key]
        # Values of attributes stand first and in the order of their keys.
        values = [leaf for leaf in found.leaves if leaf.is_value]
        own_keys = [leaf for leaf in keys if not leaf.is_tagging]
        tag_keys = [leaf for leaf in keys if leaf.is_tagging]
        rest = [leaf for leaf in found.leaves if not leaf.is_key and not leaf.is_value]
        key_side = Encoded([*own_keys, *tag_keys])
        value_side = Encoded([*values, *rest])
        body = Body.of(batch, value_side, received)
        special = self._special(key_side, value_side, found, body)
        replaced: dict[tuple[str, ...], pa.Array] = {}
        counts = np.zeros(len(batch), np.int64)
        masked = changed = self._redact(value_side, special)
        if changed is not None:
            replaced |= value_side.rebuilt(changed)
            _count(value_side, changed, counts)
        before = key_side.codes
        changed = self._redact(key_side, None)
        if changed is not None:
            _count(key_side, changed, counts)
        if keep_keys_apart(key_side, before) or changed is not None:
            replaced |= key_side.rebuilt(key_side.codes != before)
        for leaf, wrong, emptied in found.stray_ids():
            replaced[leaf.path] = emptied
            counts += np.bincount(leaf.rows(wrong), minlength=len(counts))
        columns = found.rebuilt(replaced)
        if masked is not None and self._summary != "silent":
            summary = MaskedKeys(key_side, value_side, masked)
            summary.write(columns, with_keys=self._summary == "debug")
        columns[s.REDACTION_COUNT] = int32_array(counts.astype(np.int32))
        columns[s.REDACTION_VERSION] = pa.repeat(self._version, len(batch))
        self._audit.report(self._telemetry)
        return batch.replace(columns)

    def _special(
        self, key_side: Encoded, value_side: Encoded, found: Surfaces, body: Body | None
    ) -> dict[KeyClass, NDArray[np.int64]]:
        """Return, by class, the positions on the value side whose key makes them special.

        The body of a log record has no key, but a type as an attribute has.
        """
        classes = list(map(self._redactor.keys.classify, key_side.strings))
        special: dict[KeyClass, NDArray[np.int64]] = {}
        entries = sum(len(leaf.array) for leaf in value_side.leaves if leaf.is_value)
        codes = key_side.codes[:entries]
        kinds = sorted({one for one in classes if one is not SCAN}, key=repr)
        if kinds:
            numbers = {one: number for number, one in enumerate(kinds, 1)}
            numbered = np.array([numbers.get(one, 0) for one in classes], np.int32)[codes]
            places = np.flatnonzero(numbered)
            for one, number in numbers.items():
                special[one] = places[numbered[places] == number]
        for key_class, positions in () if body is None else body.classes(self._redactor.keys):
            known = special.get(key_class)
            special[key_class] = positions if known is None else np.union1d(known, positions)
        binary = _both(
            _tagged_positions(key_side, found, _BYTES_TAGS),
            None if body is None else body.tagged(_BYTES_TAGS),
        )
        if binary is not None:
            _mark_binary(special, binary)
        if self._redactor.strings_only:
            scalar = _both(
                _tagged_positions(key_side, found, _SCALAR_TAGS, each=True),
                None if body is None else body.tagged(_SCALAR_TAGS),
            )
            if scalar is not None:
                _mark_ignored(special, scalar)
        if self._redactor.keys.span_name.sanitizer:
            for leaf in value_side.leaves:
                if leaf.path == (s.NAME,):
                    place = value_side.place(leaf)
                    special[self._redactor.keys.span_name] = np.arange(place.start, place.stop)
        return special

    def _redact(
        self, side: Encoded, special: dict[KeyClass, NDArray[np.int64]] | None
    ) -> NDArray[np.bool_] | None:
        """Judge the side's strings and set new codes; return which positions changed."""
        original = side.codes.copy() if special else side.codes
        plain = np.ones(len(original), bool)
        overrides: list[tuple[NDArray[np.int64], NDArray[np.int32]]] = []
        for key_class, positions in (special or {}).items():
            plain[positions] = False
            if key_class.kind is not KeyKind.IGNORED:
                overrides.append((positions, self._judge_special(side, key_class, positions)))
        mapping = self._judge_plain(side, plain if special else None)
        if mapping is not None:
            side.codes = np.where(plain & (original >= 0), mapping[original], original)
        for positions, codes in overrides:
            side.codes = side.codes if side.codes is not original else original.copy()
            side.codes[positions] = codes
        if not side.added:
            return None
        self._audit.note(side)
        changed: NDArray[np.bool_] = side.codes != original
        if side.kept:
            changed &= ~np.isin(side.codes, side.kept)
        return changed if changed.any() else None

    def _judge_plain(
        self, side: Encoded, plain: NDArray[np.bool_] | None
    ) -> NDArray[np.int32] | None:
        """Judge the dictionary (of positions in ``plain``); return code -> new code, if any."""
        strings = side.strings
        if plain is None:
            wanted: Sequence[int] = range(len(strings))
        else:
            used = np.zeros(len(strings) + 1, bool)
            used[side.codes[plain]] = True  # null's -1 falls on the spare last place
            wanted = np.flatnonzero(used[:-1]).tolist()
            strings = [strings[index] for index in wanted]
        mapping: NDArray[np.int32] | None = None
        for place, verdict in self._verdicts([*strings], strings, SCAN):
            if mapping is None:
                mapping = np.arange(side.unseen, dtype=np.int32)
            mapping[wanted[place]] = side.judged(verdict)
        return mapping

    def _judge_special(
        self, side: Encoded, key_class: KeyClass, positions: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Judge the strings at these positions under their key's class; return their new codes."""
        distinct, inverse = np.unique(side.codes[positions], return_inverse=True)
        codes = distinct.astype(np.int32)
        nulls = int(len(codes) > 0 and codes[0] < 0)
        texts = [side.strings[code] for code in codes[nulls:].tolist()]
        number = self._redactor.keys.number(key_class)
        keys: list[Hashable] = list(zip(repeat(number), texts, strict=False))
        for place, verdict in self._verdicts(keys, texts, key_class):
            codes[nulls + place] = side.judged(verdict)
        return codes[inverse]

    def _verdicts(
        self, keys: list[Hashable], texts: list[str], key_class: KeyClass
    ) -> Iterator[tuple[int, Verdict]]:
        """Yield the place of each string to replace, with its verdict; clean ones cost nothing.

        The loops are over strings not seen before and over strings to replace.
        """
        known = self._cache.look_up(keys)
        open_places = list(compress(range(len(keys)), map(is_not, known, repeat(None))))
        new = [place for place in open_places if known[place] is UNKNOWN]
        self._audit.judged["cached"] += len(keys) - len(new)
        if new:
            self._judge_new(new, keys, texts, key_class, known)
        for place in open_places:
            verdict = known[place]
            if isinstance(verdict, Verdict):
                yield place, replace(verdict, text=texts[place]) if self._is_dry else verdict

    def _judge_new(
        self,
        new: list[int],
        keys: list[Hashable],
        texts: list[str],
        key_class: KeyClass,
        known: list[Verdict | Unknown | None],
    ) -> None:
        """Judge the strings at these places: set their verdicts in ``known`` and remember them."""
        suspects = new
        marks: Iterable[list[int] | None] = repeat(None)
        if key_class is SCAN:
            screened = self._redactor.screened([texts[place] for place in new])
            suspects, marks = list(compress(new, screened)), filter(None, screened)
            clean = compress(new, map(not_, screened))
            self._cache.remember_clean([texts[place] for place in clean])
        else:
            self._redactor.prepare([texts[place] for place in new], key_class)
        for place, marked in zip(suspects, marks, strict=False):
            known[place] = verdict = self._redactor.judge(texts[place], key_class, marked)
            self._cache.remember(keys[place], verdict)
        self._audit.judged["analysed"] += len(suspects)
        self._audit.judged["screened"] += len(new) - len(suspects)


def _count(side: Encoded, changed: NDArray[np.bool_], counts: NDArray[np.int64]) -> None:
    """Add the changed strings of each row; a key that also stands beside a type tag counts once."""
    for leaf, start, end in zip(side.leaves, side.starts, side.starts[1:], strict=False):
        positions = np.flatnonzero(changed[start:end])
        if len(positions) and not leaf.is_tagging:
            counts += np.bincount(leaf.rows(positions), minlength=len(counts))


def _tagged_positions(
    key_side: Encoded, found: Surfaces, wanted: pa.StringArray, *, each: bool = False
) -> NDArray[np.int64] | None:
    """Return the value-side positions of values with a wanted type, None if there are none.

    A value has a type if a type tag says so under the same key in the same map. A key that an app
    gave twice leaves open which value a tag means: any, or with ``each`` those with a tag for each.
    """
    tags = pa.chunked_array([leaf.array for leaf in found.tags], pa.string())
    if not pc.any(pc.is_in(tags.unique(), wanted)).as_py():
        return None
    owners = {leaf.tags_path: leaf for leaf in key_side.leaves if not leaf.is_tagging}
    tag_leaves = {leaf.path: leaf for leaf in key_side.leaves if leaf.is_tagging}
    positions = []
    for tag in found.tags:
        tagged = np.flatnonzero(pc.is_in(tag.array, wanted).to_numpy(zero_copy_only=False))
        path = (*tag.path[:-1], "key")
        if len(tagged) and path in owners:
            here = _entry_ids(tag_leaves[path], key_side)[tagged]
            there = _entry_ids(owners[path], key_side)
            meant = _as_often(here, there) if each else here
            positions.append(
                np.flatnonzero(np.isin(there, meant)) + key_side.place(owners[path]).start
            )
    return np.concatenate(positions) if positions else None


def _both(
    one: NDArray[np.int64] | None, other: NDArray[np.int64] | None
) -> NDArray[np.int64] | None:
    if one is None or other is None:
        return other if one is None else one
    return np.union1d(one, other)


def _entry_ids(leaf: Leaf, side: Encoded) -> NDArray[np.int64]:
    """Return for each map entry one number that stands for its map and its key."""
    return leaf.maps() * side.unseen + side.codes[side.place(leaf)]


def _as_often(ids: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which of the ids are there at least as often as among the others."""
    distinct, counts = np.unique(ids, return_counts=True)
    ordered = np.sort(others)
    wanted = np.searchsorted(ordered, distinct, "right") - np.searchsorted(ordered, distinct)
    return distinct[counts >= wanted]


def _mark_ignored(special: dict[KeyClass, NDArray[np.int64]], scalar: NDArray[np.int64]) -> None:
    """Leave these positions as they are, unless their keys decide."""
    left = scalar
    for key_class, positions in list(special.items()):
        left = np.setdiff1d(left, positions) if key_class.is_whole else left
        if key_class.is_scanned:
            special[key_class] = np.setdiff1d(positions, scalar)
    ignored = KeyClass(KeyKind.IGNORED)
    special[ignored] = np.union1d(special.get(ignored, left), left)


def _mark_binary(special: dict[KeyClass, NDArray[np.int64]], binary: NDArray[np.int64]) -> None:
    """Class these positions as bytes, keeping what their keys said."""
    left = binary
    for key_class, positions in list(special.items()):
        both = np.intersect1d(positions, binary)
        left = np.setdiff1d(left, both)
        if len(both) and key_class.is_scanned:
            special[key_class] = np.setdiff1d(positions, both)
            as_bytes = replace(key_class, binary=True, sanitizer="", has_names=False)
            special[as_bytes] = np.union1d(special.get(as_bytes, both), both)
    if len(left):
        as_bytes = KeyClass(binary=True)
        special[as_bytes] = np.union1d(special.get(as_bytes, left), left)
