"""`neuralreg template`: the average of a group."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson, Device, Overwrite, Quiet
from neuralreg.cli.group_options import Model, OutputFolder, Preset, RefineSteps

FILES = ("template.nii.gz", "template.csv", "subjects.csv", "result.json")


def template(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Images of the subjects, or one .csv with the columns image and, if wanted, name, "
            "labels, weight, mask, and channel_NAME for further images."
        ),
    ],
    output: OutputFolder,
    rounds: Annotated[
        int, typer.Option(min=0, help="Deformable rounds at most, after a rigid and an affine one.")
    ] = 4,
    spacing: Annotated[
        float | None, typer.Option(help="Voxel edge in mm; the subjects' median unless given.")
    ] = None,
    median: Annotated[
        bool, typer.Option("--median", help="The median of the intensities instead of the mean.")
    ] = False,
    model: Model = "auto",
    preset: Preset = "generic",
    refine_steps: RefineSteps = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Build the average image of a group in its mean shape, which favors nobody.

    The folder gets template.nii.gz, both directions between template and each subject
    (NAME_template_to_subject.nii.gz, NAME_subject_to_template.nii.gz), template.csv with a line for
    each round, subjects.csv, result.json, with labels the most probable label and its probability,
    and with channels template_NAME.nii.gz of each. The order of the images does not matter. The
    same command again goes on where a build was stopped.
    """
    import shutil
    from dataclasses import asdict

    from neuralreg.cli.group_options import options_of
    from neuralreg.cli.outputs import folder_for
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.groups.subjects import read_subjects, select_alike
    from neuralreg.groups.template import TemplateOptions, build_template
    from neuralreg.groups.template_files import CACHE, label_maps, write_template
    from neuralreg.worker.group_record import record_of

    options = TemplateOptions(
        rounds=rounds,
        spacing_mm=spacing,
        combination="median" if median else "mean",
        registration=options_of(model, preset, refine_steps, device),
    )
    subjects, notes = read_subjects(images)
    subjects, middle, left_out = select_alike(subjects)
    notes += left_out
    inputs = [path for one in subjects for path in one.files]
    with folder_for(FILES, output, overwrite, inputs), show_progress(quiet) as progress:
        built = build_template(subjects, middle, options, output / CACHE, progress)
        record = record_of("template", inputs, options.as_record(), output)
        record |= {
            "rounds": [asdict(line) for line in built.rounds],
            "similarities": built.similarities,
            "warnings": [*notes, *built.notes],
        }
        written = write_template(built, subjects, label_maps(built, subjects), record, output)
    shutil.rmtree(output / CACHE, ignore_errors=True)
    warn(record["warnings"])
    last = built.rounds[-1]
    facts = {"output": str(output), "files": written, "rounds": record["rounds"],
             "similarities": built.similarities, "warnings": record["warnings"]}  # fmt: skip
    print_result(
        facts, as_json,
        lambda: f"wrote {output / FILES[0]}: {len(subjects)} subjects, {last.number} rounds, the "
        f"shape moved {last.shape_change_mm:.2g} mm in the last",
    )  # fmt: skip
