"""Writes settings as a config file has them: units, secrets hidden, optionally with comments."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, SecretStr
from ruamel.yaml import YAML

from config.shape import options
from config.types import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic.fields import FieldInfo

    from config.tree import Path

HIDDEN: Final = "****"
_CREDENTIAL_WORDS: Final = ("password", "passwd", "secret", "token", "key", "credential", "auth")
_DURATION_UNITS: Final = (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001))
_SIZE_UNITS: Final = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def format_duration(seconds: float) -> str | float:
    """Return the duration in the largest unit that it is a short number of: ``7d``, ``25ms``.

    One that has none stays a number, which is read as seconds.
    """
    for unit, length in _DURATION_UNITS:
        text = f"{seconds / length:.3f}".rstrip("0").rstrip(".") + unit
        if seconds >= length and parse_duration(text) == seconds:
            return text
    return seconds or "0s"


def format_size(size_bytes: int) -> str | int:
    """Return the size in the largest binary unit that divides it, else the number of bytes."""
    for unit, length in _SIZE_UNITS:
        if size_bytes and size_bytes % length == 0:
            return f"{size_bytes // length}{unit}"
    return size_bytes


def written(value: Any, info: FieldInfo) -> Any:
    """Return an option's value as a file would have it: with units, a secret as ``****``."""
    if isinstance(value, SecretStr):
        return HIDDEN
    validators = {getattr(one, "func", None) for one in info.metadata}
    if parse_duration in validators:
        return format_duration(value)
    if parse_size in validators:
        return format_size(value)
    return plain(value)


def plain(value: Any, outside: Collection[Path] = (), path: Path = ()) -> Any:
    """Return settings (or a part of them) as maps, lists and scalars in the shape of a file.

    ``outside`` are paths of values that came through references: in a user processor's options,
    whose secrets have no type to tell them by, those are hidden, and so are keys like ``api_key``.
    """
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, BaseModel):
        short = getattr(value, "short_form", "")
        if short and value.model_fields_set == {short}:
            return getattr(value, short)
        shown = {
            key: plain(one, outside, (*path, key))
            if isinstance(one, BaseModel)
            else written(one, info)
            for key, info in options(type(value)).items()
            for one in [_field(value, key)]
            if one is not None or not getattr(value, "unnamed_is_off", False)
        }
        extra = value.model_extra or {}
        return shown | {key: _hidden(one, outside, (*path, key)) for key, one in extra.items()}
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return _escaped(value)


def to_yaml(data: Any) -> str:
    """Return plain data as YAML, in the order given."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _null)
    text = io.StringIO()
    yaml.dump(data, text)
    return text.getvalue()


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _field(section: BaseModel, key: str) -> Any:
    name = next(
        name for name, info in type(section).model_fields.items() if (info.alias or name) == key
    )
    return getattr(section, name)


def _hidden(value: Any, outside: Collection[Path], path: Path) -> Any:
    """Return a user processor's options without what may be a secret."""
    if path in outside:
        return HIDDEN
    if isinstance(value, dict):
        return {key: _hidden(one, outside, (*path, key)) for key, one in value.items()}
    if isinstance(value, list):
        return [_hidden(one, outside, (*path, at)) for at, one in enumerate(value)]
    key = str(next((part for part in reversed(path) if isinstance(part, str)), "")).lower()
    return HIDDEN if any(word in key for word in _CREDENTIAL_WORDS) else _escaped(value)


def _escaped(value: Any) -> Any:
    """Return a string so that it comes back as it is when the file is read."""
    return value.replace("$", "$$") if isinstance(value, str) else value
