"""Redaction as a careful user would write it for rotel's Python processor: `re`, span by span.

The same kinds of value as clearspan's default entities, over span names, string attributes and
event attributes; nothing else clearspan does (resource, scope, links, nested values, status
messages, prices, storage) is done here. The secret rules are a short list in few expressions,
which favours this side. Loaded by ``rotel-agent start --otlp-with-trace-processor``; rotel calls
``process_spans`` once per resource of a request.
"""

from __future__ import annotations

import re
from typing import Any, Final

PATTERNS: Final = (
    (
        "<EMAIL_ADDRESS>",
        re.compile(r"\b(?<![\w.+-])[\w.+-]+(?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
    ),
    ("<CREDIT_CARD>", re.compile(r"\b(?:4\d{3}|5[1-5]\d\d|6\d{3}|3[47]\d\d)(?:[- ]?\d{3,4}){3}\b")),
    ("<IBAN_CODE>", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("<US_SSN>", re.compile(r"\b\d{3}[- .]\d{2}[- .]\d{4}\b")),
    ("<PHONE_NUMBER>", re.compile(r"(?<!\w)(?:\+\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b")),
    ("<CRYPTO>", re.compile(r"\b(?:bc1|[13])[a-zA-HJ-NP-Z0-9]{25,59}\b")),
    (
        "<SECRET>",
        re.compile(
            r"\b(?:sk-[\w-]{20,}|gh[pousr]_\w{36}|AKIA[0-9A-Z]{16}|xox[abpr]-[\w-]{10,}|"
            r"AIza[\w-]{35}|[rs]k_(?:live|test)_\w{16,}|glpat-[\w-]{20}|gsk_\w{20,}|"
            r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)",
        ),
    ),
    (
        "<SECRET>",
        re.compile(
            r"(?i)\b(?:api[_-]?key|access[_-]?token|password|passwd|secret|bearer|basic)"
            r"[\"']?\s*[:= ]\s*[\"']?[\w.~+/=-]{8,}",
        ),
    ),
    ("<SECRET>", re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")),
)


def redact(text: str) -> str:
    """Return the text with every match replaced."""
    for replacement, pattern in PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def process_spans(resource_spans: Any) -> None:
    """Redact one resource's spans in place."""
    for scope_spans in resource_spans.scope_spans:
        for span in scope_spans.spans:
            name = span.name
            clean = redact(name)
            if clean != name:
                span.name = clean
            _redact_attributes(span.attributes)
            for event in span.events:
                _redact_attributes(event.attributes)


def _redact_attributes(attributes: Any) -> None:
    for attribute in attributes:
        value = attribute.value
        text = value.value
        if isinstance(text, str):
            clean = redact(text)
            if clean != text:
                value.string_value = clean
