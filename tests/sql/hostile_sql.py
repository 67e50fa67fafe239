"""Statements that want more than to read spans, each with what the refusal has to name.

``{lake}``, ``{secret}``, ``{table}`` and ``{out}`` stand for the lake's directory, a text file and
a Parquet file beside the data, and a file that is not there and must not come to be.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = {
    # files, read by functions
    "read_text": ("SELECT * FROM read_text('{secret}')", "read_text"),
    "read_blob": ("SELECT * FROM read_blob('{secret}')", "read_blob"),
    "read_csv": ("SELECT * FROM read_csv('{secret}')", "read_csv"),
    "read_csv_auto": ("FROM read_csv_auto('{secret}')", "read_csv_auto"),
    "read_json": ("FROM read_json('{lake}/_manifest.json')", "read_json"),
    "read_ndjson_objects": ("FROM read_ndjson_objects('{secret}')", "read_ndjson_objects"),
    "read_parquet": ("FROM read_parquet('{table}')", "read_parquet"),
    "read_parquet of the lake": ("FROM read_parquet('{lake}/spans/**')", "read_parquet"),
    "parquet_scan": ("FROM parquet_scan('{table}')", "parquet_scan"),
    "read_duckdb": ("FROM read_duckdb('{out}')", "read_duckdb"),
    "parquet_metadata": ("FROM parquet_metadata('{table}')", "parquet_metadata"),
    "parquet_schema": ("FROM parquet_schema('{table}')", "parquet_schema"),
    "parquet_kv_metadata": ("FROM parquet_kv_metadata('{table}')", "parquet_kv_metadata"),
    "parquet_bloom_probe": ("FROM parquet_bloom_probe('{table}', 'a', 1)", "parquet_bloom_probe"),
    "glob": ("FROM glob('/etc/*')", "glob"),
    "sniff_csv": ("FROM sniff_csv('{secret}')", "sniff_csv"),
    # files, read by name
    "parquet by name": ("FROM '{table}'", "neighbour.parquet"),
    "no name": ("FROM ''", "not known"),
    "csv by name": ("SELECT * FROM '{secret}'", "secret.csv"),
    "csv by quoted name": ('SELECT * FROM "{secret}"', "secret.csv"),
    "pattern by name": ("FROM '{lake}/spans/*.parquet'", "spans/*.parquet"),
    "url by name": ("FROM 'https://127.0.0.1:1/x.parquet'", "https://127.0.0.1:1/x.parquet"),
    "file in a join": ("FROM spans JOIN '{table}' t ON true", "neighbour.parquet"),
    "file in a subquery": ("SELECT (SELECT max(a) FROM '{table}')", "neighbour.parquet"),
    "file in an EXISTS": ("SELECT 1 WHERE EXISTS (FROM '{table}')", "neighbour.parquet"),
    "file in a CTE": ("WITH x AS (FROM '{table}') FROM x", "neighbour.parquet"),
    "file in a LIMIT": ("FROM spans LIMIT (SELECT 1 FROM '{table}')", "neighbour.parquet"),
    "file in an ORDER BY": (
        "FROM spans ORDER BY (SELECT max(a) FROM '{table}')",
        "neighbour.parquet",
    ),
    "file in a DESCRIBE": ("DESCRIBE FROM '{table}'", "neighbour.parquet"),
    "file in a SUMMARIZE": ("SUMMARIZE '{table}'", "neighbour.parquet"),
    "file in a PIVOT": (
        "FROM '{table}' PIVOT (count(*) FOR a IN (1))",
        "neighbour.parquet",
    ),
    "file as a CTE out of scope": (
        "SELECT (WITH \"{table}\" AS (SELECT 1) SELECT 1), * FROM '{table}'",
        "neighbour.parquet",
    ),
    "file as a CTE of itself": (
        "WITH \"{table}\" AS (FROM '{table}') FROM '{table}'",
        "neighbour.parquet",
    ),
    "catalog as a CTE of itself": (
        "WITH duckdb_settings AS (FROM duckdb_settings) FROM duckdb_settings",
        "duckdb_settings",
    ),
    "catalog in a recursive CTE": (
        "WITH RECURSIVE duckdb_views AS (FROM duckdb_views UNION FROM spans) FROM duckdb_views",
        "duckdb_views",
    ),
    "catalog as a CTE out of scope": (
        "SELECT * FROM (WITH duckdb_logs AS (SELECT 1) FROM duckdb_logs), duckdb_logs",
        "duckdb_logs",
    ),
    # writing
    "COPY TO": ("COPY spans TO '{out}'", "COPY"),
    "COPY TO of a query": ("COPY (SELECT 1) TO '{out}' (FORMAT parquet)", "COPY"),
    "COPY FROM": ("COPY spans FROM '{secret}'", "COPY"),
    "COPY in a CTE": ("WITH x AS (COPY (SELECT 1) TO '{out}') SELECT 1", "COPY"),
    "COPY over the manifest": (
        "WITH x AS (COPY (SELECT 1) TO '{lake}/_manifest.json') SELECT 1",
        "COPY",
    ),
    "COPY in a CTE of a subquery": (
        "SELECT (WITH x AS (COPY (SELECT 1) TO '{out}') SELECT 1)",
        "COPY",
    ),
    "COPY in a CTE of a CTE": (
        "WITH y AS (WITH x AS (COPY (SELECT 1) TO '{out}') FROM x) SELECT 1",
        "COPY",
    ),
    "COPY in a DESCRIBE": (
        "DESCRIBE WITH x AS (COPY (SELECT 1) TO '{out}') SELECT 1",
        "COPY",
    ),
    "INSERT in a CTE": ("WITH x AS (INSERT INTO t VALUES (1) RETURNING *) FROM x", "INSERT"),
    "UPDATE in a CTE": ("WITH x AS (UPDATE t SET a = 1 RETURNING *) FROM x", "UPDATE"),
    "DELETE in a CTE": ("WITH x AS (DELETE FROM t RETURNING *) FROM x", "DELETE"),
    "INSERT": ("INSERT INTO spans VALUES (1)", "INSERT"),
    "UPDATE": ("UPDATE spans SET name = 'x'", "UPDATE"),
    "DELETE": ("DELETE FROM spans", "DELETE"),
    "CREATE TABLE": ("CREATE TABLE t AS FROM spans", "CREATE"),
    "CREATE VIEW": ("CREATE OR REPLACE VIEW spans AS FROM '{table}'", "CREATE"),
    "CREATE MACRO": ("CREATE MACRO attr(a, b) AS getenv(b)", "CREATE"),
    "CREATE SECRET": ("CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')", "CREATE"),
    "DROP": ("DROP VIEW spans", "DROP"),
    "ALTER": ("ALTER VIEW spans RENAME TO t", "ALTER"),
    "EXPORT": ("EXPORT DATABASE '{out}'", "EXPORT"),
    "IMPORT": ("IMPORT DATABASE '{out}'", "PRAGMA"),
    "ATTACH": ("ATTACH '{out}' AS other", "ATTACH"),
    "DETACH": ("DETACH memory", "DETACH"),
    "CHECKPOINT": ("CHECKPOINT", "CALL"),
    "VACUUM": ("VACUUM", "VACUUM"),
    # extensions, settings, sessions
    "INSTALL": ("INSTALL httpfs", "LOAD"),
    "LOAD": ("LOAD '{out}'", "LOAD"),
    "SET": ("SET memory_limit = '1TB'", "SET"),
    "SET VARIABLE": ("SET VARIABLE clearspan = NULL", "SET"),
    "RESET": ("RESET enable_external_access", "SET"),
    "USE": ("USE memory", "SET"),
    "PRAGMA": ("PRAGMA database_list", "PRAGMA"),
    "PRAGMA with a file": ("PRAGMA import_database('{out}')", "PRAGMA"),
    "CALL": ("CALL duckdb_settings()", "CALL"),
    "BEGIN": ("BEGIN", "TRANSACTION"),
    "PREPARE": ("PREPARE p AS SELECT 1", "PREPARE"),
    "EXECUTE": ("EXECUTE p", "EXECUTE"),
    "EXPLAIN": ("EXPLAIN SELECT 1", "EXPLAIN"),
    "EXPLAIN ANALYZE COPY": ("EXPLAIN ANALYZE COPY spans TO '{out}'", "EXPLAIN"),
    "PIVOT that makes a type": ("PIVOT spans ON kind USING count(*)", "MULTI"),
    "SHOW TABLES": ("SHOW TABLES", "SHOW"),
    "SHOW ALL TABLES": ("SHOW ALL TABLES", "SHOW"),
    "SHOW DATABASES in a query": ("SELECT * FROM (SHOW DATABASES)", "SHOW"),
    "parameter": ("SELECT $1", "PARAMETER"),
    # several statements
    "two statements": ("SELECT 1; SELECT 2", "2 statements"),
    "a statement behind one": ("SELECT 1; COPY spans TO '{out}'", "2 statements"),
    "behind a comment": ("SELECT 1; -- x\nATTACH '{out}'", "2 statements"),
    "nothing": ("", "no statement"),
    "only a comment": ("/* COPY */ -- x", "no statement"),
    # what the machine, the session and the catalog are
    "getenv": ("SELECT getenv('HOME')", "getenv"),
    "getenv by method": ("SELECT 'HOME'.getenv()", "getenv"),
    "getenv by schema": ("SELECT main.getenv('HOME')", "getenv"),
    "getenv in a macro's argument": ("SELECT attr(attributes, getenv('x')) FROM spans", "getenv"),
    "getenv in a table macro": ("FROM trace(getenv('HOME'))", "getenv"),
    "getenv in a lambda": ("SELECT list_transform(['x'], lambda v: getenv(v))", "getenv"),
    "getenv in a window": (
        "SELECT sum(1) OVER (PARTITION BY getenv('x')) FROM spans",
        "getenv",
    ),
    "getenv in a FILTER": ("SELECT count(*) FILTER (getenv('x') = 'y') FROM spans", "getenv"),
    "getenv in a REPLACE": ("SELECT * REPLACE (getenv('x') AS name) FROM spans", "getenv"),
    "getenv in VALUES": ("VALUES (getenv('x'))", "getenv"),
    "getenv in a join": ("FROM spans a JOIN spans b ON getenv('x') = a.name", "getenv"),
    "getenv in DISTINCT ON": ("SELECT DISTINCT ON (getenv('x')) name FROM spans", "getenv"),
    "getenv in a cast's type": ("SELECT 1::DECIMAL(getenv('x'), 2)", "constant"),
    "getvariable": ("SELECT getvariable('clearspan')", "getvariable"),
    "current_setting": ("SELECT current_setting('allowed_directories')", "current_setting"),
    "current_query": ("SELECT current_query()", "current_query"),
    "duckdb_settings": ("FROM duckdb_settings()", "duckdb_settings"),
    "duckdb_secrets": ("FROM duckdb_secrets()", "duckdb_secrets"),
    "duckdb_variables": ("FROM duckdb_variables()", "duckdb_variables"),
    "duckdb_views": ("FROM duckdb_views", "duckdb_views"),
    "information_schema": ("FROM information_schema.tables", "information_schema.tables"),
    "pg_catalog": ("FROM pg_catalog.pg_class", "pg_catalog.pg_class"),
    "sqlite_master": ("FROM sqlite_master", "sqlite_master"),
    "a view by its schema": ("FROM temp.spans", "temp.spans"),
    "pragma function": ("FROM pragma_database_size()", "pragma_database_size"),
    # SQL in SQL, pointers, state
    "query": ("FROM query('COPY spans TO ''{out}''')", "query"),
    "query_table": ("FROM query_table('{table}')", "query_table"),
    "json_execute_serialized_sql": (
        "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
        "json_execute_serialized_sql",
    ),
    "json_serialize_plan": ("SELECT json_serialize_plan('SELECT 1')", "json_serialize_plan"),
    "arrow_scan": ("FROM arrow_scan(1, 2, 3)", "arrow_scan"),
    "pandas_scan": ("FROM pandas_scan(1)", "pandas_scan"),
    "seq_scan": ("FROM seq_scan('spans')", "seq_scan"),
    "python_map_function": ("FROM python_map_function(1)", "python_map_function"),
    "a Python variable": ("FROM session", "session"),
    "nextval": ("SELECT nextval('s')", "nextval"),
    "setseed": ("SELECT setseed(0.5)", "setseed"),
    "sleep_ms": ("SELECT sleep_ms(100000)", "sleep_ms"),
    "pg_sleep": ("SELECT pg_sleep(100)", "pg_sleep"),
    "write_log": ("SELECT write_log('x')", "write_log"),
    "enable_logging": ("FROM enable_logging(storage => 'file')", "enable_logging"),
    "checkpoint by function": ("FROM checkpoint()", "checkpoint"),
    # no SQL at all
    "not SQL": ("SELEC 1", "SELEC"),
    "half a string": ("SELECT 'x", "unterminated"),
    "a NUL": ("SELECT 1\x00; COPY spans TO '{out}'", ""),
    "brackets": ("SELECT " + "(" * 30_000, ""),
    "sums": ("SELECT 1" + "+1" * 30_000, "depth"),
    "lists": ("SELECT " + "[" * 5_000 + "]" * 5_000, ""),
}


def disguised(seed: int, statements: list[str], count: int) -> Iterator[str]:
    """Yield statements that do the same and look different: case, comments, blanks, nesting."""
    chance = random.Random(seed)
    for _ in range(count):
        sql = chance.choice(statements)
        for way in chance.sample((_recased, _spaced, _nested), chance.randint(1, 3)):
            sql = way(sql, chance)
        yield sql


def damaged(seed: int, statements: list[str], count: int) -> Iterator[str]:
    """Yield statements with characters lost, doubled, swapped or strange."""
    chance = random.Random(seed)
    strange = "'\"();,.*$\\\x00\x1b\n\u00e9\u2028\U0001f600%{}[]"
    for _ in range(count):
        letters = list(chance.choice(statements))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(letters))
            match chance.randrange(4):
                case 0:
                    letters[at] = ""
                case 1:
                    letters[at] *= 2
                case 2:
                    other = chance.randrange(len(letters))
                    letters[at], letters[other] = letters[other], letters[at]
                case _:
                    letters[at] = chance.choice(strange)
        yield "".join(letters)


def _recased(sql: str, chance: random.Random) -> str:
    """Change the case of words outside of quotes."""
    parts = re.split(r"('[^']*'|\"[^\"]*\")", sql)
    return "".join(
        part if at % 2 else "".join(chance.choice((c.lower(), c.upper())) for c in part)
        for at, part in enumerate(parts)
    )


def _spaced(sql: str, chance: random.Random) -> str:
    """Put comments, tabs and line ends where there are blanks."""
    parts = re.split(r"('[^']*'|\"[^\"]*\")", sql)
    fillers = ("\t", "\n", "/**/", "/* ; -- ' */", " --x\n", "\r\n ")
    return "".join(
        part if at % 2 else re.sub(" ", lambda _: chance.choice(fillers), part)
        for at, part in enumerate(parts)
    )


def _nested(sql: str, chance: random.Random) -> str:
    """Wrap a query in another one; a statement that is none stays one that is refused."""
    inner = f"({sql})"
    return chance.choice(
        (
            f"SELECT * FROM {inner} t",
            f"WITH a AS {inner} SELECT * FROM spans, a",
            f"SELECT 1 WHERE EXISTS {inner}",
            f"SELECT 1 UNION ALL {inner}",
            f"SELECT [x FOR x IN {inner}]",
            f"SELECT CASE WHEN true THEN 1 ELSE {inner} END",
        )
    )
