"""The cases of ``published_cases.yaml``, and the spellings in which a value may come."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import yaml

from config.settings import RedactionSettings
from processors.redaction.redactor import Redactor
from processors.redaction.registry import OWN, predefined

if TYPE_CHECKING:
    from collections.abc import Callable


# In this order everywhere, so that the screen of all of them (20 s) is compiled once.
EVERY_ENTITY: Final = tuple(sorted({*predefined(), *OWN}))


@dataclass(frozen=True)
class Cases:
    """Texts in which the entity is to be found, and texts that have nothing."""

    found: tuple[str, ...]
    clean: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Both."""
        return self.found + self.clean


CASES: Final = {
    entity: Cases(tuple(texts["found"]), tuple(texts["clean"]))
    for entity, texts in yaml.safe_load(
        Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    ).items()
}


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _base64_for_urls(text: str) -> str:
    return base64.urlsafe_b64encode(f"~{text}".encode()).decode().rstrip("=")


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


def _blanks(text: str) -> str:
    return text.replace("-", "\u2011").replace(" ", "\u00a0")


@dataclass(frozen=True)
class Spelling:
    """How a text may be spelled, and what of a value in it must not be found afterwards."""

    spell: Callable[[str], str]
    trace: Callable[[str], str]


SPELLINGS: Final = {
    "plain": Spelling(str, str),
    "JSON value": Spelling(lambda text: json.dumps({"a": [{"b": text}]}), str),
    "JSON key": Spelling(lambda text: json.dumps({text: 1}), str),
    "JSON in JSON": Spelling(lambda text: json.dumps({"a": json.dumps({"b": text})}), str),
    "percent": Spelling(_percent, _percent),
    "percent, reserved only": Spelling(_quoted, _quoted),
    "percent twice": Spelling(
        lambda text: _quoted(_percent(text)), lambda text: _quoted(_percent(text))
    ),
    "in a URL's query": Spelling(
        lambda text: f"https://shop.test/find?q={_quoted(text)}&page=1", _quoted
    ),
    "base64": Spelling(_base64, _base64),
    "base64 for URLs": Spelling(_base64_for_urls, _base64_for_urls),
    "escapes": Spelling(_escaped, _escaped),
    "full width": Spelling(_full_width, _full_width),
    "zero width": Spelling("\u200b".join, "\u200b".join),
    "other blanks and hyphens": Spelling(_blanks, _blanks),
}


@dataclass(frozen=True)
class Planted:
    """A text to plant, and bytes of it that must not be found afterwards."""

    text: str
    trace: bytes


# A shorter value may stand in any number by chance: there the whole text is looked for.
_TELLING: Final = 9


def spelled(text: str, value: str) -> dict[str, Planted]:
    """Return the text in every spelling, by its name; ``value`` is what is to be found in it."""
    made = {}
    for name, spelling in SPELLINGS.items():
        is_whole = len(value) < _TELLING or name.startswith("base64")
        trace = spelling.trace(text if is_whole else value)
        made[name] = Planted(spelling.spell(text), trace.encode())
    return made


def every_entity_spelled() -> dict[str, Planted]:
    """Return one case of each entity in every spelling, by the names of both."""
    made = {}
    for entity, cases in CASES.items():
        text = cases.found[0]
        alone = RedactionSettings(entities=(entity,))
        found = Redactor(alone, screened=False).redact_text(text).findings[0]
        for name, planted in spelled(text, text[found.start : found.end]).items():
            made[f"{entity}, {name}"] = planted
    return made
