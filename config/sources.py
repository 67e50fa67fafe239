"""Reads YAML files and ``--set`` arguments into trees that remember lines and columns."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from config.substitution import BadReferenceError, expand
from config.tree import Branch, Items, Leaf, Node, Origin, Path, Problems

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path as FilePath

    from ruamel.yaml.nodes import Node as YamlNode

_TAG: Final = "tag:yaml.org,2002:"
_TYPED: Final = frozenset({"null", "bool", "int", "float"})
# Scalars YAML gives a type no option has (dates, base64): their text is what is meant.
_TEXTUAL: Final = frozenset({"str", "timestamp", "binary", "value"})
_OVERRIDE: Final = re.compile(r'((?:"[^"]+"|[^."=]+)(?:\.(?:"[^"]+"|[^."=]+))*)=(.*)', re.DOTALL)
_SEGMENT: Final = re.compile(r'"([^"]+)"|([^."]+)')
# ruamel quotes what it stumbled over; that may be a piece of a secret, a lone character is not.
_QUOTED: Final = re.compile(r"(['\"])((?:(?!\1).)*)\1")


def read_file(path: FilePath, environ: Mapping[str, str], problems: Problems) -> Branch:
    """Return the tree of one file (empty if it cannot be used, which is then a problem)."""
    start = Origin(str(path))
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.add(start, (), f"cannot be read: {error.strerror}")
        return _empty(start)
    except UnicodeDecodeError:
        problems.add(start, (), "is not UTF-8 text")
        return _empty(start)
    builder = _Builder(str(path), environ, problems)
    node = builder.parse(text)
    if isinstance(node, Branch):
        return node
    if node is not None and not (isinstance(node, Leaf) and node.value is None):
        problems.add(node.origin, (), "the top of a configuration is a map of sections")
    return _empty(start)


def read_override(argument: str, environ: Mapping[str, str], problems: Problems) -> Branch:
    """Return the tree of one ``a.b.c=value`` (empty if it is not of that form)."""
    origin = Origin("--set")
    match = _OVERRIDE.fullmatch(argument)
    if match is None:
        problems.add(origin, (), 'an override is written a.b.c=value, a."b.c".d=value')
        return _empty(origin)
    path: Path = tuple(quoted or plain for quoted, plain in _SEGMENT.findall(match[1]))
    node = _Builder("--set", environ, problems, fixed=origin).parse(match[2], path)
    if node is None:
        return _empty(origin)
    if isinstance(node, Leaf) and not isinstance(node.value, str) and node.raw is None:
        # `--set exporters.lake.path=2024`: a string option takes the text as it was typed
        node = Leaf(node.value, origin, node.text, node.text or None)
    for key in reversed(path):
        node = Branch({str(key): node}, {str(key): origin}, origin)
    return node if isinstance(node, Branch) else _empty(origin)


def _empty(origin: Origin) -> Branch:
    return Branch({}, {}, origin)


@dataclass(slots=True)
class _Builder:
    """Turns YAML nodes into ours; with ``fixed`` every value stands there (no lines to tell)."""

    source: str
    environ: Mapping[str, str]
    problems: Problems
    fixed: Origin | None = None
    expands: bool = True
    yaml: YAML = field(default_factory=lambda: YAML(typ="safe", pure=True))

    def parse(self, text: str, path: Path = ()) -> Node | None:
        """Return the tree of a YAML text; None when it has no sense, which is then a problem."""
        try:
            root = self.yaml.compose(text)
            if root is None:
                return Leaf(None, self.fixed or Origin(self.source), "")
            return self.build(root, path, ())
        except MarkedYAMLError as error:
            self.problems.add(self._syntax_origin(error), path, f"not valid YAML: {_syntax(error)}")
        except YAMLError:  # the reader's own, about a control character
            origin = self.fixed or Origin(self.source)
            self.problems.add(origin, path, "not valid YAML: it holds a control character")
        except RecursionError:
            origin = self.fixed or Origin(self.source)
            self.problems.add(origin, path, "nested too deep")
        return None

    def build(self, node: YamlNode, path: Path, above: tuple[YamlNode, ...]) -> Node:
        origin = self._origin(node)
        if any(node is outer for outer in above):
            self.problems.add(origin, path, "an alias refers to the section it stands in")
            return Leaf(None, origin, "")
        if isinstance(node, ScalarNode):
            return self._scalar(node, origin, path)
        if isinstance(node, SequenceNode):
            items = enumerate(node.value)
            return Items(
                tuple(self.build(item, (*path, at), (*above, node)) for at, item in items),
                origin,
            )
        return self._map(node, origin, path, above)

    def _map(
        self,
        node: YamlNode,
        origin: Origin,
        path: Path,
        above: tuple[YamlNode, ...],
    ) -> Branch:
        entries: dict[str, Node] = {}
        keys: dict[str, Origin] = {}
        inherited: list[YamlNode] = []
        for key_node, value in node.value:
            at = self._origin(key_node)
            if not isinstance(key_node, ScalarNode):
                self.problems.add(at, path, "a key must be plain text")
                continue
            if key_node.tag == _TAG + "merge":
                inherited += value.value if isinstance(value, SequenceNode) else [value]
                continue
            key = str(key_node.value)
            if key in entries:
                first = f" at line {keys[key].line}" if keys[key].line else ""
                self.problems.add(at, (*path, key), f"duplicate key, first given{first}")
                continue
            keys[key] = at
            entries[key] = self.build(value, (*path, key), (*above, node))
        for source in inherited:  # `<<: *anchor` gives what the map itself does not
            if not isinstance(source, MappingNode):
                self.problems.add(self._origin(source), path, "'<<' takes a map or a list of maps")
                continue
            base = self.build(source, path, (*above, node))
            if isinstance(base, Branch):
                entries = base.entries | entries
                keys = base.keys | keys
        return Branch(entries, keys, origin)

    def _scalar(self, node: ScalarNode, origin: Origin, path: Path) -> Leaf | Items | Branch:
        text = str(node.value)
        kind = str(node.tag).removeprefix(_TAG)
        if kind in _TYPED:
            try:
                value = self.yaml.constructor.construct_object(node)
            except (ValueError, KeyError, YAMLError):
                self.problems.add(origin, path, f"is not a YAML {kind}")
                value = None
            return Leaf(value, origin, text)
        if kind not in _TEXTUAL:
            self.problems.add(origin, path, "YAML tags of one's own are not supported")
            return Leaf(None, origin, text)
        if not self.expands or "$" not in text:
            return Leaf(text, origin, text)
        try:
            result = expand(text, self.environ)
        except BadReferenceError as error:
            self.problems.add(origin, path, str(error))
            return Leaf(None, origin, text)
        if not result.whole:
            return Leaf(result.text, origin, text, expanded=result.referred)
        return self._typed(result.text, origin)

    def _typed(self, text: str, origin: Origin) -> Leaf | Items | Branch:
        """Give what a whole-value reference brought the type YAML sees in it, as the Collector."""
        aside = Problems()
        inner = _Builder(self.source, self.environ, aside, fixed=origin, expands=False).parse(text)
        if inner is None or aside.found:
            return Leaf(text, origin, text, raw=text, expanded=True)
        if isinstance(inner, Leaf):
            return Leaf(inner.value, origin, text, raw=text, expanded=True)
        if isinstance(inner, Items):
            return Items(inner.items, origin, raw=text, expanded=True)
        return Branch(inner.entries, inner.keys, origin, raw=text, expanded=True)

    def _origin(self, node: YamlNode) -> Origin:
        mark = node.start_mark
        return self.fixed or Origin(self.source, mark.line + 1, mark.column + 1)

    def _syntax_origin(self, error: MarkedYAMLError) -> Origin:
        mark = error.problem_mark or error.context_mark
        if self.fixed or mark is None:
            return self.fixed or Origin(self.source)
        return Origin(self.source, mark.line + 1, mark.column + 1)


def _syntax(error: MarkedYAMLError) -> str:
    """Return ruamel's own words without whatever text of the file they quote."""
    words = str(error.problem or error.context or "syntax error")
    if words.startswith("but "):
        words = f"{error.context}, {words}"
    return _QUOTED.sub(_without_text, words)


def _without_text(quoted: re.Match[str]) -> str:
    """Keep a lone character (two when escaped) and the names of YAML's tokens."""
    is_syntax = len(quoted[2]) <= 2 or quoted[2].startswith("<")  # noqa: PLR2004 - as it says
    return quoted[0] if is_syntax else "(text withheld)"
