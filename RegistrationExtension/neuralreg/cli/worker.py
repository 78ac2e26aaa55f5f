"""`neuralreg worker`: jobs as JSON lines on standard input, answers on standard output."""

from __future__ import annotations

from typing import Annotated

import typer


def worker(
    idle: Annotated[float, typer.Option(help="Seconds to wait for the next job.")] = 600.0,
    finish: Annotated[
        bool, typer.Option("--finish", help="Do all jobs that were read when the input ends.")
    ] = False,
) -> None:
    """Do jobs for another program, keeping what was loaded.

    Each line in is a job, each line out a message; `neuralreg.worker.protocol` describes them.
    Without --finish the end of the input ends everything at once.
    """
    from neuralreg.worker.server import main

    main(["--idle", str(idle), *(["--finish"] if finish else [])])
