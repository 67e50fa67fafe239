"""What the shell offers at the cursor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import duckdb
from prompt_toolkit.completion import Completer, Completion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from storage.sql_vocabulary import Vocabulary

# attributes['http.ro   or   attr(attributes, 'http.ro
_KEY: Final = re.compile(r"""(?:\[|\battr\(\s*[\w."]+\s*,)\s*'([^']*)$""", re.IGNORECASE)
_WORD: Final = re.compile(r"\w*$")
_SCHEMA: Final = re.compile(r"\.schema\s+(\w*)$")


class SqlCompleter(Completer):
    """Offers commands, keywords, tables, columns, macros and, inside ``['…``, attribute keys."""

    def __init__(self, vocabulary: Vocabulary, commands: Iterable[str]) -> None:
        """Offer these words; ``commands`` begin with a dot."""
        self._tables = vocabulary.tables
        self._keys = vocabulary.attribute_keys
        self._commands = tuple(commands)
        columns = {name for names in vocabulary.tables.values() for name in names}
        self._words = {
            **dict.fromkeys(vocabulary.keywords, "keyword"),
            **dict.fromkeys(sorted(columns), "column"),
            **dict.fromkeys(vocabulary.tables, "table"),
            **{f"{name}(": "macro" for name in vocabulary.macros},
        }

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterator[Completion]:
        """Yield what may stand where the cursor is."""
        text = document.text_before_cursor
        if text.startswith("."):
            table = _SCHEMA.match(text)
            if table:
                yield from _starting(table[1], dict.fromkeys(self._tables, "table"))
            else:
                yield from _starting(text, dict.fromkeys(self._commands, "command"))
            return
        key = _KEY.search(text)
        if key:
            yield from _starting(key[1], dict.fromkeys(self._keys, "attribute"))
        elif not _is_literal(text):
            word = _WORD.search(text)
            if word and word[0]:
                yield from _starting(word[0], self._words)


def _starting(typed: str, words: dict[str, str]) -> Iterator[Completion]:
    """Yield the words that begin as typed, columns and tables before keywords."""
    found = [word for word in words if word.lower().startswith(typed.lower())]
    for word in sorted(found, key=lambda one: (words[one] == "keyword", one)):
        text = f'"{word}"' if words[word] == "column" and "." in word else word
        text = text.replace("'", "''") if words[word] == "attribute" else text
        yield Completion(text, start_position=-len(typed), display=word, display_meta=words[word])


def sql_tokens(text: str) -> list[tuple[str, object]]:
    """Return each token of SQL, up to where the next one begins, and its ``duckdb.token_type``."""
    raw = text.encode(errors="replace")  # DuckDB counts bytes
    found = duckdb.tokenize(raw.decode())
    ends = [*(start for start, _ in found[1:]), len(raw)]
    return [(raw[start:end].decode(), kind) for (start, kind), end in zip(found, ends, strict=True)]


def _is_literal(text: str) -> bool:
    """Return whether the text ends inside a string or a comment."""
    tokens = sql_tokens(text)
    if not tokens:
        return False
    last, kind = tokens[-1]
    if kind == duckdb.token_type.comment:
        return "\n" not in last if last.startswith("--") else not last.endswith("*/")
    is_closed = len(last) > 1 and last.endswith(("'", "$$"))
    return bool(kind == duckdb.token_type.string_const and not is_closed)
