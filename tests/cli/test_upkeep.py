"""The verbs that look after a data directory, as processes: what they print and exit with."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.storage.damage import DAMAGE, ROWS, first_file, make_lake

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `clearspan` and return how it ended; stderr is no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "collector.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_verify_says_what_is_there(tmp_path: Path) -> None:
    """Scenario: a sound lake. Guarantee: one line with the counts, exit 0, nothing on stderr."""
    make_lake(tmp_path)
    done = run("verify", "--data", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("sound: generation 4, 6 files with 120 spans and 24 events")
    assert "journal of 1 segments with 1 batches of 40 spans; no findings" in line
    report = json.loads(run("verify", "--data", tmp_path, "--json").stdout)
    assert report["sound"]
    assert (report["spans"], report["journal"]["spans"]) == (3 * ROWS, ROWS)


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    """Scenario: a wrong byte in a page. Guarantee: a line with file and matter, exit 1."""
    lake = make_lake(tmp_path)
    victim = first_file(lake)
    DAMAGE["page"](lake / victim.path)
    done = run("verify", "--data", tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    problem, summary = done.stdout.splitlines()
    what = "bytes differ from their checksum: damaged pages of"
    assert problem.startswith(f"error    lake/{victim.path}: {what}")
    assert summary.startswith("NOT SOUND: ")
    assert "1 error" in summary
    done = run("verify", "--data", tmp_path, "--json")
    assert done.returncode == 1
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["file"] == f"lake/{victim.path}"


def test_verify_of_nothing(tmp_path: Path) -> None:
    """Scenario: a typo in the directory. Guarantee: one line, exit 2."""
    done = run("verify", "--data", tmp_path / "no")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"clearspan: there is no data directory {tmp_path / 'no'}\n"


def test_backup_says_what_it_copied(tmp_path: Path) -> None:
    """Scenario: a backup, the same again, an update. Guarantee: a line each; exit 0, 2 and 0."""
    make_lake(tmp_path / "data")
    arguments = ("backup", tmp_path / "copy", "--data", tmp_path / "data")
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "generation 4" in done.stdout
    assert "6 files copied" in done.stdout
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the directory is not empty; --update" in done.stderr
    assert "0 files copied (0.0 MiB), 6 were there" in run(*arguments, "--update").stdout
    assert run("verify", "--data", tmp_path / "copy").returncode == 0


def test_repair_says_what_it_does(tmp_path: Path) -> None:
    """Scenario: a damaged file; a dry run, a repair, and another. Guarantee: all said, exit 0."""
    lake = make_lake(tmp_path)
    victim = first_file(lake)
    DAMAGE["page"](lake / victim.path)
    (tmp_path / "LOCK").unlink()
    dry = run("repair", "--data", tmp_path, "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert dry.stdout.startswith(f"lake/{victim.path}: bytes differ from their checksum: ")
    assert "1 thing to do: " in dry.stdout
    assert dry.stdout.endswith("; nothing was changed\n")
    assert (lake / victim.path).exists()
    done = run("repair", "--data", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 thing done: " in done.stdout
    assert not (lake / victim.path).exists()
    assert run("repair", "--data", tmp_path).stdout.startswith("nothing to repair: ")
    assert run("verify", "--data", tmp_path).returncode == 0


def test_a_damaged_source_is_no_backup(tmp_path: Path) -> None:
    """Scenario: a damaged file in the source of a backup. Guarantee: one line, exit 1."""
    lake = make_lake(tmp_path / "data")
    victim = first_file(lake)
    DAMAGE["page"](lake / victim.path)
    done = run("backup", tmp_path / "copy", "--data", tmp_path / "data")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"clearspan: lake/{victim.path}: damaged, not as")
