"""Removes PII and secrets from every string of a span; start reading at ``processor``."""

from processors.redaction.findings import Finding
from processors.redaction.operators import tokens_of
from processors.redaction.processor import RedactionProcessor
from processors.redaction.redactor import RedactedText, Redactor

__all__ = ["Finding", "RedactedText", "RedactionProcessor", "Redactor", "tokens_of"]
