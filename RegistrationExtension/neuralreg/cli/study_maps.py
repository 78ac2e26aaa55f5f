"""`neuralreg study-maps`: the maps of all subjects in one space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson, Overwrite, Quiet
from neuralreg.cli.group_options import OutputFolder


def study_maps(
    study: Annotated[
        Path,
        typer.Argument(help="The folder of `batch` with one fixed image, or of `template`."),
    ],
    output: OutputFolder,
    labels: Annotated[
        Path | None, typer.Option(help="Regions on the voxels of the fixed image or template.")
    ] = None,
    design: Annotated[
        Path | None, typer.Option(help="A table with the column id, and what describes subjects.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Collect the maps of all subjects of a study or template for statistics.

    The folder gets log_jacobian.nii.gz, displacement_mm.nii.gz and images.nii.gz, each with a frame
    for each subject, subjects.csv in their order with the columns of the design, and with labels
    regions.csv: the mean of each map over each region of each subject.
    """
    from neuralreg.cli.outputs import folder_for
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.studies.accounts.study_maps import MAPS, read_space, write_maps

    space = read_space(study)
    files = (*(f"{name}.nii.gz" for name in MAPS), "subjects.csv", "regions.csv")
    inputs = [one.transform for one in space.subjects]
    with folder_for(files, output, overwrite, inputs), show_progress(quiet) as progress:
        written = write_maps(space, output, labels=labels, design=design, progress=progress)
    notes = list(space.notes)
    warn(notes)
    facts = {"output": str(output), "subjects": [one.id for one in space.subjects],
             "files": written, "warnings": notes}  # fmt: skip
    print_result(facts, as_json, lambda: f"wrote {output}: {len(space.subjects)} subjects")
