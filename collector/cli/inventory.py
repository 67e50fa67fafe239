"""``clearspan components``: everything a configuration can name, in one line each."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final, Literal, get_args

from config.reference import first_sentence
from config.sampling import Policy
from config.settings import (
    ExportersSettings,
    ExtensionsSettings,
    Operator,
    ReceiversSettings,
)
from config.shape import kinds, options, peel
from processors.registry import PROCESSORS, SAMPLERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

ENTITIES: Final[Mapping[str, str]] = {
    "EMAIL_ADDRESS": "Email addresses, also of internal domains.",
    "CREDIT_CARD": "Card numbers with a valid check digit.",
    "IBAN_CODE": "International bank account numbers with a valid check.",
    "US_SSN": "US social security numbers.",
    "PHONE_NUMBER": "Telephone numbers that their country's plan allows.",
    "CRYPTO": "Bitcoin addresses with a valid checksum.",
    "SECRET": "API keys, tokens, passwords in URLs and the like.",
}
OPERATORS: Final[Mapping[Operator, str]] = {
    "replace": "Puts <ENTITY> in its place.",
    "mask": "Puts * for all characters but some, never fewer than half.",
    "hmac": "Puts <ENTITY:token> in its place, the same token for the same value.",
    "remove": "Puts nothing in its place.",
    "keep": "Counts it and leaves it as it is.",
}


def inventory() -> dict[str, dict[str, str]]:
    """Return the components by kind: their names and what each does."""
    return {
        "receivers": _sections(ReceiversSettings),
        "processors": {kind.name: kind.description for kind in (*PROCESSORS, *SAMPLERS)}
        | {"module:Class": "A processor of your own, anywhere after redaction."},
        "exporters": _sections(ExportersSettings),
        "extensions": _sections(ExtensionsSettings),
        "redaction entities": dict(ENTITIES) | _of_presidio(),
        "redaction operators": {name: OPERATORS[name] for name in get_args(Operator)},
        "sampling policies": {
            name: first_sentence(model) for name, model in kinds(peel(Policy)).items()
        },
    }


def print_components(form: Literal["table", "json"]) -> None:
    """Write the inventory to stdout."""
    kinds_of = inventory()
    if form == "json":
        text = json.dumps(kinds_of, indent=2) + "\n"
    else:
        width = max(len(name) for names in kinds_of.values() for name in names)
        text = "\n".join(
            f"{kind}\n" + "".join(f"  {name:<{width}}  {what}\n" for name, what in names.items())
            for kind, names in kinds_of.items()
        )
    sys.stdout.write(text)
    sys.stdout.flush()


def _of_presidio() -> dict[str, str]:
    from processors.redaction.registry import predefined  # noqa: PLC0415 - loads Presidio: 0.6 s

    return {
        entity: f"Presidio's {' and '.join(kind.__name__ for kind in recognizers)}."
        for entity, recognizers in sorted(predefined().items())
        if entity not in ENTITIES
    }


def _sections(model: type[BaseModel]) -> dict[str, str]:
    return {key: first_sentence(peel(info.annotation)) for key, info in options(model).items()}
