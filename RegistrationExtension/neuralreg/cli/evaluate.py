"""`neuralreg evaluate`: figures of what `predict` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson, Overwrite, Quiet


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="A folder that `neuralreg predict` wrote.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="For the tables; the first folder unless given."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure predictions again, from their files: overlap, distances, likeness, folding."""
    from neuralreg.cli.outputs import folder_for
    from neuralreg.cli.predict import _TABLE, _words
    from neuralreg.cli.terminal import print_result, show_progress
    from neuralreg.cli.train import require_training

    require_training()
    from neuralreg.training.results.evaluate import evaluate as run
    from neuralreg.training.results.metrics import summary

    folder = output or predictions
    with folder_for((_TABLE,), folder, overwrite), show_progress(quiet) as progress:
        rows = run(predictions, folder, progress=progress)
    facts = {"output": str(folder), "rows": len(rows), "means": dict(summary(rows))}
    print_result(facts, as_json, lambda: _words(folder, facts["means"]))
