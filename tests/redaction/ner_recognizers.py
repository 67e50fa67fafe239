"""Presidio recognizers that misbehave, for the workers of named-entity recognition."""

from __future__ import annotations

import os
import time
from typing import Any

from presidio_analyzer import EntityRecognizer, RecognizerResult


class Moody(EntityRecognizer):
    """Finds Ann; raises, hangs, dies or prints if the text says so."""

    def __init__(self) -> None:
        """Know one entity."""
        super().__init__(supported_entities=["PERSON"])

    def load(self) -> None:
        """Load nothing."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: Any = None
    ) -> list[RecognizerResult]:
        """Return where Ann is."""
        del entities, nlp_artifacts
        print(f"looking into {text}")
        if "raise" in text:
            raise ValueError(text)
        if "hang" in text:
            time.sleep(600)
        if "die" in text:
            os._exit(1)
        place = text.find("Ann")
        return [] if place < 0 else [RecognizerResult("PERSON", place, place + 3, 0.9)]
