"""A configuration as a tree whose every value knows where it was written, and what is wrong."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from collector.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: a file with line and column (from 1), or ``--set`` (line 0)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return ``file:line:column``, the form editors and terminals can jump to."""
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar.

    ``text`` is how it was written. ``raw`` is the text a string option takes instead of the value,
    where the YAML type is an accident of it (a variable holding ``0123``); None where it is not.
    """

    value: float | str | None
    origin: Origin
    text: str
    raw: str | None = None
    expanded: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    origin: Origin
    raw: str | None = None
    expanded: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A map; ``keys`` says where each key stands."""

    entries: dict[str, Node]
    keys: dict[str, Origin]
    origin: Origin
    raw: str | None = None
    expanded: bool = False


Node: TypeAlias = Leaf | Items | Branch


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; its text never holds a configured value."""

    origin: Origin
    path: Path
    message: str

    def __str__(self) -> str:
        """Return the one line that is shown: where, which option, what is wrong."""
        where = f"{dotted(self.path)}: " if self.path else ""
        return f"{self.origin}: {where}{self.message}"


@dataclass(slots=True)
class Problems:
    """Everything found wrong so far: all of it is reported, not only the first."""

    found: list[Problem] = field(default_factory=list)

    def add(self, origin: Origin, path: Path, message: str) -> None:
        """Note a problem."""
        self.found.append(Problem(origin, path, message))

    def cover(self, path: Path) -> bool:
        """Tell whether ``path``, or a section it lies in, is already known to be wrong."""
        known = (problem.path for problem in self.found if problem.path)
        return any(path[: len(one)] == one for one in known)

    def raise_if_any(self) -> None:
        """Raise ``ConfigError`` with one line a problem, in the order of the sources."""
        if not self.found:
            return
        sources = list(dict.fromkeys(problem.origin.source for problem in self.found))
        ordered = sorted(
            self.found,
            key=lambda one: (sources.index(one.origin.source), one.origin.line, one.origin.column),
        )
        raise ConfigError("\n".join(dict.fromkeys(map(str, ordered))))


def dotted(path: Path) -> str:
    """Return ``a.b[0].c``; a key that is not a plain word is quoted, as ``--set`` takes it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part.replace("_", "").replace("-", "").isalnum()
            text += ("." if text else "") + (part if plain else json.dumps(part))
    return text


def nearest(name: str, valid: Iterable[str], *, what: str) -> str:
    """Return the hint for a name that is none of ``valid``: the closest, or else all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"{what}: {', '.join(names)}"


def is_null(node: Node) -> bool:
    """Tell whether nothing is written there: ``key:``, ``key: null`` or ``key: ~``."""
    return isinstance(node, Leaf) and node.value is None and not node.expanded


def describe(node: Node) -> str:
    """Return what kind of value it is, never the value."""
    if isinstance(node, Branch):
        return "a map"
    if isinstance(node, Items):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return "true or false"
    return "a string" if isinstance(node.value, str) else "a number"


def merge(below: Node, above: Node) -> Node:
    """Return ``above`` laid over ``below``: maps key by key, anything else replaced.

    An empty section (``grpc:``) over a map adds nothing to it and takes nothing away.
    """
    if not isinstance(below, Branch):
        return above
    if is_null(above):
        return below
    if not isinstance(above, Branch):
        return above
    entries = dict(below.entries)
    for key, node in above.entries.items():
        entries[key] = merge(entries[key], node) if key in entries else node
    return Branch(entries, below.keys | above.keys, above.origin, above.raw, above.expanded)
