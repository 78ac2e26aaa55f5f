"""`neuralreg batch status`: how far a study is, also while it runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson


def status(
    study: Annotated[Path, typer.Argument(help="The folder of a study.")], as_json: AsJson = False
) -> None:
    """Tell how far a study is, also while it runs.

    With --json a line for each row, and a last one for the study.
    Exit codes: 0 all done; 1 some failed, or are to be done; 2 no study.
    """
    from neuralreg.cli.terminal import columns
    from neuralreg.studies.accounts.study_status import read_status
    from neuralreg.studies.execution.row_records import DONE

    state = read_status(study)
    if as_json:
        for record in state.records:
            typer.echo(json.dumps(asdict(record)))
        typer.echo(json.dumps({"study": str(study), **state.facts()}))
    else:
        typer.echo(columns(state.lines()))
    if any(record.state != DONE for record in state.records):
        raise typer.Exit(1)
