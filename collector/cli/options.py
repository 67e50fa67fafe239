"""Options that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="YAML file; may be repeated, later ones lie on top.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="A.B.C=VALUE",
        help="One option, over all files; the value is YAML. May be repeated.",
    ),
]

DataDirectory = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", help="The directory of exporters.lake.path."),
]

Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="DIR",
        help="The directory of exporters.lake.path, a quoted pattern of such directories or an "
        "s3://BUCKET/PREFIX; may be repeated, all are queried as one.",
    ),
]
DEFAULT_DATA: Final = ["clearspan-data"]

NoGrace = Annotated[
    bool,
    typer.Option(
        "--no-grace",
        help="Delete replaced files at once, not after exporters.lake.unlink_grace.",
    ),
]
DeleteQuarantined = Annotated[
    bool,
    typer.Option("--delete-quarantined", help="Delete damaged files that were moved aside."),
]
