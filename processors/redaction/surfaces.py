"""Every string of a batch, found from the schema by type, and how to put it back.

A new column of strings is redacted without anybody remembering to list it; only columns that
clearspan itself writes, with values from closed lists, are named here and left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.batch import LogBatch, SpanBatch
from collector.model.log_schema import BODY_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from collector.model.batch import Batch

    Path = tuple[str, ...]

# Why each is safe: no sender chooses its text.
WRITTEN_BY_CLEARSPAN: Final[Mapping[str, str]] = {
    s.KIND: "one of KIND_NAMES, mapped from a number",
    s.STATUS_CODE: "one of STATUS_NAMES, mapped from a number",
    s.COST_STATUS: "written by the cost processor, after redaction",
    s.PRICE_VERSION: "version of the bundled price data",
    s.SAMPLE_REASON: "a policy's name from the configuration",
    s.REDACTION_VERSION: "written by redaction itself",
    s.SOURCE_ID: "made by the journal",
    BODY_TYPE: "one of TYPE_TAGS, from the kind of the value",
}
_ID_LENGTHS: Final = pa.array([0, 8, 16], pa.int32())  # unset, span id, trace id
_TYPE_TAG_MAPS: Final = "non_string_types"  # their values are TYPE_TAGS; their keys are scanned


@dataclass(slots=True)
class Leaf:
    """One array of strings: where it stands in the schema and which batch row each belongs to.

    ``parents`` are the list offsets from the batch's rows down to this leaf. ``map`` is the path
    of the map whose keys or values these are.
    """

    path: Path
    array: pa.StringArray
    parents: tuple[NDArray[np.int32], ...]

    @property
    def is_key(self) -> bool:
        """Whether these are the keys of a map."""
        return self.path[-1] == "key"

    @property
    def is_value(self) -> bool:
        """Whether these are the values of a map of attributes."""
        return self.path[-1] == "value"

    @property
    def is_tagging(self) -> bool:
        """Whether this belongs to a map of type tags, whose keys repeat those of the values."""
        return len(self.path) > 1 and self.path[-2].endswith(_TYPE_TAG_MAPS)

    @property
    def tags_path(self) -> Path:
        """Where the type tags of this map's values stand."""
        return (*self.path[:-2], self.path[-2].replace("attributes", _TYPE_TAG_MAPS), "key")

    def maps(self) -> NDArray[np.int64]:
        """Return for each entry of a map the number of its map."""
        offsets = self.parents[-1]
        return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))

    def rows(self, positions: NDArray[np.int64], *, up_to: int = 0) -> NDArray[np.int64]:
        """Return the batch row of each position (or its place ``up_to`` levels below a row)."""
        for offsets in reversed(self.parents[up_to:]):
            positions = np.searchsorted(offsets, positions, side="right") - 1
        return positions


def surfaces(schema: pa.Schema = s.SPAN_SCHEMA) -> list[Path]:
    """Return the path of every string that is scanned."""
    return [
        path
        for field in schema
        if field.name not in WRITTEN_BY_CLEARSPAN
        for path in _string_paths((field.name,), field.type)
    ]


def _string_paths(path: Path, kind: pa.DataType) -> Iterator[Path]:
    if pa.types.is_string(kind):
        yield path
    elif pa.types.is_map(kind):
        yield from _string_paths((*path, "key"), kind.key_type)
        if not path[-1].endswith(_TYPE_TAG_MAPS):
            yield from _string_paths((*path, "value"), kind.item_type)
    elif pa.types.is_list(kind):
        yield from _string_paths(path, kind.value_type)
    elif pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            field = kind.field(index)
            yield from _string_paths((*path, field.name), field.type)
    elif _may_hold_text(kind):
        raise TypeError(f"redaction does not know how to read {kind} at {'.'.join(path)}")


def _may_hold_text(kind: pa.DataType) -> bool:
    # binary columns are ids: of fixed length, or emptied by Surfaces.stray_ids
    return bool(pa.types.is_nested(kind) or pa.types.is_dictionary(kind)) or kind in (
        pa.large_string(),
        pa.string_view(),
        pa.large_binary(),
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is looked at in batches of one kind: in which columns, and what no entries are."""

    names: tuple[str, ...]
    columns: frozenset[str]
    empty: Mapping[str, pa.Array]


def _planned(schema: pa.Schema) -> _Plan:
    ids = {field.name for field in schema if pa.types.is_binary(field.type)}
    nested = [f for f in schema if pa.types.is_list(f.type) or pa.types.is_map(f.type)]
    return _Plan(
        tuple(schema.names),
        frozenset(path[0] for path in surfaces(schema)) | ids,
        {field.name: pa.array([], field.type).values for field in nested},
    )


_PLANS: Final[dict[type[Batch], _Plan]] = {
    kind: _planned(kind.schema) for kind in (SpanBatch, LogBatch)
}


@dataclass(slots=True)
class Surfaces:
    """The strings of one batch: ``leaves`` has those with any value, type tags in ``tags``.

    ``ids`` are the ids of variable length (a link's), which a sender can fill with text.
    """

    columns: dict[str, pa.Array]
    leaves: list[Leaf]
    tags: list[Leaf]
    ids: list[Leaf]

    @staticmethod
    def of(batch: Batch) -> Surfaces:
        """Collect them; arrays that share buffers with other data are copied first."""
        found = Surfaces({}, [], [], [])
        plan = _PLANS[type(batch)]
        batches = batch.table.combine_chunks().to_batches()
        arrays = batches[0].columns if batches else []
        for name, column in zip(plan.names, arrays, strict=False):
            if name not in plan.columns:
                continue
            if column.null_count == len(column) and pa.types.is_string(column.type):
                if _holds_bytes(column):
                    found.columns[name] = pa.nulls(len(column), column.type)
                continue
            if name in plan.empty and not column.offset and not len(column.values):
                # rather than look through the buffers of nothing, put nothing in their place
                found.columns[name] = _over(column, plan.empty[name])
                continue
            exact = column if _is_exact(column) else _copied(column)
            found._collect((name,), exact, ())
            found.columns[name] = exact
        return found

    def _collect(self, path: Path, array: pa.Array, parents: tuple[NDArray[np.int32], ...]) -> None:
        kind = array.type
        if pa.types.is_string(kind):
            if len(array):
                leaf = Leaf(path, array, parents)
                tag = leaf.is_tagging and not leaf.is_key
                (self.tags if tag else self.leaves).append(leaf)
        elif pa.types.is_binary(kind):
            if len(array):
                self.ids.append(Leaf(path, array, parents))
        elif pa.types.is_map(kind):
            below = (*parents, _offsets(array))
            self._collect((*path, "key"), array.keys, below)
            self._collect((*path, "value"), array.items, below)
        elif pa.types.is_list(kind):
            self._collect(path, array.values, (*parents, _offsets(array)))
        elif pa.types.is_struct(kind):
            for index in range(kind.num_fields):
                self._collect((*path, kind.field(index).name), array.field(index), parents)

    def stray_ids(self) -> Iterator[tuple[Leaf, NDArray[np.int64], pa.Array]]:
        """Yield leaves with ids of a length that no id has: which, and all with those emptied."""
        for leaf in self.ids:
            fits = pc.is_in(pc.binary_length(leaf.array), _ID_LENGTHS, skip_nulls=True)
            wrong = pc.and_(pc.invert(fits), leaf.array.is_valid())
            if pc.any(wrong).as_py():
                emptied = pc.if_else(wrong, pa.scalar(b"", leaf.array.type), leaf.array)
                yield leaf, np.flatnonzero(wrong.to_numpy(zero_copy_only=False)), emptied

    def rebuilt(self, replaced: Mapping[Path, pa.Array]) -> dict[str, pa.Array]:
        """Return the columns to set: with these leaves in place of their own, or copied."""
        touched = {path[0] for path in replaced}
        return {
            name: _with((name,), column, replaced) if name in touched else column
            for name, column in self.columns.items()
        }


def _with(path: Path, array: pa.Array, replaced: Mapping[Path, pa.Array]) -> pa.Array:
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return replaced.get(path, array)
    if pa.types.is_map(kind):
        entries = pa.StructArray.from_arrays(
            [
                _with((*path, "key"), array.keys, replaced),
                _with((*path, "value"), array.items, replaced),
            ],
            fields=[kind.key_field, kind.item_field],
        )
        return _over(array, entries)
    if pa.types.is_list(kind):
        return _over(array, _with(path, array.values, replaced))
    if pa.types.is_struct(kind):
        fields = [kind.field(index) for index in range(kind.num_fields)]
        children = [
            _with((*path, field.name), array.field(index), replaced)
            for index, field in enumerate(fields)
        ]
        return pa.Array.from_buffers(kind, len(array), array.buffers()[:1], children=children)
    return array


def _over(array: pa.Array, child: pa.Array) -> pa.Array:
    """Return the list or map with its validity and offsets over another child."""
    return pa.Array.from_buffers(array.type, len(array), array.buffers()[:2], children=[child])


def _offsets(array: pa.Array) -> NDArray[np.int32]:
    """View the offsets of an exact list, map or string array."""
    raw = array.buffers()[1]
    if raw is None or not len(array):
        return np.zeros(1, np.int32)
    return np.frombuffer(raw, np.int32, len(array) + 1, array.offset * 4)


def _is_exact(array: pa.Array) -> bool:
    """Tell whether the array's buffers hold its own values and no others.

    A slice, or a null over bytes, keeps text in memory that no reader of the array sees but that
    a file written from its buffers might have.
    """
    kind = array.type
    if array.offset:
        return False
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        data = array.buffers()[2]
        size = 0 if data is None else data.size
        if array.null_count:
            return size == (pc.sum(pc.binary_length(array)).as_py() or 0)
        return size == int(_offsets(array)[-1])
    if pa.types.is_map(kind) or pa.types.is_list(kind):
        offsets = _offsets(array)
        child = array.values
        # what a null list points at is scanned like everything else in the child
        return offsets[0] == 0 and offsets[-1] == len(child) and _is_exact(child)
    if pa.types.is_struct(kind):
        return all(_is_exact(array.field(index)) for index in range(kind.num_fields))
    return True


def _holds_bytes(nulls: pa.Array) -> bool:
    """Tell whether an all-null string array has text in its buffer all the same."""
    _, offsets, data = nulls.buffers()
    # Arrow makes nulls from one buffer of zeros, used for offsets and data alike
    return data is not None and data.size > 0 and data.address != offsets.address


def _copied(array: pa.Array) -> pa.Array:
    """Return the same values in buffers of their own."""
    return array.take(pa.array(np.arange(len(array), dtype=np.int64)))
