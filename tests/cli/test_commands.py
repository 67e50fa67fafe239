"""The command as a process: output, exit codes, and what is said when it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from collector.cli.answers import answer
from collector.model.errors import QueryError
from config.loader import load_settings
from config.settings import ClearspanSettings
from storage.sql_output import Result
from tests.sql.rows import shop
from tests.sql.small_lake import SmallLake

if TYPE_CHECKING:
    from typing import BinaryIO

_ROOT = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-m", "collector.cli")
_KEY = "0123456789abcdef-secret"


def _run(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=_ROOT,
        env=os.environ | environ,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory whose lake holds the shop's five spans."""
    SmallLake(tmp_path).append(shop())
    return tmp_path


def test_help_loads_nothing_heavy() -> None:
    """Scenario: `--help`. Guarantee: it does not pay for Arrow, DuckDB, gRPC, Presidio or rich."""
    code = (
        "import sys; sys.argv = ['clearspan', '--help']\n"
        "from collector.cli import main\n"
        "try: main()\n"
        "except SystemExit as e: assert e.code == 0\n"
        "heavy = {'pyarrow', 'duckdb', 'grpc', 'presidio_analyzer', 'spacy', 'numpy', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "print-config" in done.stdout


def test_version() -> None:
    """Scenario: `--version`. Guarantee: name and version, exit 0."""
    done = _run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("clearspan 0.")


@pytest.mark.parametrize("verb", ["run", "validate"])
def test_a_wrong_configuration_is_one_line_and_code_2(verb: str, tmp_path: Path) -> None:
    """Scenario: a typo in a file. Guarantee: the message on stderr, nothing on stdout, no trace."""
    file = tmp_path / "c.yaml"
    file.write_text("exporters: {lak: {}}\n", encoding="utf-8")
    done = _run(verb, "--config", str(file))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"clearspan: {file}:1:13: exporters.lak: unknown key, did you mean 'lake'?\n"
    )


def test_validate_says_so_and_notes_what_is_not_used() -> None:
    """Scenario: a sampler that is configured but in no pipeline. Guarantee: valid, with a note."""
    done = _run("validate", "--set", "processors.tail_sampling.decision_wait=5s")
    assert done.returncode == 0
    assert done.stdout == "configuration is valid\n"
    assert done.stderr == (
        "note: processors.tail_sampling is configured but in no pipeline of service.pipelines\n"
    )


def test_print_config_hides_secrets_and_loads_again(tmp_path: Path) -> None:
    """Scenario: a key and a user's options with credentials. Guarantee: neither is shown."""
    overrides = [
        "processors.redaction.hmac_key=${env:KEY}",
        'processors."shop.spans:Drop"={dsn: "${env:KEY}", api_key: plain-secret, routes: [/live]}',
    ]
    arguments = [part for one in overrides for part in ("--set", one)]
    done = _run("print-config", *arguments, KEY=_KEY)
    assert done.returncode == 0
    assert "secret" not in done.stdout.replace("SECRET", "")
    assert "hmac_key: '****'" in done.stdout
    assert "dsn: '****'" in done.stdout
    assert "/live" in done.stdout
    printed = tmp_path / "printed.yaml"
    printed.write_text(_run("print-config").stdout, encoding="utf-8")
    assert load_settings([printed], [], {}) == ClearspanSettings()


def test_components_is_json_off_a_terminal() -> None:
    """Scenario: a pipe, and `--format table`. Guarantee: machine's and person's form."""
    listed = json.loads(_run("components").stdout)
    assert listed["processors"]["redaction"]
    assert "redaction" in _run("components", "--format", "table").stdout


def test_query_formats(data: Path, tmp_path: Path) -> None:
    """Scenario: SQL by argument and stdin, to stdout and file. Guarantee: the rows, each time."""
    sql = "SELECT count(*) AS n FROM spans"
    where = ("--data", str(data))
    assert json.loads(_run("query", sql, *where, "--format", "json").stdout) == [{"n": 5}]
    assert _run("query", "-", *where, "--format", "csv", stdin=sql).stdout == "n\n5\n"
    assert "5" in _run("query", sql, *where).stdout
    file = tmp_path / "out.parquet"
    assert _run("query", sql, *where, "--output", str(file)).returncode == 0
    assert file.read_bytes()[:4] == b"PAR1"


def test_print_setup_opens_the_data(data: Path) -> None:
    """Scenario: the printed SQL is given to a plain duckdb. Guarantee: it sees the spans."""
    setup = _run("query", "--print-setup", "--data", str(data)).stdout
    code = (
        "import duckdb, sys; c = duckdb.connect(); c.execute(sys.stdin.read()); "
        "print(c.sql('SELECT count(*) FROM spans').fetchall()[0][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=setup,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "5\n"


def test_wrong_sql_is_duckdbs_message_and_code_1(data: Path) -> None:
    """Scenario: SQL with a typo. Guarantee: DuckDB's words on stderr, no trace, exit 1."""
    done = _run("query", "SELEC 1", "--data", str(data))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "syntax error" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("query",), 2),
        (("query", "SELECT 1", "--print-setup"), 2),
        (("query", "SELECT 1", "--format", "xml"), 2),
        (("query", "SELECT 1", "--data", "/nowhere/at/all"), 1),
        (("quary",), 2),
        (("run", "--confg", "x"), 2),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], code: int) -> None:
    """Scenario: usage mistakes. Guarantee: a reason on stderr and the documented code."""
    done = _run(*arguments)
    assert done.returncode == code
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_file_is_replaced_as_a_whole(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: `--output` through a link to a file; then a result that cannot be written.

    Guarantees: the link and the file's mode stay; an error leaves what was there, and nothing else.
    """
    link, file = tmp_path / "link.CSV", tmp_path / "out" / "file.csv"
    file.parent.mkdir()
    file.write_text("before", encoding="ascii")
    file.chmod(0o640)
    link.symlink_to(file)
    answer("SELECT 1 AS a", [str(data)], None, link)
    assert (link.is_symlink(), file.stat().st_mode & 0o777) == (True, 0o640)

    def fail(_: Result, output: BinaryIO, __: str) -> None:
        output.write(b"half")
        raise QueryError("no")

    monkeypatch.setattr(Result, "write", fail)
    with pytest.raises(QueryError):
        answer("SELECT 2 AS a", [str(data)], None, link)
    assert file.read_text(encoding="ascii") == "a\n1\n"
    assert list(file.parent.iterdir()) == [file]


def test_a_terminal_that_has_not_every_character(data: Path) -> None:
    """Scenario: stdout is ASCII and a value is not. Guarantee: its characters' codes, no trace."""
    done = _run("query", "SELECT 'é' AS x", "--data", str(data), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"x  \xe9" in done.stdout


def test_output_that_cannot_be_written(data: Path, tmp_path: Path) -> None:
    """Scenario: `--output` names a directory. Guarantee: one line and exit 1."""
    done = _run("query", "SELECT 1", "--data", str(data), "--output", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"clearspan: {tmp_path} cannot be written: Is a directory\n"


@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_reader_that_goes_away(data: Path, form: str) -> None:
    """Scenario: `clearspan query ... | head -0`. Guarantee: it ends, quietly."""
    sql = "SELECT repeat('x', 1000) AS text FROM range(1000)"
    process = subprocess.Popen(
        [*_COMMAND, "query", sql, "--data", str(data), "--format", form],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=_ROOT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait(60) == 1


def test_ctrl_c_during_a_query(data: Path, tmp_path: Path) -> None:
    """Scenario: SIGINT while DuckDB works on hours of SQL. Guarantee: exit 130 without a trace."""
    mark = tmp_path / "begun"
    os.mkfifo(mark)
    sql = (
        f"COPY (SELECT 1) TO '{mark}' (FORMAT csv); "
        "SELECT sum(a.range * b.range) FROM range(100000000) a, range(1000000) b"
    )
    process = subprocess.Popen(
        [*_COMMAND, "query", sql, "--data", str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=_ROOT,
    )
    assert mark.read_text(encoding="utf-8")  # ends when the first statement has been run
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b""


def test_doctor_tells_what_is_wrong(tmp_path: Path) -> None:
    """Scenario: a port is taken and the directory is a file. Guarantee: both told, exit 1."""
    occupied = tmp_path / "file"
    occupied.write_text("", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _run(
            "doctor",
            *("--set", f"receivers.otlp.protocols.grpc.endpoint=127.0.0.1:{port}"),
            *("--set", "receivers.otlp.protocols.http.endpoint=127.0.0.1:0"),
            *("--set", "exporters.prometheus.endpoint=127.0.0.1:0"),
            *("--set", "extensions.health_check.endpoint=127.0.0.1:0"),
            *("--set", f"exporters.lake.path={occupied}"),
        )
    assert done.returncode == 1
    assert f"fail  port            127.0.0.1:{port}" in done.stdout
    assert "fail  data directory" in done.stdout
    assert "ok    versions" in done.stdout


def test_doctor_on_a_wrong_configuration() -> None:
    """Scenario: the configuration does not load. Guarantee: told as a check, exit 1."""
    done = _run("doctor", "--set", "zzz=1")
    assert done.returncode == 1
    assert "fail  configuration   --set: zzz: unknown key" in done.stdout
