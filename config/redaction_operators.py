"""What stands in place of what was found, by entity: the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import Field, model_validator

from config.base import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

Operator = Literal["replace", "mask", "hmac", "remove", "keep"]
# CONTENT goes by the option `content`; REDACTED stands where redaction itself failed.
_NOT_TO_CHOOSE: Final = ("CONTENT", "REDACTED")


class OperatorSettings(Settings):
    """How one entity is replaced; its type alone may stand for all (`EMAIL_ADDRESS: hmac`)."""

    short_form: ClassVar[str] = "type"

    type: Operator = Field(
        description="`replace`: <ENTITY>; `mask`: some characters; `hmac`: a token that joins; "
        "`remove`: nothing; `keep`: found and counted, but left as it is.",
    )
    keep_first: int = Field(0, ge=0, le=16, description="Characters `mask` keeps at the beginning.")
    keep_last: int = Field(4, ge=0, le=16, description="Characters `mask` keeps at the end.")
    character: Literal["*", "#", "x", "X"] = Field(
        "*", description="What `mask` writes for each other character."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_type(cls, given: Any) -> Any:
        return {cls.short_form: given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _fits_the_type(self) -> OperatorSettings:
        if self.type != "mask" and self.model_fields_set != {"type"}:
            raise ValueError(f"keep_first, keep_last and character are for mask, not {self.type}")
        return self


def default_operators() -> dict[str, OperatorSettings]:
    """Return the operators where none are set."""
    return {
        "DEFAULT": OperatorSettings(type="replace"),
        "IDENTITY": OperatorSettings(type="hmac"),
    }


def check_operators(operators: Mapping[str, OperatorSettings]) -> None:
    """Raise ValueError for an operator where it would be a mistake."""
    if "DEFAULT" in operators and operators["DEFAULT"].type == "keep":
        raise ValueError("keep is for one entity by its name, not for DEFAULT")
    for entity in _NOT_TO_CHOOSE:
        if entity in operators:
            raise ValueError(f"{entity} has no operator")
