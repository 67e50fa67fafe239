"""Turns what pydantic finds wrong into problems with an origin, in words, without the value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from config.shape import is_model, kinds, options, peel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from config.shape import Shaped
    from config.tree import Path

_WORDS: Final[Mapping[str, str]] = {
    "missing": "missing, it has no default",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "string_type": "expected a string",
    "literal_error": "expected {expected}",
    "greater_than": "must be more than {gt:.12g}",
    "greater_than_equal": "must be at least {ge:.12g}",
    "less_than": "must be less than {lt:.12g}",
    "less_than_equal": "must be at most {le:.12g}",
    "too_short": "needs at least {min_length} of them",
    "too_long": "takes at most {max_length} of them",
    "string_too_short": "must not be empty",
    "value_error": "{error}",
}
_TYPES: Final = frozenset(
    {
        "float_type",
        "int_type",
        "bool_type",
        "string_type",
        "float_parsing",
        "int_parsing",
        "bool_parsing",
    },
)


def note_invalid(error: ValidationError, shaped: Shaped, model: type[BaseModel]) -> None:
    """Add each thing pydantic refused to the problems and take it out of the data."""
    details = [(locate(one["loc"], model), one) for one in error.errors(include_url=False)]
    inner = [*(one.path for one in shaped.problems.found), *(path for path, _ in details)]
    for path, detail in details:
        # a list or section refused because of what is in it would only be said twice
        consequence = any(len(one) > len(path) and one[: len(path)] == path for one in inner)
        if not consequence and not shaped.problems.cover(path):
            shaped.problems.add(shaped.origin(path), path, _message(detail))
        _remove(shaped.data, path)


def locate(location: tuple[str | int, ...], model: type[BaseModel]) -> Path:
    """Return the configuration path of a pydantic location, which also names union members."""
    path: Path = ()
    target: Any = model
    for part in location:
        if choice := kinds(target):
            target = choice.get(str(part), target)
        elif is_model(target):
            path = (*path, part)
            known = options(target)
            target = peel(known[str(part)].annotation) if part in known else None
        elif get_origin(target) in {tuple, dict}:
            path = (*path, part)
            inner = get_args(target)
            target = peel(inner[0] if get_origin(target) is tuple else inner[1])
    return path


def _message(detail: ErrorDetails) -> str:
    words = _WORDS.get(detail["type"])
    if words is None:
        return f"not valid ({detail['type'].replace('_', ' ')})"
    text = words.format(**detail.get("ctx", {}))
    return f"{text}, got {_kind(detail['input'])}" if detail["type"] in _TYPES else text


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, int | float) else "a string"


def _remove(data: dict[str, Any], path: Path) -> None:
    """Take out the innermost option on the path that is not inside a list."""
    keys = [part for part in path[: _first_index(path)] if isinstance(part, str)]
    holder = data
    for key in keys[:-1]:
        if not isinstance(holder.get(key), dict):
            holder.pop(key, None)
            return
        holder = holder[key]
    holder.pop(keys[-1], None)


def _first_index(path: Path) -> int:
    return next((at for at, part in enumerate(path) if isinstance(part, int)), len(path))
