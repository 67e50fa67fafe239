"""`clearspan redact` as a process: what it answers, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_ROOT = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-m", "collector.cli", "redact")
MAIL = "ann@example.com"
KEY = "sk-proj-" + "Zx81mQpT4vLw9RkNc2Yb7HsD"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache directory of compiled patterns for the module."""
    return tmp_path_factory.mktemp("cache")


def run(
    cache: Path, where: Path, *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the verb in a directory of its own."""
    return subprocess.run(
        [*_COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        cwd=where,
        env=os.environ | {"PYTHONPATH": str(_ROOT), "XDG_CACHE_HOME": str(cache)},
    )


def otlp() -> dict[str, Any]:
    """Return an OTLP/JSON request as an SDK's file exporter writes it."""
    attributes = [
        {"key": "user.email", "value": {"stringValue": MAIL}},
        {"key": "order", "value": {"intValue": "17"}},
        {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": KEY}]}}},
    ]
    span = {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": f"send {MAIL}",
        "kind": 3,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000000000001",
        "attributes": attributes,
        "events": [{"timeUnixNano": "1700000000000000000", "name": f"to {MAIL}"}],
    }
    scope = {"scope": {"name": "shop"}, "spans": [span]}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def test_text_is_filtered_line_by_line(cache: Path, tmp_path: Path) -> None:
    """Scenario: a pipe of lines, bytes that are no UTF-8 among them. Guarantees: the lines clean.

    Other bytes are as they were, nothing is on stderr, nothing stays in the directory.
    """
    done = run(cache, tmp_path, stdin=f"mail {MAIL} now\nclean \n\n".encode() + b"\xff {k}\n")
    assert done.stdout == b"mail <EMAIL_ADDRESS> now\nclean \n\n\xff {k}\n"
    assert (done.returncode, done.stderr) == (0, b"")
    assert list(tmp_path.iterdir()) == []


def test_files_keys_and_whole_texts(cache: Path, tmp_path: Path) -> None:
    """Scenario: two files, one missing; a private key over lines. Guarantees: each as asked."""
    block = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
    (tmp_path / "key.pem").write_text(block)
    done = run(cache, tmp_path, "--whole", "key.pem")
    assert done.stdout.strip() == b"<SECRET>"
    (tmp_path / "ids").write_text("123456788\n")
    done = run(cache, tmp_path, "--key", "ssn", "missing", "ids")
    assert done.stdout == b"<US_SSN>\n"
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "clearspan: missing cannot be read: No such file or directory",
    ]


def test_json_lines(cache: Path, tmp_path: Path) -> None:
    """Scenario: good lines and bad ones. Guarantees: offsets of the input; bad ones are named."""
    good: list[dict[str, Any]] = [
        {"text": f"ä {MAIL}, {KEY}"},
        {"text": "123456788", "key": "ssn"},
        {"text": "clean", "key": None},
        {"text": "hunter2", "key": "db.password"},
    ]
    lines = [json.dumps(good[0]), "no json", '{"key": "x"}', '{"text": 1}', "[]", ""]
    lines += map(json.dumps, good[1:])
    done = run(cache, tmp_path, "--json", stdin="\n".join(lines).encode())
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["text"] for answer in answers] == [line["text"] for line in good]
    first, second, third, fourth = answers
    assert first["redacted"] == "ä <EMAIL_ADDRESS>, <SECRET>"
    found = [(f["entity"], first["text"][f["start"] : f["end"]]) for f in first["findings"]]
    assert found == [("EMAIL_ADDRESS", MAIL), ("SECRET", KEY)]
    assert all(0.4 <= f["score"] <= 1 and f["rule"] for a in answers for f in a["findings"])
    assert second["redacted"] == "<US_SSN>"
    assert (third["redacted"], third["findings"]) == ("clean", [])
    assert fourth["redacted"] == "<CREDENTIAL>"
    assert fourth["findings"][0]["rule"] == "whole value"
    assert done.returncode == 1
    assert [line.split(":")[1] for line in done.stderr.decode().splitlines()] == [
        f" line {number}" for number in (2, 3, 4, 5)
    ]


def test_otlp_json(cache: Path, tmp_path: Path) -> None:
    """Scenario: a request in OTLP/JSON. Guarantees: a request again, ids and numbers unchanged."""
    sent = otlp()
    done = run(cache, tmp_path, stdin=json.dumps(sent).encode())
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    span = got["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert span["traceId"] == "0af7651916cd43dd8448eb211c80319c"
    assert span["name"] == "send <EMAIL_ADDRESS>"
    assert span["events"][0]["name"] == "to <EMAIL_ADDRESS>"
    values = {one["key"]: one["value"] for one in span["attributes"]}
    assert values["user.email"]["stringValue"].startswith("<IDENTITY:")
    assert values["order"] == {"intValue": "17"}
    assert values["list"]["arrayValue"]["values"] == [{"stringValue": "<SECRET>"}]
    for kept in ("kind", "startTimeUnixNano", "endTimeUnixNano"):
        assert span[kept] == sent["resourceSpans"][0]["scopeSpans"][0]["spans"][0][kept]
    assert json_format.ParseDict({"resourceSpans": []}, ExportTraceServiceRequest()) is not None


@pytest.mark.parametrize(
    "text",
    ['{"resourceSpans": ["nope', '{"resourceSpans": 1}', '{"resourceSpans": ["nope"]}'],
)
def test_otlp_that_is_none(cache: Path, tmp_path: Path, text: str) -> None:
    """Scenario: damaged OTLP/JSON with a secret. Guarantees: exit 1, one line without it."""
    done = run(cache, tmp_path, stdin=text.replace("nope", MAIL).encode())
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"clearspan: no valid ExportTraceServiceRequest in JSON: ")
    assert MAIL.encode() not in done.stderr


@pytest.mark.parametrize("data", [f"\x1b[31mmail {MAIL}\n".encode(), json.dumps(otlp()).encode()])
def test_a_terminal_is_shown_what_and_why(cache: Path, tmp_path: Path, data: bytes) -> None:
    """Scenario: stdout is a terminal. Guarantees: entity, score and rule in colour.

    What the text itself would have the terminal do is not done.
    """
    leader, follower = pty.openpty()
    source = tmp_path / "input"
    source.write_bytes(data)
    process = subprocess.Popen(
        [*_COMMAND, str(source)],
        stdout=follower,
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(_ROOT), "XDG_CACHE_HOME": str(cache), "TERM": "xterm-256color"},
    )
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 4096):
            shown += part
    except OSError:  # the terminal's other end was closed
        pass
    os.close(leader)
    assert process.wait(30) == 0
    assert b"EMAIL_ADDRESS" in shown
    assert b"rule email" in shown
    assert b"score 1.00" in shown
    assert b"\x1b[1;31m" in shown
    assert b"\x1b[31mmail" not in shown
    assert b"found" in shown


def test_a_reader_that_leaves(cache: Path, tmp_path: Path) -> None:
    """Scenario: `redact | head -1` over much text. Guarantees: it ends, without a traceback."""
    source = tmp_path / "much"
    source.write_text("clean line\n" * 200_000)
    script = f'"$0" -m collector.cli redact {source} | head -1'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable],
        capture_output=True,
        check=False,
        timeout=60,
        cwd=_ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
    )
    assert done.stdout == b"clean line\n"
    assert b"Traceback" not in done.stderr
