"""What a database was given does not stay where text repeats it."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import RedactionSettings
from processors.redaction import Redactor
from tests.redaction.marked_texts import assert_values_go, plain

BOUND: Final = {
    "PostgreSQL's row": "ERROR\nDETAIL:  Failing row contains («1, Q, Q (Q), 1»).\nx",
    "a row in a repr": "('DETAIL:  Failing row contains («1, Q»).\\n')",
    "PostgreSQL's log": "DETAIL:  parameters: $1 = '«Qa, Q»', $2 = NULL, $3 = '«Q''s»' x",
    "SQLAlchemy": "UPDATE u SET n=? WHERE id=?]\n[parameters: ('«Q»', «7», None)]\n(e/gkpj)",
    "SQLAlchemy's many": "[parameters: [('«Q»', b'«Q»'), (\"«Q'Q»\",)]] (Background",
    "SQLAlchemy's names": "[parameters: {'n': '«Q»', 'id_1': «7»}]",
    "SQLAlchemy's log": "[generated in 0.00007s] ('«Q»', \"«It's Q»\")\n[raw sql] ()\n"
    "[cached since 0.1s ago (insertmanyvalues) 1/10] [('«Q»', '«x ... (9 truncated) ... Q»')]",
    "MyBatis": "DEBUG ==> Parameters: «Qa, (Q)»(String), null, «7»(Integer)\n<==    Total: 1",
    "EF Core": "(2ms) [Parameters=[@p0='«Qa»' (Size = 40), @p1='«7»'], CommandType='Text']",
    "TypeORM": 'query: SELECT 1 WHERE n = $1 -- PARAMETERS: ["«Q»",«7»]',
    "Django": "(0.001) SELECT 1 WHERE n = %s; args=('«Q»', «7»)",
    "Hibernate 6": "binding parameter (1:VARCHAR) <- [«Q, Q»]\nbinding parameter (2:INT) <- [«7»]",
    "Hibernate 5": "TRACE binding parameter [1] as [VARCHAR] - [«Q [Q]»]",
    "INSERT": "INSERT INTO users (id, username, age, last_name) VALUES (1, '«Q»', 33, '«O''Q»')",
    "rows": 'insert into "u" ("first_name", "n")\nvalues (\'«Q»\', \'a\'), (upper("«Q»"), 4) '
    'on conflict ("id") do nothing',
    "MySQL's insert": "INSERT IGNORE INTO `u` (`n`, `user_id`) VALUE (f('a', 2), «42»); SELECT 'b'",
    "PostgreSQL's quotes": "DETAIL:  Parameters: $1 = '«(Q,''x'')»', $2 = '«Q\\»', $3 = '«Q\nQ»'",
    "quotes in a repr": "'parameters: $1 = \\'«Qa\\'\\'Q»\\', $2 = \\'«Q\\n»\\''",
    "a row over lines": "Failing row contains («1, Qa\nQb, 3»).\nSTATEMENT:  x\n(y).",
    "a dialect": "[dialect a+b does not support caching 0.0002s] ('«Q»',)",
    "a batch": "[insertmanyvalues 2/10 (ordered)] ('«Q»',)",
    "MyBatis over lines": "==> Parameters: «Qa\nQb»(String), «7»(Integer)\n<==    Total: 1(a)",
    "Hibernate over lines": "binding parameter (1:VARCHAR) <- [«Qa\nQb»]\nx [y]\n",
    "Hibernate's results": "extracted value ([n1_0_] : [VARCHAR]) - [«Q»]\n"
    "extracted value (2:VARCHAR) -> [«Q»]",
    "EF Core over lines": "[Parameters=[@p0='«Qa\nQ''b»' (Size = 40), @p1='«7»' (Scale = 1)], x",
    "in a schema": 'INSERT INTO "my s"."u" AS u ("username") VALUES (\'«Q»\')',
    "indented": f"INSERT INTO u\n{' ' * 12}(id, username)\n{' ' * 12}VALUES (1,\n  '«Q»')",
    "in a repr": "'\\nINSERT INTO u (\\n id,\\n  username)\\n"
    "VALUES (1, \\'«Q»\\'),\\n(2, \\'«Q\\nQ»\\')'",
    "SQLite": "INSERT OR REPLACE INTO u (username) VALUES ('«Q»')",
    "MySQL's replace": "REPLACE INTO u (id, username) VALUES ROW(1, '«Q»'), ROW(2, '«Q»')",
    "SQL Server": "INSERT [dbo].[my u] ([id], [username]) OUTPUT x VALUES (1, N'«Q»')",
    "literals over lines": "INSERT INTO u (n, username) VALUES ('a\nb', '«Q»'), ('c', '«Qa\nQb»')",
    "SQL nobody escaped": "INSERT INTO u (username, n) VALUES ('«O'Q»', 1)",
    "a column": "Incorrect string value: '«Q»' for column 'first_name' at row 1",
    "a column with its table": "Incorrect integer value: '«Q»' for column `s`.`u`.`user_id`",
}  # fmt: skip
LEFT: Final = [
    "INSERT INTO users (id, username) VALUES ($1, $2) RETURNING id",
    "SELECT 1 [generated in 0.1s] ()", "==> Parameters: null\nx",
    "please insert text (the username) with value (see above)",
    "replace x (username) by values (a)",
    "INSERT INTO orders (id, state) VALUES (1, 'open')",
    "insert into the form (username and password) values you like",
    "the row contains (of course) values", "parameters: ('a', 'b')", "args=('a', 1)",
    "{'name': 'f', 'parameters': {'type': 'object', 'required': ['a']}}",
    "Incorrect string value: 'x' for column 'state'", "[parameters: ()]",
]  # fmt: skip
# A value needs what is behind it there
UNCUT: Final = {"a column", "a column with its table"}


@pytest.mark.parametrize("notation", BOUND)
def test_what_was_bound_goes(redactor: Redactor, unscreened: Redactor, notation: str) -> None:
    """Scenario: each notation, alone and within a log. Guarantees: values go, nothing else does."""
    assert_values_go(redactor, unscreened, BOUND[notation])


@pytest.mark.parametrize("text", LEFT)
def test_other_statements_stay(redactor: Redactor, unscreened: Redactor, text: str) -> None:
    """Scenario: placeholders, other columns, prose, schemas of tools. Guarantees: unchanged."""
    assert redactor.redact_text(text).text == text
    assert unscreened.redact_text(text).text == text


@pytest.mark.parametrize("notation", sorted(set(BOUND) - UNCUT))
def test_cut_off_anywhere(redactor: Redactor, notation: str) -> None:
    """Scenario: a text cut behind every character. Guarantees: nothing of a value stays."""
    text = plain(BOUND[notation])
    for end in range(1, len(text) + 1):
        assert "Q" not in redactor.redact_text(text[:end]).text, text[:end]


def test_a_value_has_one_token_everywhere(redactor: Redactor) -> None:
    """Scenario: a name as attribute, parameter and in a row. Guarantees: they join."""
    token = redactor.redact_text("jane", key="user.name").text
    for text in ("[parameters: ('jane',)]", "INSERT INTO u (username) VALUES ('jane')"):
        assert token in redactor.redact_text(text).text
    assert redactor.redact_text("jane", key="db.query.parameter.0").text == token


def test_what_the_user_ignores_stays() -> None:
    """Scenario: the user wants usernames in columns kept. Guarantees: they are."""
    redactor = Redactor(RedactionSettings(identity_keys=("acme_no",)))
    text = "INSERT INTO u (acme_no, state) VALUES ('A7', 'new')"
    assert redactor.redact_text(text).text.endswith(">', 'new')")


@given(
    st.lists(st.sampled_from([*map(plain, BOUND.values()), *LEFT]), max_size=3),
    st.text("\"'`\\(),[]{} \n$?=Q7", max_size=12),
    st.integers(0, 400),
)
@settings(max_examples=300)
def test_the_screen_misses_none(
    redactor: Redactor, unscreened: Redactor, texts: list[str], between: str, end: int
) -> None:
    """Scenario: notations mixed, cut and with signs between. Guarantees: as without a screen."""
    text = between.join(texts)[:end]
    once = redactor.redact_text(text)
    assert once == unscreened.redact_text(text)
    assert redactor.redact_text(once.text).text == once.text
