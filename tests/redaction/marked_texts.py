"""Texts in which what stands between « and » must go, and nothing else.

What goes has a Q, or is a number: no token that redaction writes has one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from processors.redaction import Redactor


def plain(marked: str) -> str:
    """Return the text without the marks."""
    return re.sub("[«»]", "", marked)


def assert_values_go(redactor: Redactor, unscreened: Redactor, marked: str) -> None:
    """Redact alone, again, without a screen and within a log: the values go, nothing else does."""
    text = plain(marked)
    once = redactor.redact_text(text)
    shortened = re.sub(r"<[A-Z_]+(?::[0-9a-f\-]+)?>", "<>", once.text)
    assert shortened == re.sub("(?s)«.*?»", "<>", marked)
    assert once == unscreened.redact_text(text)
    assert redactor.redact_text(once.text).text == once.text
    assert "Q" not in redactor.redact_text(f"ERROR got:\n{text}\nand went on").text
