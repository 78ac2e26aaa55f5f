"""`neuralreg atlas-segment`: labels by several atlases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuralreg.cli.common_options import AsJson, Device, Overwrite, Quiet
from neuralreg.cli.group_options import Model, OutputFolder, Preset, RefineSteps

if TYPE_CHECKING:
    from neuralreg.groups.atlases import AtlasSegmentation
    from neuralreg.groups.subjects import Subject

FILES = ("labels.nii.gz", "uncertainty.nii.gz", "atlases.csv", "agreement.csv", "result.json")


def atlas_segment(
    image: Annotated[Path, typer.Argument(help="The image that gets labels.")],
    atlases: Annotated[
        Path, typer.Option(help="A .csv with the columns image and labels, one atlas a row.")
    ],
    output: OutputFolder,
    fusion: Annotated[str, typer.Option(help="majority, staple, local or joint.")] = "joint",
    best: Annotated[
        int | None, typer.Option(min=1, help="Fuse only the most similar atlases, so many.")
    ] = None,
    model: Model = "auto",
    preset: Preset = "generic",
    refine_steps: RefineSteps = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Register several atlases to an image and fuse their labels.

    The folder gets labels.nii.gz, uncertainty.nii.gz (the share of the weight that is for other
    labels), both directions of each atlas (NAME_image_to_atlas.nii.gz, NAME_atlas_to_image.nii.gz),
    atlases.csv (similarity after registration, the best first), agreement.csv (mean Dice between
    the atlases and volume, by label) and result.json.
    """
    from neuralreg.cli.group_options import options_of
    from neuralreg.cli.outputs import folder_for
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.groups.atlases import read_atlases, segment_by_atlases
    from neuralreg.groups.choices import choose
    from neuralreg.groups.label_fusion import Fusion
    from neuralreg.io.image_files import read_image
    from neuralreg.registration.image_checks import prepare
    from neuralreg.worker.group_record import record_of

    method = choose(Fusion, fusion, "fusion")
    registration = options_of(model, preset, refine_steps, device)
    given, notes = read_atlases(atlases)
    target, more = prepare(read_image(image, notes=notes), "image")
    notes += more
    inputs = [image, *(path for one in given for path in (one.path, one.labels) if path)]
    with folder_for(FILES, output, overwrite, [*inputs, atlases]), show_progress(quiet) as progress:
        made = segment_by_atlases(
            target, given, method, best=best, options=registration, progress=progress
        )
        notes += made.notes
        record = record_of(
            "atlas-segment", inputs,
            {"fusion": fusion, "best": best, "registration": registration.as_record()}, output,
        )  # fmt: skip
        written = _write(made, given, {**record, "warnings": notes}, output)
    warn(notes)
    agreement = {str(name): value for name, value in made.fused.agreement.items()}
    facts = {"output": str(output), "atlases": [one.atlas.name for one in made.atlases],
             "used": made.used, "agreement": agreement, "files": written,
             "warnings": notes}  # fmt: skip
    print_result(
        facts, as_json,
        lambda: f"wrote {output / FILES[0]}: {len(agreement)} labels of {made.used} atlases, the "
        f"most similar {made.atlases[0].atlas.name}",
    )  # fmt: skip


def _write(
    made: AtlasSegmentation, given: list[Subject], record: dict[str, Any], folder: Path
) -> list[str]:
    import numpy as np

    from neuralreg.groups.group_files import RECORD, write_record, write_table
    from neuralreg.io.files import draft_folder
    from neuralreg.io.image_files import write_image
    from neuralreg.io.transform_files import write_transform

    labels = made.fused.labels
    milliliters = float(np.prod(labels.grid.spacing)) / 1000
    with draft_folder(folder, last=RECORD) as draft:
        write_image(labels, draft / "labels.nii.gz")
        write_image(made.fused.uncertainty, draft / "uncertainty.nii.gz")
        for one in made.atlases:
            name = one.atlas.name
            write_transform(one.result.field, draft / f"{name}_image_to_atlas.nii.gz")
            write_transform(one.result.inverse_field, draft / f"{name}_atlas_to_image.nii.gz")
        rows = [
            (one.atlas.name, one.atlas.path, one.similarity, "yes" if n < made.used else "no")
            for n, one in enumerate(made.atlases)
        ]
        write_table(draft / "atlases.csv", ("name", "image", "similarity", "fused"), rows)
        volumes = [
            (name, value, float((labels.data == name).sum()) * milliliters)
            for name, value in made.fused.agreement.items()
        ]
        header = ("label", "dice_between_atlases", "milliliters")
        write_table(draft / "agreement.csv", header, volumes)
        return write_record(draft, record)
