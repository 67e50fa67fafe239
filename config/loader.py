"""Loads the settings: files, then overrides, laid over the defaults; all that is wrong at once.

The way of a configuration: ``sources`` reads each file into a ``tree`` that remembers lines
(``substitution`` resolves its references), the trees are merged, ``shape`` fits the result to the
settings' types, pydantic checks the values (``explain`` puts its findings into words), and
``rules`` checks what must hold between options.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final, get_args

from pydantic import ValidationError

from config.explain import note_invalid
from config.redaction import Profile
from config.rules import broken_rules
from config.settings import ClearspanSettings
from config.shape import Shaped, shape
from config.sources import read_file, read_override
from config.tree import Branch, Leaf, Node, Origin, Path, Problems, is_null, merge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PROTOCOLS: Final = ("receivers", "otlp", "protocols")
_PROFILES: Final = FilePath(__file__).parent / "profiles"
_BOTH_PROTOCOLS: Final = "receivers.otlp.protocols={grpc: , http: }"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and the paths of values that came through a reference (not to be shown)."""

    settings: ClearspanSettings
    outside: frozenset[Path]


def load_settings(
    files: Sequence[FilePath],
    overrides: Sequence[str],
    environ: Mapping[str, str],
) -> ClearspanSettings:
    """Return the settings from YAML files and ``a.b.c=value`` overrides, later ones on top.

    Maps merge key by key, lists are replaced. With neither, all is at its default. Raises
    ``ConfigError`` with one line for every problem: source, line, column, path, what is wrong.
    """
    return load(files, overrides, environ).settings


def load(
    files: Sequence[FilePath],
    overrides: Sequence[str],
    environ: Mapping[str, str],
) -> Loaded:
    """Return the settings as ``load_settings``, and what of them came through references."""
    problems = Problems()
    tree = Branch({}, {}, Origin(str(files[0]) if files else "defaults"))
    for file in files:
        tree = _over(tree, read_file(file, environ, problems))
    for argument in overrides:
        # An option of one protocol must not turn the other off: naming protocols is for files.
        if argument.startswith(".".join(_PROTOCOLS) + ".") and not _names_protocols(tree):
            tree = _over(tree, read_override(_BOTH_PROTOCOLS, environ, problems))
        tree = _over(tree, read_override(argument, environ, problems))
    tree = _over(_profile(tree, problems), tree)
    shaped = shape(tree, ClearspanSettings, problems)
    settings = _validated(shaped)
    if settings is not None:
        for path, message in broken_rules(settings):
            if not problems.cover(path):
                problems.add(shaped.origin(path), path, message)
    problems.raise_if_any()
    if settings is None:  # pragma: no cover - a refusal is always a problem
        raise AssertionError
    return Loaded(settings, frozenset(shaped.outside))


def _profile(tree: Branch, problems: Problems) -> Branch:
    """Return the tree of the redaction profile that is asked for; what is none is found later."""
    node: Node | None = tree
    for key in ("processors", "redaction", "profile"):
        node = node.entries.get(key) if isinstance(node, Branch) else None
    if isinstance(node, Leaf) and node.value in get_args(Profile):
        return read_file(_PROFILES / f"{node.value}.yaml", {}, problems)
    return Branch({}, {}, tree.origin)


def _validated(shaped: Shaped) -> ClearspanSettings | None:
    """Return settings of what is usable in the data, so that the rules can be checked as well.

    Each round takes the refused options out; a second is needed only where removing one shows
    another, so the bound is never met in earnest.
    """
    for _ in range(10):
        try:
            return ClearspanSettings.model_validate(shaped.data)
        except ValidationError as error:
            note_invalid(error, shaped, ClearspanSettings)
    return None


def _over(below: Branch, above: Branch) -> Branch:
    merged = merge(below, above)
    return merged if isinstance(merged, Branch) else below


def _names_protocols(tree: Branch) -> bool:
    for key in _PROTOCOLS:
        inner = tree.entries.get(key)
        if inner is None or is_null(inner) or not isinstance(inner, Branch):
            return False
        tree = inner
    return bool(tree.entries)
