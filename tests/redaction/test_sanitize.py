"""URLs without ids, statements without literals: the shape stays, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.redaction import sanitize

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("sanitizer", "text", "expected"),
    [
        (sanitize.url, "/a/b", "/a/b"),
        (sanitize.url, "/a/123e4567-e89b-12d3-a456-426614174000/b?x=1", "/a/*/b"),
        (sanitize.url, "a=1&b=2", "a=*&b=*"),
        (sanitize.url, "http://[::1]:80/x1", "http://[::1]:80/*"),
        (sanitize.url, "word", "word"),
        (sanitize.sql, 'SELECT "a1", `b2` FROM t1 WHERE x=$1 AND y=:y', None),
        (sanitize.sql, "INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT INTO t VALUES (?)"),
        (sanitize.sql, "SELECT 1.5e3, 'it''s' -- note", "SELECT ?, ?  "),
        (sanitize.sql, "SELECT $$body 1$$, 'unclosed", "SELECT ?, ?"),
        (sanitize.sql, 'UPDATE t SET n = "Jane \\" Roe" WHERE m IN ("a", "b")',
         "UPDATE t SET n = ? WHERE m IN (?)"),
        (sanitize.sql, 'INSERT INTO t (a) VALUES (1, "Jane", "x""y")',
         "INSERT INTO t (a) VALUES (?)"),
        (sanitize.sql, 'SELECT a FROM t WHERE n LIKE "Jane%" OR n = "Ro',
         "SELECT a FROM t WHERE n LIKE ? OR n = ?"),
        (sanitize.sql, 'SELECT "t"."id" AS "i" FROM "t" WHERE "t"."id" = "u"."id"', None),
        (sanitize.sql, 'SELECT id FROM users u WHERE "userId" > $1 ORDER BY "createdAt"', None),
        (sanitize.sql, 'SELECT * FROM "users" WHERE "name" = "Jane"',
         'SELECT * FROM "users" WHERE "name" = ?'),
        (sanitize.sql, "SELECT a # for Jane Roe\nFROM t #x", "SELECT a  \nFROM t  "),
        (sanitize.sql, "SELECT serial# FROM #tmp JOIN ##all ON #tmp.id = ##all.id", None),
        (sanitize.sql, "SELECT a #>> '{b,c}', d #- $1 FROM t", "SELECT a #>> ?, d #- $1 FROM t"),
        (sanitize.redis, "GET\nMSET a 1\n", "GET\nMSET ?\n"),
        (sanitize.redis, "{odd}", "?"),
        (sanitize.mongo, '{"find": "users", "filter": {"a": [1, null]}}',
         '{"find": "?", "filter": {"a": ["?", "?"]}}'),
        (sanitize.mongo, "no json", "?"),
        (sanitize.mongo, "[" * 600 + "]" * 600, "?"),
    ],
)  # fmt: skip
def test_sanitizers(sanitizer: Callable[[str], str], text: str, expected: str | None) -> None:
    """Scenario: one text. Guarantees: the shape (None: unchanged); again changes nothing."""
    once = sanitizer(text)
    assert once == (text if expected is None else expected)
    assert sanitizer(once) == once


def test_unclosed_brackets_cost_no_more_than_their_length() -> None:
    """Scenario: 1 MB of openings. Guarantees: each is looked at as far as names may be long: if
    each looked through all that follows, it would take more time than a test is given.
    """  # noqa: D205 - the guarantee needs two lines
    assert sanitize.sql("select " + "[a" * 500_000) == "select " + "[a" * 500_000


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="ab1'\"`$.:/?#@&=%-*(),[]{} \n\\<>"))
@pytest.mark.parametrize("name", sorted(sanitize.SANITIZERS))
def test_sanitizing_again_changes_nothing(name: str, text: str) -> None:
    """Scenario: any text of the characters that matter. Guarantees: idempotent."""
    sanitizer = sanitize.SANITIZERS[name]
    once = sanitizer(text)
    assert sanitizer(once) == once
