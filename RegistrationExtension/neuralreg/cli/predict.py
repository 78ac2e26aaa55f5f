"""`neuralreg predict`: all pairs of a split through a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson, Device, Overwrite, Quiet, TrustCode
from neuralreg.cli.train import Set

_TABLE = "metrics.csv"


def predict(
    checkpoint: Annotated[
        Path,
        typer.Option("--checkpoint", "-k", help="A run's folder, or a file in its checkpoints."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the results.")],
    configs: Annotated[
        list[Path] | None,
        typer.Argument(help="YAML files, merged over the run's own configuration."),
    ] = None,
    split: Annotated[str, typer.Option(help="The split: train, valid or test.")] = "test",
    set_: Set = None,
    nifti: Annotated[
        bool, typer.Option("--nifti/--no-nifti", help="Images, labels and fields.")
    ] = True,
    png: Annotated[bool, typer.Option("--png/--no-png", help="Pictures of the slices.")] = True,
    trust_code: TrustCode = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Register the pairs of a split with a trained model.

    The folder gets metrics.csv (a line per pair and label), metrics_stats_per_label.csv,
    metrics_stats_overall.csv, and a folder per pair with the displacement field
    fixed_to_moving.nii.gz (LPS mm), velocity.nii.gz of diffeomorphic models, the fixed, moving and
    warped images and labels, affine.txt for affine models, and pictures.
    """
    from neuralreg.cli.outputs import folder_for
    from neuralreg.cli.terminal import print_result, show_progress
    from neuralreg.cli.train import require_training, set_log_level

    require_training()
    set_log_level()
    from neuralreg.training.configuration import read_configuration
    from neuralreg.training.loop.run import configuration_of
    from neuralreg.training.results.metrics import summary
    from neuralreg.training.results.predict import PredictOptions
    from neuralreg.training.results.predict import predict as run
    from neuralreg.training.results.prediction_folder import require_no_predictions

    files = [configuration_of(checkpoint), *(configs or [])]
    config = read_configuration(files, set_ or [], run=files[0], trusted=trust_code or ())
    options = PredictOptions(split, nifti, png, device)
    if not overwrite:
        require_no_predictions(output)
    with (
        folder_for((_TABLE,), output, overwrite, [*files, checkpoint]),
        show_progress(quiet) as progress,
    ):
        rows = run(config, checkpoint, output, options, progress=progress)
    facts = {"output": str(output), "rows": len(rows), "means": dict(summary(rows))}
    print_result(facts, as_json, lambda: _words(output, facts["means"]))


def _words(output: Path, means: object) -> str:
    from neuralreg.cli.terminal import columns, words

    assert isinstance(means, dict)
    return columns([*((name, words(value)) for name, value in means.items()), ("in", str(output))])
