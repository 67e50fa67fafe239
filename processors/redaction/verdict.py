"""What redaction decided about one string."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

BY_KEY = "whole value"
"""The rule where the value was not looked into: its key decided."""


class Found(NamedTuple):
    """What was found, and the rule that found it."""

    entity: str
    rule: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The text to write instead, and what was found; a clean string has None.

    If ``is_cut`` is false all that was found is to be kept: ``text`` is the string itself.
    """

    text: str
    found: tuple[Found, ...]
    is_cut: bool = True
