"""What was found in a string, and how overlapping finds become cuts."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Finding:
    """One find: entity, character offsets (end exclusive), Presidio score 0..1 and rule name.

    ``is_union`` tells that finds of other entities overlapped with it and are covered.
    """

    entity: str
    start: int
    end: int
    score: float
    rule: str
    is_union: bool = False


class RedactionFailedError(Exception):
    """A recognizer failed on a string: the string is replaced whole. Never leaves this package."""


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """Return disjoint findings in text order: the union of overlaps, named by the strongest.

    The strongest has the highest score, then the greatest length, so the order in which
    recognizers ran does not matter.
    """
    ordered = sorted(findings, key=lambda f: (f.start, -f.end, -f.score, f.entity, f.rule))
    merged: list[Finding] = []
    for found in ordered:
        last = merged[-1] if merged else None
        if last is None or found.start >= last.end:
            merged.append(found)
            continue
        strongest = max(last, found, key=_strength)
        end = max(last.end, found.end)
        union = last.is_union or last.entity != found.entity
        merged[-1] = Finding(
            strongest.entity, last.start, end, strongest.score, strongest.rule, union
        )
    return merged


def _strength(finding: Finding) -> tuple[float, int, str]:
    return (finding.score, finding.end - finding.start, finding.entity)


def outside_tokens(text: str, findings: list[Finding], token: re.Pattern[str]) -> list[Finding]:
    """Drop findings that cover nothing but tokens; stretch those that cut through one.

    ``token`` matches what redaction itself writes. Without this, a second pass could find a card
    number in the digits of a token and the result would not be stable.
    """
    if not findings or "<" not in text:
        return findings
    spans = [match.span() for match in token.finditer(text)]
    if not spans:
        return findings
    starts, ends = zip(*spans, strict=True)
    kept = []
    for found in findings:
        start, end = found.start, found.end
        rest = []
        position = start
        for token_start, token_end in spans[bisect_right(ends, start) : bisect_left(starts, end)]:
            rest.append(text[position : max(position, token_start)])
            position = token_end
            start, end = min(start, token_start), max(end, token_end)
        rest.append(text[position : found.end])
        if any(character.isalnum() for part in rest for character in part):
            kept.append(Finding(found.entity, start, end, found.score, found.rule))
    return kept
