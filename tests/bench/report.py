"""The printed tables: one of runs, one of the sidecar's stages, and the budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from tests.bench.proc import Machine
    from tests.bench.runs import Run

# What the project asks of itself, profile llm: CPU per span, its ratio to rotel with the Python
# patterns, and at 10k spans/s the share of a core, peak memory and acknowledgement time.
CPU_US_BUDGET: Final = 25.0
RATIO_BUDGET: Final = 0.5
CORE_BUDGET: Final = 0.40
RSS_MB_BUDGET: Final = 300.0
P99_MS_BUDGET: Final = 100.0
READY_S_BUDGET: Final = 4.0


def print_machine(console: Console, facts: Machine) -> None:
    """Print where the figures come from."""
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    console.print(f"{facts.cpu}, {facts.cores} cores, Linux {facts.kernel}, Python {facts.python}")
    console.print(versions, highlight=False)


def print_runs(console: Console, runs: list[Run]) -> None:
    """Print one row a run."""
    table = Table(title="load generator in its own process on the same machine", title_style="dim")
    table.add_column("receiver")
    table.add_column("profile, mode")
    for name in ("CPU µs/span", "with start, drain", "spans/s", "core", "peak MB", "p50 ms"):
        table.add_column(name, justify="right")
    for name in ("p99 ms", "sent", "stored", "distinct"):
        table.add_column(name, justify="right")
    for run in runs:
        table.add_row(
            run.receiver,
            f"{run.profile}, {run.mode}",
            f"{run.cpu_us:.1f}",
            f"{run.whole_cpu_us:.1f}",
            f"{run.spans_per_s:,.0f}",
            f"{run.core_share:.0%}",
            f"{run.peak_rss_mb:.0f}",
            f"{run.load.latency_p50_ms:.1f}",
            f"{run.load.latency_p99_ms:.1f}",
            f"{run.load.acked:,}",
            f"{run.rows.rows:,}" if run.rows else "-",
            f"{run.rows.distinct:,}" if run.rows else "-",
        )
    console.print(table)
    for run in runs:
        _print_details(console, run)


def ratios(runs: list[Run]) -> dict[str, float]:
    """Return clearspan's CPU a span divided by rotel's with patterns, by profile (closed loop)."""
    closed = {(run.receiver, run.profile): run.cpu_us for run in runs if run.mode == "closed"}
    found: dict[str, float] = {}
    for (receiver, profile), cpu_us in closed.items():
        peer = closed.get(("rotel + Python patterns", profile))
        if receiver == "clearspan" and peer:
            found[profile] = cpu_us / peer
    return found


def print_budgets(console: Console, runs: list[Run]) -> None:
    """Print every budget of profile llm with its figure and whether it holds."""
    for run in runs:
        if run.receiver != "clearspan" or run.profile != "llm":
            continue
        if run.mode == "closed":
            _budget(console, "CPU µs per span, closed loop", run.cpu_us, CPU_US_BUDGET)
        else:
            _budget(console, "cores at 10k spans/s", run.core_share, CORE_BUDGET)
            _budget(console, "peak RSS MB at 10k spans/s", run.peak_rss_mb, RSS_MB_BUDGET)
            _budget(console, "p99 ack ms at 10k spans/s", run.load.latency_p99_ms, P99_MS_BUDGET)
            _budget(console, "ready after start, s", run.ready_s, READY_S_BUDGET)
    for profile, ratio in ratios(runs).items():
        label = f"CPU against rotel + Python patterns, {profile}"
        _budget(console, label, ratio, RATIO_BUDGET)


def _budget(console: Console, label: str, value: float, limit: float) -> None:
    mark = "[green]ok  [/]" if value <= limit else "[bold red]OVER[/]"
    console.print(f"  {mark} {label}: {value:.2f} (budget {limit:g})", highlight=False)


def _print_details(console: Console, run: Run) -> None:
    load = run.load
    trouble = [*run.problems]
    if load.failed:
        trouble.append(f"errors by code, in spans: {load.failed}")
    if run.mode == "open":
        line = f"  {run.receiver} {run.profile} open: max ack {load.latency_max_ms:.0f} ms"
        console.print(f"{line}, generator at most {load.behind_ms:.0f} ms behind", highlight=False)
    if run.counters and load.acked:
        stages = sorted(run.counters.stage_s.items(), key=lambda item: -item[1])
        split = ", ".join(f"{name} {took / load.acked * 1e6:.1f}" for name, took in stages)
        console.print(f"  {run.profile} {run.mode}, wall µs/span by stage: {split}")
    for text in trouble:
        console.print(f"  [bold red]{run.receiver} {run.profile} {run.mode}: {text}[/]")
