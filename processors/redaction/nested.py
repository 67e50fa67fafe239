"""JSON inside a string: every key and leaf is judged, and what is written back is JSON again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import reduce
from operator import is_
from typing import TYPE_CHECKING, Any, Final

from processors.redaction.json_text import Object, dump, parse
from processors.redaction.keys import SCAN
from processors.redaction.operators import REDACTED, TOO_DEEP
from processors.redaction.verdict import Found, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from processors.redaction.keys import KeyClass


MAX_DEPTH: Final = 64
# OTLP's and many SDKs' way to write an attribute: {"key": K, "value": …}
NAME_KEYS: Final = frozenset({"key", "name", "Key", "Name"})
VALUE_KEYS: Final = frozenset({"value", "Value"})
# [["cookie", "a=b"], …], and in one list as Node has it: {"rawHeaders": ["Cookie", "a=b", …]}
_PAIR: Final = 2
_HEADERS: Final = frozenset({"rawheaders", "raw_headers"})


@dataclass(slots=True)
class JsonRedactor:
    """One walk over one JSON value.

    ``judge`` gives the verdict on a leaf or key; ``clean`` ones need none without a special key.
    Another walk over the result finds nothing as long as ``is_at_rest``: a leaf that was scanned
    is at rest, one that its key decided may not be, and a changed key or name may decide otherwise.
    """

    judge: Callable[[str, KeyClass, int], Verdict | None]
    classify: Callable[[str], KeyClass]
    clean: Container[str]
    found: list[Found]
    is_at_rest: bool = True

    def redact(self, text: str, key_class: KeyClass, depth: int) -> str | None:
        """Return the redacted JSON text, or None if nothing was found.

        Raises ValueError and RecursionError as ``parse`` does.
        """
        parsed = parse(text)
        redacted = self._value(parsed, key_class, depth)
        return None if redacted is parsed else dump(redacted)

    def _value(
        self, value: Any, key_class: KeyClass, depth: int, *, may_alternate: bool = False
    ) -> Any:
        """Return the value to write; the very same object where nothing changed.

        ``may_alternate``: a list may have names in turn with their values.
        """
        if depth > MAX_DEPTH:
            if value is None or value is True or value is False:
                return value
            self.found.append(Found(REDACTED, "too deep"))
            return TOO_DEEP
        if isinstance(value, str):
            return self.leaf(value, value, key_class, depth)
        if isinstance(value, list):
            return self._nested(value, key_class, depth, may_alternate=may_alternate)
        if key_class.is_whole and value is not None:
            return self.leaf(value, json.dumps(value), key_class, depth)
        return value

    def _nested(
        self, value: list[Any], key_class: KeyClass, depth: int, *, may_alternate: bool
    ) -> list[Any]:
        if isinstance(value, Object):
            return self._object(value, key_class, depth)
        entries = _typed_entries(value)
        names = _names_of_value(entries)
        if names:
            named = reduce(self.inner, names, key_class)
            items = [
                self._value(item, named if key in VALUE_KEYS else key_class, depth + 1)
                for item, (key, _) in zip(value, entries, strict=True)
            ]
            self.is_at_rest &= _names_of_value(_typed_entries(items)) == names
        elif may_alternate and _alternates(value):
            items = []
            for name, item in zip(value[::2], value[1::2], strict=False):
                new_name = self._value(name, key_class, depth + 1)
                said = is_said(name, item)
                new = self._value(
                    item, key_class if said else self.inner(key_class, name), depth + 1
                )
                self.is_at_rest &= new_name is name and (new is item or not said)
                items += new_name, new
            items += (self._value(name, key_class, depth + 1) for name in value[len(items) :])
        else:
            items = [
                self._value(
                    item,
                    key_class,
                    depth + 1,
                    may_alternate=type(item) is list and len(item) == _PAIR,
                )
                for item in value
            ]
        return value if all(map(is_, items, value)) else items

    def leaf(self, value: Any, text: str, key_class: KeyClass, depth: int) -> Any:
        """Return what to write for a leaf or key that reads as ``text``; itself if it may stay."""
        if key_class is SCAN and text in self.clean:
            return value
        verdict = self.judge(text, key_class, depth + 1)
        if verdict is None:
            return value
        self.found.extend(verdict.found)
        if not verdict.is_cut:
            return value
        self.is_at_rest &= not key_class.is_whole
        return verdict.text

    def _object(self, value: Object, outer: KeyClass, depth: int) -> Object:
        names = _names_of_value(value)
        named = reduce(self.inner, names, outer)
        pairs: list[tuple[str, Any]] = []
        for key, item in value:
            inner = self.inner(named if key in VALUE_KEYS else outer, key)
            new_key = self.leaf(key, key, SCAN, depth)
            self.is_at_rest &= new_key is key
            new = self._value(item, inner, depth + 1, may_alternate=key.lower() in _HEADERS)
            pairs.append((new_key, new))
        if names:
            self.is_at_rest &= _names_of_value(pairs) == names
        unchanged = all(
            new[0] is old[0] and new[1] is old[1] for new, old in zip(pairs, value, strict=True)
        )
        return value if unchanged else Object(pairs)

    def inner(self, outer: KeyClass, key: str) -> KeyClass:
        """Return the class of a value under ``key`` inside a value of class ``outer``."""
        if outer.is_whole:
            return outer
        own = self.classify(key)
        if own is outer is SCAN and key != "bytesValue":
            return SCAN
        if own.is_whole:
            return own
        context = own.context | outer.context
        binary = key == "bytesValue"
        if not context and not binary and not outer.has_names and not own.is_kept:
            return SCAN
        return replace(own, context=context, binary=binary, has_names=outer.has_names)


def _alternates(value: list[Any]) -> bool:
    """Tell whether a list can be names in turn with their values."""
    return all(type(name) is str for name in value[::2])


def is_said(name: str, value: Any) -> bool:
    """Tell what a user says from who that is: [["user", "Hello you"], ["assistant", …]]."""
    if name.lower() != "user":
        return False
    return " " in value if type(value) is str else type(value) is list


def _names_of_value(value: list[tuple[str, Any]]) -> list[str]:
    """Return K of ``{"key": K, "value": …}``.

    Where several may be the name, all are: each says what it knows of the value.
    """
    found = [item for key, item in value if key in NAME_KEYS]
    return [item for item in found if isinstance(item, str)]


def _typed_entries(value: list[Any]) -> list[tuple[str, Any]]:
    """Return the entries of a map that stands as OTLP/JSON, with values that are text."""
    entries: list[tuple[str, Any]] = []
    for item in value:
        match item:
            case [("key", str() as key), ("value", [("stringValue", text)])]:
                entries.append((key, text))
            case [("key", str() as key), *_]:
                entries.append((key, None))
            case _:
                return []
    return entries
