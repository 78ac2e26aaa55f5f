"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _remember(ctx: typer.Context, value: bool) -> bool:
    """Let the error boundary know that a program is listening."""
    ctx.meta["json"] = value
    return value


AsJson = Annotated[
    bool,
    typer.Option(
        "--json", callback=_remember, help="One JSON object on standard output, nothing else."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is already there.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
OutputFile = Annotated[Path, typer.Option("--output", "-o", help="The file to write.")]
TrustCode = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-code", help="SHA-256 of Python code of a model or run that may run here; once."
    ),
]
