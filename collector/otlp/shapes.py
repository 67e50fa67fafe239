"""Counts the parts of OTLP messages by protobuf's C parser, without making objects of them.

In a shape every message on the way to what is counted is singular, so all its occurrences merge
into one (protobuf encoding guide, "Last One Wins"), and what is counted is ``repeated bytes``:
one length is the total of the whole data, however many spans it is spread over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from collector.model.errors import InvalidPayload

# Message kinds of opentelemetry-proto v1 and the fields that hold others, by number.
CHILDREN: Final[dict[str, dict[int, str]]] = {
    "request": {1: "resource_spans"},
    "resource_spans": {1: "resource", 2: "scope_spans"},
    "resource": {1: "attribute", 3: "entity_ref"},
    "entity_ref": {3: "entity_key", 4: "entity_key"},
    "scope_spans": {1: "scope", 2: "span"},
    "scope": {3: "attribute"},
    "span": {9: "attribute", 11: "event", 13: "link"},
    "event": {3: "attribute"},
    "link": {4: "attribute"},
    "attribute": {2: "value"},
    "value": {5: "array", 6: "map"},
    "array": {1: "element"},
    "element": {5: "array", 6: "map"},
    "map": {1: "attribute"},
    "logs_request": {1: "resource_logs"},
    "resource_logs": {1: "resource", 2: "scope_logs"},
    "scope_logs": {1: "scope", 2: "log_record"},
    "log_record": {5: "value", 6: "attribute"},
}
# Where a shape ends, since values nest: what is inside is given to the next shape as data.
NESTED: Final = frozenset({"array", "map"})


@dataclass(frozen=True, slots=True)
class Shape:
    """A message type reduced to what is counted, and the ways to it."""

    message: Any
    paths: tuple[tuple[str, ...], ...]

    def count(self, data: bytes) -> int:
        """Return how many of the counted kinds are in the data.

        Raises:
            InvalidPayload: The data is not a protobuf message.
        """
        return sum(len(found) for found in self._found(data))

    def join(self, data: bytes) -> bytes:
        """Return all the counted messages as one: concatenated messages merge."""
        return b"".join(element for found in self._found(data) for element in found)

    def _found(self, data: bytes) -> list[Any]:
        try:
            root = self.message.FromString(data)
        except DecodeError as error:
            raise InvalidPayload("the bytes are not an OTLP export request") from error
        found = []
        for path in self.paths:  # ways through the schema, seven at most
            node = root
            for name in path:
                node = getattr(node, name)
            found.append(node)
        return found


@cache
def fields_below(kind: str) -> frozenset[tuple[int, str]]:
    """Return number and kind of every field that messages of this kind hold at any depth."""
    found: set[tuple[int, str]] = set()
    kinds = [kind]
    while kinds:
        new = set(CHILDREN.get(kinds.pop(), {}).items()) - found
        found |= new
        kinds += [child for _, child in new]
    return frozenset(found)


@cache
def shape(kind: str, counted: frozenset[str]) -> Shape | None:
    """Return the shape of ``kind`` that counts the kinds ``counted``, None if it holds none."""
    file = descriptor_pb2.FileDescriptorProto(name="shape.proto", syntax="proto2")
    paths = _describe(file.message_type.add(name="Shape"), kind, counted)
    if not paths:
        return None
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("Shape"))
    return Shape(message, tuple(paths))


def _describe(message: Any, kind: str, counted: frozenset[str]) -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = []
    types = descriptor_pb2.FieldDescriptorProto
    for number, child in CHILDREN.get(kind, {}).items():
        name = f"f{number}"
        if child in counted:
            message.field.add(
                name=name, number=number, label=types.LABEL_REPEATED, type=types.TYPE_BYTES
            )
            paths.append((name,))
        elif child not in NESTED:
            below = _describe(message.nested_type.add(name=f"M{number}"), child, counted)
            if below:
                message.field.add(
                    name=name,
                    number=number,
                    label=types.LABEL_OPTIONAL,
                    type=types.TYPE_MESSAGE,
                    type_name=f"M{number}",
                )
                paths.extend((name, *path) for path in below)
    return paths
