"""Removes PII and secrets from every string of a span; start reading at ``processor``."""

from processors.redaction.findings import Finding
from processors.redaction.operators import forgets_its_key, tokens_of
from processors.redaction.processor import RedactionProcessor
from processors.redaction.redactor import RedactedText, Redactor, findable_entities

__all__ = [
    "Finding",
    "RedactedText",
    "RedactionProcessor",
    "Redactor",
    "findable_entities",
    "forgets_its_key",
    "tokens_of",
]
