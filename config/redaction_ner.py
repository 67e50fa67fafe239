"""Settings of named-entity recognition: names, places and organisations in running text."""

from __future__ import annotations

from pydantic import Field, model_validator

from config.base import Settings
from config.types import Duration

_WITHOUT_MODEL = "none"


class NerSettings(Settings):
    """Finds names in prompts and completions with a model that you installed."""

    engine: str = Field(
        _WITHOUT_MODEL,
        pattern=r"^(none|spacy|gliner|transformers|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$",
        description="`spacy`, `gliner`, `transformers`, or a Presidio recognizer of your own as "
        "`module:Class`; `none` is off. Nothing is downloaded: package and model must be there.",
    )
    model: str = Field(
        "",
        description="Name of an installed spaCy package, or the directory of a model.",
    )
    entities: tuple[str, ...] = Field(
        ("PERSON", "LOCATION", "ORGANIZATION"),
        min_length=1,
        description="What to look for.",
    )
    keys: tuple[str, ...] = Field(
        (),
        description="Attribute keys (globs) whose values are looked into, beside those of prompts "
        "and completions.",
    )
    workers: int = Field(1, ge=1, le=16, description="Processes, each with a model of its own.")
    timeout: Duration = Field(
        10.0,
        gt=0,
        description="A value that takes longer is cut whole.",
    )
    start_timeout: Duration = Field(120.0, gt=0, description="How long a model may take to load.")

    @property
    def is_on(self) -> bool:
        """Whether there is a model to ask."""
        return self.engine != _WITHOUT_MODEL

    @model_validator(mode="after")
    def _has_a_model(self) -> NerSettings:
        if self.engine in {"spacy", "gliner", "transformers"} and not self.model:
            raise ValueError(f"engine {self.engine} needs a model")
        return self
