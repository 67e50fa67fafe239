"""Fits a tree to the settings' types: unknown keys, empty sections, text for string options."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from config.tree import (
    Branch,
    Items,
    Leaf,
    Node,
    Origin,
    Path,
    Problems,
    describe,
    is_null,
    nearest,
)

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

REFERENCE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""A user's own processor: ``module:Class``."""

_UNUSABLE: Final = object()


def peel(annotation: Any) -> Any:
    """Return the type below ``Annotated[...]`` and ``... | None``."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
            continue
        choices = [one for one in union_members(annotation) if one is not type(None)]
        if len(choices) != 1:
            return annotation
        annotation = choices[0]


def union_members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union; none if it is not one."""
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else ()


def is_model(annotation: Any) -> bool:
    """Tell whether the type is a section of settings."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def options(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a section by the name they have in a file."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def kinds(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the sections a ``type`` key chooses between, by its value, if it does."""
    return {
        name: member
        for member in union_members(annotation)
        if is_model(member) and "type" in member.model_fields
        for name in get_args(member.model_fields["type"].annotation)
    }


@dataclass(slots=True)
class Shaped:
    """Plain data for pydantic, with what is needed to explain it afterwards.

    ``origins`` says where each path stands; ``outside`` are the paths of values that came through
    a reference and are not to be shown.
    """

    problems: Problems
    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)
    outside: set[Path] = field(default_factory=set)

    def origin(self, path: Path) -> Origin:
        """Return where a path stands, or the nearest section around it that was written."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return Origin("defaults")


def shape(tree: Branch, model: type[BaseModel], problems: Problems) -> Shaped:
    """Return the tree as data for ``model``; keys that cannot be there become problems."""
    shaped = Shaped(problems)
    shaped.data = _section(tree, model, (), shaped)
    return shaped


def _section(branch: Branch, model: type[BaseModel], path: Path, shaped: Shaped) -> dict[str, Any]:
    known = options(model)
    data: dict[str, Any] = {}
    for key, node in branch.entries.items():
        here = (*path, key)
        shaped.origins[here] = branch.keys[key] if is_null(node) else node.origin
        if key in known:
            value = _value(node, known[key].annotation, here, shaped)
            if value is not None:
                data[key] = value
        elif model.model_config.get("extra") == "allow" and REFERENCE.fullmatch(key):
            data[key] = _free(node, here, shaped)
            if not isinstance(node, Branch) and not is_null(node):
                _expected("a map of the processor's options", node, here, shaped)
        else:
            hint = nearest(key, known, what="keys here")
            shaped.problems.add(branch.keys[key], here, f"unknown key, {hint}")
    if branch.entries and getattr(model, "unnamed_is_off", False):
        data |= dict.fromkeys(known.keys() - branch.entries.keys())
    return data


def _value(node: Node, annotation: Any, path: Path, shaped: Shaped) -> Any:
    """Return the value for an option; None leaves it at its default."""
    target = peel(annotation)
    if node.expanded:
        shaped.outside.add(path)
    if is_null(node):  # `grpc:` with nothing in it: there, with its defaults
        return {} if is_model(target) else None
    if choice := kinds(target):
        return _chosen(node, choice, path, shaped)
    if get_origin(target) is tuple:
        return _list(node, get_args(target)[0], path, shaped)
    short = getattr(target, "short_form", "")
    if short and isinstance(node, Leaf):  # `EMAIL_ADDRESS: hmac`: one option for the section
        return {short: _value(node, options(target)[short].annotation, path, shaped)}
    if get_origin(target) is dict or is_model(target):
        return _map(node, target, path, shaped)
    return _scalar(node, target, path, shaped)


def _list(node: Node, inner: Any, path: Path, shaped: Shaped) -> Any:
    if not isinstance(node, Items):
        return _expected("a list", node, path, shaped)
    return [_item(item, inner, (*path, at), shaped) for at, item in enumerate(node.items)]


def _map(node: Node, target: Any, path: Path, shaped: Shaped) -> Any:
    if not isinstance(node, Branch):
        return _expected("a map", node, path, shaped)
    if is_model(target):
        return _section(node, target, path, shaped)
    inner = get_args(target)[1]
    return {key: _item(one, inner, (*path, key), shaped) for key, one in node.entries.items()}


def _item(node: Node, annotation: Any, path: Path, shaped: Shaped) -> Any:
    shaped.origins[path] = node.origin
    value = _value(node, annotation, path, shaped)
    return _expected("a value", node, path, shaped) if value is None else value


def _chosen(node: Node, choice: dict[str, type[BaseModel]], path: Path, shaped: Shaped) -> Any:
    if not isinstance(node, Branch):
        return _expected("a map", node, path, shaped)
    given = node.entries.get("type")
    if not isinstance(given, Leaf) or not isinstance(given.value, str):
        shaped.problems.add(node.origin, (*path, "type"), f"missing, one of {', '.join(choice)}")
        return _UNUSABLE
    if given.value not in choice:
        hint = nearest(given.value, choice, what="types")
        shaped.problems.add(given.origin, (*path, "type"), f"unknown type, {hint}")
        return _UNUSABLE
    return _section(node, choice[given.value], path, shaped)


def _scalar(node: Node, target: Any, path: Path, shaped: Shaped) -> Any:
    if _takes_text(target):
        if node.raw is not None:
            return node.raw
        if target is SecretStr and isinstance(node, Leaf):
            return node.value if isinstance(node.value, str) else node.text
    if not isinstance(node, Leaf):
        return _expected(expectation(target), node, path, shaped)
    if isinstance(node.value, bool) and target in {int, float}:
        return _expected("a number", node, path, shaped)
    return node.value


def _takes_text(target: Any) -> bool:
    if get_origin(target) is Literal:
        return all(isinstance(one, str) for one in get_args(target))
    return target in {str, SecretStr}


def expectation(target: Any) -> str:
    """Return in words what an option of this type takes."""
    words = {str: "a string", SecretStr: "a string", bool: "true or false", int: "a whole number"}
    return words.get(target, "a number" if target is float else "a single value")


def _free(node: Node, path: Path, shaped: Shaped) -> Any:
    """Return an untyped value (a user processor's options) as YAML sees it."""
    shaped.origins[path] = node.origin
    if node.expanded:
        shaped.outside.add(path)
    if isinstance(node, Branch):
        return {key: _free(each, (*path, key), shaped) for key, each in node.entries.items()}
    if isinstance(node, Items):
        return [_free(each, (*path, at), shaped) for at, each in enumerate(node.items)]
    return node.value


def _expected(what: str, node: Node, path: Path, shaped: Shaped) -> Any:
    shaped.problems.add(node.origin, path, f"expected {what}, got {describe(node)}")
    return _UNUSABLE
