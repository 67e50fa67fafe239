"""Renders the reference from the settings themselves: the Markdown page and ``default.yaml``.

``python -m config.reference > docs/configuration.md`` and
``python -m config.reference default.yaml > config/default.yaml``; tests hold both to the code.
"""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from pydantic import SecretStr

from config.rendering import to_yaml, written
from config.settings import ClearspanSettings
from config.shape import is_model, kinds, options, peel
from config.types import parse_column, parse_duration, parse_endpoint, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_INTRO: Final = """\
# Configuration

<!-- Made by `python -m config.reference` from the settings' own descriptions; a test holds it. -->

clearspan needs no configuration: without one it listens on 127.0.0.1, keeps every span and writes
to `./clearspan-data`. A file has the OpenTelemetry Collector's shape. `clearspan validate` checks
one, `clearspan print-config` shows what is in effect, `config/default.yaml` holds every default,
and `config/examples/` has files to start from.

## How it is put together

- **Files and overrides.** `--config FILE` may be repeated, and `--set a.b.c=value` (the value is
  YAML) comes last. Later ones lie on top: maps merge key by key, lists are replaced whole. A key
  that is no plain word is quoted: `--set 'processors."shop.spans:DropHealth".routes=[/live]'`.
- **References** in values: `${env:VAR}`, `${env:VAR:-default}` (where VAR is not set),
  `${file:PATH}` (the file's text without its last newline), and `$$` for a dollar sign. A value
  that is nothing but one reference gets the type YAML sees in it, except where the option is a
  string. What a reference brings is not searched for references again.
- **Empty sections** (`grpc:` with nothing under it) stand for their defaults, and an empty option
  is as if it were left out. Over an earlier file an empty section changes nothing and an empty
  option restores the default.
- **Protocols.** A file that names only `grpc` or only `http` under `protocols` turns the other
  off, as in the Collector. `--set` of one protocol's option leaves the other as it is.
- **Units.** A duration is `500ms`, `30s`, `5m`, `1h30m`, `7d` or a number of seconds; a size is
  `512KiB`, `64MiB`, `1GB` or a number of bytes; an endpoint is `host:port`, IPv6 in brackets,
  port 0 for one that the system chooses.
- **Mistakes.** All are reported at once, one a line, as `file:line:column: path: what is wrong`,
  and nothing is started (exit code 2). A value is never printed, since it may be a secret.

Beyond each option's own type: the pipeline's first processor is `redaction`, no name is used
twice, a `cost` policy needs `cost` before `tail_sampling`, and two endpoints cannot be the same.

## A processor of your own

Name it as `module:Class` in `service.pipelines.traces.processors`, anywhere after `redaction`, and
give its options under the same name in `processors`; `config/examples/custom-processor.yaml` shows
one. In `print-config` its options that came through a reference, or whose names sound like a
credential (`api_key`, `token`), are hidden.

## Options
"""


def render_markdown() -> str:
    """Return ``docs/configuration.md``."""
    return _INTRO + "".join(_sections(ClearspanSettings, ""))


def render_default_yaml() -> str:
    """Return ``config/default.yaml``: every option at its default, its description above it."""
    head = "# Every option at its default; a file of your own needs only what differs.\n"
    return head + "\n".join(_lines(ClearspanSettings(), 0)) + "\n"


def _sections(model: type[BaseModel], path: str) -> Iterator[str]:
    fields = options(model)
    inner = {key: peel(info.annotation) for key, info in fields.items()}
    if path:
        yield f"\n### `{path}`\n\n{_prose(model)}\n"
    rows = [
        f"| `{key}` | {_type(info)} | {_default(info)} | {_escaped(info)} |\n"
        for key, info in fields.items()
        if not is_model(inner[key])
    ]
    if rows:
        yield "\n| option | takes | default | what it does |\n|---|---|---|---|\n" + "".join(rows)
    for key, target in inner.items():
        below = f"{path}.{key}" if path else key
        if is_model(target):
            yield from _sections(target, below)
        elif get_origin(target) is dict and hasattr(get_args(target)[1], "short_form"):
            yield from _sections(get_args(target)[1], f"{below}.ENTITY")
        elif get_origin(target) is tuple:
            one = peel(get_args(target)[0])
            if is_model(one):
                yield from _sections(one, f"{below}[]")
            for kind, member in kinds(one).items():
                # sub-policies are the same kinds again; the first list has told them all
                if not path.endswith(".and"):
                    yield from _sections(member, f"{below}[type: {kind}]")


def first_sentence(model: type[BaseModel]) -> str:
    """Return what a section is for, in one line."""
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _prose(model: type[BaseModel]) -> str:
    return textwrap.fill(" ".join((model.__doc__ or "").split()), width=100)


def _type(info: FieldInfo) -> str:
    validators = {getattr(one, "func", None): one for one in info.metadata}
    for parser, words in (
        (parse_duration, "duration"),
        (parse_size, "size"),
        (parse_endpoint, "endpoint"),
        (parse_column, "column name"),
    ):
        if parser in validators:
            return words
    return _words(peel(info.annotation)) + _range(info)


def _escaped(info: FieldInfo) -> str:
    """Return the description as Markdown: `<ENTITY>` outside code is not HTML."""
    parts = str(info.description).split("`")
    parts[::2] = [text.replace("<", "\\<") for text in parts[::2]]
    return "`".join(parts)


def _words(target: Any) -> str:
    if get_origin(target) is Literal:
        return ", ".join(f"`{one}`" for one in get_args(target))
    if get_origin(target) is tuple:
        return f"list of {_words(peel(get_args(target)[0]))}"
    if short := getattr(target, "short_form", ""):
        return f"{_words(peel(options(target)[short].annotation))} or a map of options"
    if get_origin(target) is dict:
        return f"map to {_words(peel(get_args(target)[1]))}"
    if kinds(target) or is_model(target):
        return "policies" if kinds(target) else "maps of options"
    names = {str: "text", SecretStr: "secret text", bool: "true or false", int: "whole number"}
    return names.get(target, "number")


def _range(info: FieldInfo) -> str:
    bounds = {
        name: getattr(one, name)
        for one in info.metadata
        for name in ("ge", "gt", "le")
        if getattr(one, name, None) is not None
    }
    words = {"ge": "at least", "gt": "more than", "le": "at most"}
    return "".join(f", {words[name]} {bound:.12g}" for name, bound in bounds.items())


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = written(info.get_default(call_default_factory=True), info)
    if value in (None, "", [], {}):
        return "none"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _lines(section: BaseModel, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, info in options(type(section)).items():
        value = getattr(section, key)
        if is_model(peel(info.annotation)):
            if not depth:
                yield ""
            yield f"{indent}# {info.description}"
            yield f"{indent}{key}:"
            yield from _lines(value, depth + 1)
            continue
        room = 98 - len(indent)
        yield from (f"{indent}# {line}" for line in textwrap.wrap(str(info.description), room))
        text = to_yaml({key: written(value, info)}).rstrip("\n")
        yield textwrap.indent(text, indent)


if __name__ == "__main__":
    wanted = sys.argv[1:] == ["default.yaml"]
    sys.stdout.write(render_default_yaml() if wanted else render_markdown())
