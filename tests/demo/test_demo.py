"""`clearspan demo` as a user runs it: a process, its output, its exit code, what it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from collector.demo import run_demo
from collector.demo.planted import EXHIBITS
from collector.demo.queries import TO_TRY
from storage.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO = [sys.executable, "-m", "collector.cli", "demo"]
LIMIT_S = 60
SECTIONS = (
    "What was redacted",
    "What it cost",
    "Slowest routes",
    "Error traces kept",
    "SQL to try next",
    "A piece of the scrape",
)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give what one whole run prints; nothing of it is left behind."""
    directory = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        DEMO,
        env=os.environ | {"TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    assert not list(directory.iterdir())
    return done.stdout


def test_it_shows_every_section_in_order(shown: str) -> None:
    """Scenario: the demo to its end. Guarantee: exit 0 within a minute, all sections, in order."""
    places = [shown.find(section) for section in SECTIONS]
    assert -1 not in places
    assert places == sorted(places)


def test_planted_values_stand_in_the_before_column_only(shown: str) -> None:
    """Scenario: each planted value is shown beside what the lake holds instead.

    Guarantee: it is printed once (before), something redacted stands beside it, and the search
    over all files says 0 hits.
    """
    rows = shown[shown.index(SECTIONS[0]) : shown.index("searched ")].splitlines()
    for exhibit in EXHIBITS:
        assert shown.count(exhibit.secret) == 1, exhibit.name
        (row,) = [row for row in rows if exhibit.secret in row]
        assert re.search(r"<[A-Z_]+(:[\w-]+)?>", row.split(exhibit.secret)[1]), row
    (searched,) = re.findall(r"searched (\d+) files .* ([\d,]+) bytes, .*: (\d+) hits", shown)
    assert int(searched[0]) > 3
    assert int(searched[1].replace(",", "")) > 100_000
    assert searched[2] == "0"


def test_an_unknown_model_costs_null_and_is_counted(shown: str) -> None:
    """Scenario: four models, one of which nobody prices. Guarantee: its cost is NULL, not 0."""
    (unknown,) = [line for line in shown.splitlines() if "shop-llm-7b" in line and "NULL" in line]
    assert int(unknown.split()[-1]) > 0
    (known,) = [
        line for line in shown.splitlines() if "gpt-4o-2024-08-06" in line and "{" not in line
    ]
    assert re.search(r"\d\.\d{4} +0$", known.rstrip()), known


def test_weights_account_for_what_was_dropped(shown: str) -> None:
    """Scenario: tail sampling dropped most traces.

    Guarantee: less was stored than received, and the weights' sum is within four standard errors
    of the exact counter; error traces have weight 1.
    """
    found = re.search(
        r"received ([\d,]+) spans \(counter, exact\), stored ([\d,]+); "
        r"sum\(sample_weight\) = ([\d,]+) ± ([\d,]+)",
        shown,
    )
    assert found is not None
    received, stored, estimate, error = (int(text.replace(",", "")) for text in found.groups())
    assert stored < received
    assert abs(estimate - received) <= 4 * error
    assert re.search(r"errors \d+ \(weight 1\)", shown)
    assert re.search(r"a quarter \d+ \(weight 4\)", shown)


def test_the_scrape_balances(shown: str) -> None:
    """Scenario: the scrape's own lines. Guarantee: received = stored + dropped + refused."""
    sums: dict[str, float] = {}
    for name, value in re.findall(
        r"^clearspan_spans_(\w+?)(?:_total)?(?:\{.*\})? (\S+)$", shown, re.MULTILINE
    ):
        sums[name] = sums.get(name, 0) + float(value)
    assert sums["received"] > 0
    assert sums["received"] == sums["stored"] + sums["dropped"] + sums.get("refused", 0)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the demo with --keep until it waits; give the process and what it printed."""
    process = subprocess.Popen(
        [*DEMO, "--keep"],
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("it runs until"):
                break
        yield process, "".join(lines)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_kept_it_answers_queries_until_it_is_told_to_end(
    kept: tuple[subprocess.Popen[str], str],
    tmp_path: Path,
) -> None:
    """Scenario: --keep; the queries of the section "to try next"; then SIGTERM.

    Guarantee: each has rows, the first by the command as it is printed; afterwards neither sidecar
    nor data is left.
    """
    process, printed = kept
    (data,) = re.findall(r"^  data +(\S+)$", printed, re.MULTILINE)
    for sql in TO_TRY:
        assert f'clearspan query --data {data} "{sql}"' in printed
        assert run_query(Path(data), sql).table.num_rows
    query = [*DEMO[:-1], "query", "--data", data, "--format", "json", TO_TRY[0]]
    answer = subprocess.run(query, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)
    children = open(f"/proc/{process.pid}/task/{process.pid}/children").read().split()  # noqa: PTH123, SIM115
    assert children
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0
    assert not list(tmp_path.iterdir())
    assert not [child for child in children if os.path.exists(f"/proc/{child}")]  # noqa: PTH110


def test_without_the_sdk_it_says_what_to_install() -> None:
    """Scenario: the extra `demo` is missing. Guarantee: exit 2, the pip command, no traceback."""
    hide = "import sys; sys.modules['opentelemetry.sdk'] = None; from collector.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}sys.argv[1:] = ['demo']; main()"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'clearspan[demo]'" in done.stdout
    assert not done.stderr


def test_a_sidecar_that_ends_at_start_is_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Scenario: the sidecar exits at once. Guarantee: exit 1, the reason from its log is shown."""
    ends = (sys.executable, "-c", "import sys; sys.exit('the port is taken')")
    monkeypatch.setattr("collector.demo.sidecar.COMMAND", ends)
    assert run_demo(keep=False) == 1
    said = capsys.readouterr().out
    assert "ended at start with code 1" in said
    assert "the port is taken" in said
