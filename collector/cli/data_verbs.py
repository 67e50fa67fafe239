"""The verbs that look after stored data: verify, backup, repair, reredact, erase.

Whatever is heavy is imported by the verb that needs it, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from collector.cli.options import (  # typer reads annotations at run time
    ConfigFiles,  # noqa: TC001
    DataDirectory,  # noqa: TC001
    DeleteQuarantined,  # noqa: TC001
    NoGrace,  # noqa: TC001
    Overrides,  # noqa: TC001
)

_FAILED: Final = 1


def verify(
    data: DataDirectory = Path("clearspan-data"),
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the report as one JSON object."),
    ] = False,
) -> None:
    """Read every byte of lake and journal and say what is not as it was written.

    Changes nothing and may run beside the sidecar.
    """
    from collector.cli import upkeep  # noqa: PLC0415 - see module docstring

    raise typer.Exit(0 if upkeep.show_verification(data, as_json=as_json) else _FAILED)


def backup(
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A directory that is empty or not there yet.")
    ],
    data: DataDirectory = Path("clearspan-data"),
    update: Annotated[
        bool,
        typer.Option("--update", help="Bring an older backup of the same lake up to date."),
    ] = False,
) -> None:
    """Copy lake and journal as of one moment, while the sidecar writes.

    The copy is a data directory: query it, verify it, run a sidecar on it.
    """
    from collector.cli import upkeep  # noqa: PLC0415 - see module docstring

    upkeep.make_backup(data, destination, update=update)


def repair(
    data: DataDirectory = Path("clearspan-data"),
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would be done."),
    ] = False,
) -> None:
    """Make a damaged lake sound again: set damaged files aside, make the manifest anew.

    The sidecar must not be running on it. Nothing is deleted that holds spans.
    """
    from collector.cli import upkeep  # noqa: PLC0415 - see module docstring

    raise typer.Exit(0 if upkeep.make_repair(data, dry_run=dry_run) else _FAILED)


def reredact(
    config: ConfigFiles = None,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be cut.")
    ] = False,
    no_grace: NoGrace = False,
    delete_quarantined: DeleteQuarantined = False,
) -> None:
    """Apply today's redaction to everything stored under other rules; the sidecar must be stopped.

    A run that was killed goes on where it was. Queries may run meanwhile.
    """
    from collector.cli.reredact import reredact as run_reredact  # noqa: PLC0415 - module docstring

    is_ok = run_reredact(
        config or [],
        overrides or [],
        os.environ,
        dry_run=dry_run,
        no_grace=no_grace,
        delete_quarantined=delete_quarantined,
    )
    raise typer.Exit(0 if is_ok else _FAILED)


def erase(  # noqa: PLR0913, PLR0917 - one parameter an option
    trace_ids: Annotated[
        list[str] | None,
        typer.Option("--trace-id", metavar="HEX", help="A whole trace, its log records included."),
    ] = None,
    users: Annotated[
        list[str] | None,
        typer.Option(
            "--user",
            metavar="VALUE",
            help="Every trace, and log record of none, that holds this, as it is or as its token.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="SQL", help="Spans of the view spans that this is true of."),
    ] = None,
    whole_traces: Annotated[
        bool, typer.Option("--whole-traces", help="Of what --where finds, all of its trace.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Erase; without it nothing is changed.")
    ] = False,
    no_grace: NoGrace = False,
    delete_quarantined: DeleteQuarantined = False,
    config: ConfigFiles = None,
    overrides: Overrides = None,
) -> None:
    """Erase spans, their events and log records everywhere, search every byte, print a receipt.

    A running sidecar does it itself, while data comes in. Killed, run it again.
    """
    from collector.cli import erasure  # noqa: PLC0415 - see module docstring

    is_clean = erasure.erase(
        erasure.Wanted(trace_ids or [], users or [], where, whole_traces),
        config or [],
        overrides or [],
        os.environ,
        yes=yes,
        no_grace=no_grace,
        delete_quarantined=delete_quarantined,
    )
    raise typer.Exit(0 if is_clean else _FAILED)


DATA_VERBS: Final = (verify, backup, repair, reredact, erase)
