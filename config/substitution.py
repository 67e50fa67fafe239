"""``${env:VAR}``, ``${env:VAR:-default}``, ``${file:PATH}`` and ``$$`` in configured strings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE: Final = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BadReferenceError(Exception):
    """A reference that cannot be resolved; the message names it, never a value."""


@dataclass(frozen=True, slots=True)
class Expanded:
    """The text after substitution.

    ``referred`` says that something came from outside the file; ``whole`` that nothing else did.
    """

    text: str
    referred: bool
    whole: bool


def expand(text: str, environ: Mapping[str, str]) -> Expanded:
    """Return ``text`` with its references replaced, once: what they bring is not looked at again.

    Raises ``BadReferenceError`` for a variable that is not set and has no default, a file that
    cannot be read, and anything in ``${...}`` that is neither.
    """
    matches = list(_REFERENCE.finditer(text))
    references = [match for match in matches if match[0] != "$$"]
    whole = len(matches) == len(references) == 1 and references[0][0] == text

    def replacement(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else _resolve(match, environ)

    return Expanded(_REFERENCE.sub(replacement, text), bool(references), whole)


def _resolve(match: re.Match[str], environ: Mapping[str, str]) -> str:
    body, closed = match[1], match[2]
    if not closed:
        raise BadReferenceError("'${' has no closing '}'; write $$ for a plain dollar sign")
    if "${" in body:
        raise BadReferenceError("a reference inside a reference is not supported")
    scheme, _, rest = body.partition(":")
    if scheme == "env":
        return _variable(rest, environ)
    if scheme == "file":
        return _file(rest)
    raise BadReferenceError(
        "a reference is written ${env:VAR}, ${env:VAR:-default} or ${file:PATH}"
    )


def _variable(rest: str, environ: Mapping[str, str]) -> str:
    name, has_default, default = rest.partition(":-")
    if _VARIABLE.fullmatch(name) is None:
        raise BadReferenceError("${env:...} needs the name of a variable")
    if name in environ:
        return environ[name]
    if not has_default:
        raise BadReferenceError(
            f"environment variable {name} is not set (${{env:{name}:-default}} gives a default)",
        )
    return default


def _file(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise BadReferenceError(f"file {name} cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or a NUL in the path
        raise BadReferenceError(f"file {name} cannot be read as UTF-8 text") from error
