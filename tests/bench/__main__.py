"""`make bench`: clearspan under load, rotel with the same patterns beside it, one table.

Exits 1 when a span that was acknowledged is not in the lake exactly once; an exceeded budget is
printed, not failed, because the machine may be a slower one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from tests.bench.proc import machine
from tests.bench.receivers import PeerUnavailable, ReceiverFailed, run_clearspan, run_rotel
from tests.bench.report import print_budgets, print_machine, print_runs, ratios
from tests.bench.runs import CLIENTS, OPEN_RATE, TEMPLATES, Run, measure, prepare

if TYPE_CHECKING:
    import contextlib

    from tests.bench.payloads import Profile
    from tests.bench.receivers import Receiver
    from tests.bench.runs import Mode

_PROFILES: Final[tuple[Profile, ...]] = ("llm", "web")
_MODES: Final[tuple[Mode, ...]] = ("closed", "open")
_QUICK_S: Final = 5.0


def main(arguments: list[str]) -> int:
    """Run what was asked for and return the exit code."""
    options = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150)
    seconds = _QUICK_S if options.quick else options.seconds
    profiles = _PROFILES if options.profile == "all" else (options.profile,)
    facts = machine()
    print_machine(console, facts)
    console.print(
        f"{TEMPLATES} distinct requests a profile, ids and prompts new in every send; "
        f"closed loop: {CLIENTS} connections; open loop: {OPEN_RATE:,.0f} spans/s; "
        f"{seconds:g} s each after warm-up",
        highlight=False,
    )
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="clearspan-bench-") as name:
        bench = _Bench(Path(name), seconds, console)
        try:
            for profile in profiles:
                runs += [bench.clearspan(profile, mode) for mode in _MODES]
                if not options.no_peer:
                    runs += bench.peers(profile)
        except ReceiverFailed as error:
            console.print(str(error), style="bold red", markup=False)
            return 1
    print_runs(console, runs)
    print_budgets(console, runs)
    if options.json:
        report = {"machine": asdict(facts), "runs": [_plain(run) for run in runs]}
        report["ratio_to_rotel_with_patterns"] = ratios(runs)
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n")
    return 1 if any(run.problems for run in runs if run.receiver == "clearspan") else 0


class _Bench:
    """Starts a fresh receiver for every run, each in a directory of its own."""

    def __init__(self, directory: Path, seconds: float, console: Console) -> None:
        self._directory = directory
        self._seconds = seconds
        self._console = console
        self._count = 0

    def clearspan(self, profile: Profile, mode: Mode) -> Run:
        """Measure the sidecar."""
        return self._measure(run_clearspan(self._fresh()), profile, mode)

    def peers(self, profile: Profile) -> list[Run]:
        """Measure rotel with and without the patterns; say so where it cannot be had."""
        try:
            return [
                self._measure(run_rotel(self._fresh(), redacting=redacting), profile, "closed")
                for redacting in (True, False)
            ]
        except PeerUnavailable as error:
            self._console.print(f"no peer to compare with: {error}")
            return []

    def _fresh(self) -> Path:
        self._count += 1
        return self._directory / str(self._count)

    def _measure(
        self,
        starting: contextlib.AbstractContextManager[Receiver],
        profile: Profile,
        mode: Mode,
    ) -> Run:
        templates = prepare(self._directory, profile, mode)
        with starting as receiver:
            self._console.print(f"  {receiver.name}: {profile}, {mode} loop ...", style="dim")
            return measure(receiver, profile, mode, templates, self._seconds)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--profile", choices=[*_PROFILES, "all"], default="all")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured window of each run")
    parser.add_argument("--quick", action="store_true", help=f"windows of {_QUICK_S:g} s")
    parser.add_argument("--no-peer", action="store_true", help="leave rotel out")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    return parser.parse_args(arguments)


def _plain(run: Run) -> dict[str, object]:
    figures = {"cpu_us": run.cpu_us, "spans_per_s": run.spans_per_s, "core_share": run.core_share}
    return asdict(run) | figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
