"""`neuralreg longitudinal`: how one person changed between scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralreg.cli.common_options import AsJson, Device, Overwrite, Quiet
from neuralreg.cli.group_options import Model, OutputFolder, Preset, RefineSteps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neuralreg.geometry.image import Image
    from neuralreg.groups.change import Pair

_CACHE = "registrations"  # in the results' folder, until the midspace is written
_STEPS, _REGULARITY = (
    60,
    0.25,
)  # changes of a person are small: they take longer and bend more freely
FILES = ("template.nii.gz", "change.csv", "result.json")


def longitudinal(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Scans of one person in the order of time, or one .csv with the columns image "
            "and, if wanted, name and labels."
        ),
    ],
    output: OutputFolder,
    deformation: Annotated[str, typer.Option(help="rigid, affine or deformable.")] = "deformable",
    model: Model = "auto",
    preset: Preset = "generic",
    refine_steps: RefineSteps = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Register the scans of one person in a midspace that favors none of them.

    The folder gets what `neuralreg template` writes (template.nii.gz is the mean in the midspace,
    with a transform to each scan), and, where the scans may deform, FIRST_to_SECOND_change.nii.gz
    (logarithm of the change of volume: 0 where nothing changed) for neighbors in time and for first
    and last, and change.csv with percent by label. The other order of time gives the inverse.
    """
    import shutil

    from neuralreg.cli.group_options import options_of
    from neuralreg.cli.outputs import folder_for
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.groups.change import linear_changes, measure_changes, pairs_in_time
    from neuralreg.groups.choices import Deformation, choose
    from neuralreg.groups.subjects import read_subjects, select_alike
    from neuralreg.groups.template import TemplateOptions, build_template
    from neuralreg.groups.template_files import label_maps, write_template
    from neuralreg.progress import stage
    from neuralreg.registration.options import FieldRefinement
    from neuralreg.worker.group_record import record_of

    chosen = choose(Deformation, deformation, "deformation")
    registration = options_of(model, preset, refine_steps, device).replace(
        refinement=FieldRefinement(steps=refine_steps or _STEPS, regularity=_REGULARITY)
    )
    # Scans that may deform are only brought together here; their changes are measured in pairs.
    midspace = Deformation.AFFINE if chosen is Deformation.AFFINE else Deformation.RIGID
    options = TemplateOptions(midspace, registration=registration)
    scans, notes = read_subjects(images, twice=True)
    scans, middle, left_out = select_alike(scans)
    notes += left_out
    inputs = [one.path for one in scans]
    with folder_for(FILES, output, overwrite, inputs), show_progress(quiet) as progress:
        built = build_template(scans, middle, options, output / _CACHE, stage(progress, 0.0, 0.3))
        notes += built.notes
        changes = {}
        pairs = pairs_in_time(scans)
        if chosen is Deformation.AFFINE:
            changes = linear_changes(built, pairs)
        elif chosen is Deformation.DEFORMABLE:
            part = stage(progress, 0.3, 1.0)
            changes = measure_changes(built, scans, pairs, registration, notes, part)
        plain = {"deformation": deformation, "registration": registration.as_record()}
        record = record_of("longitudinal", inputs, plain, output)
        record["warnings"] = notes
        maps = label_maps(built, scans)
        written = _write_changes(changes, maps, output) if changes else []
        written += write_template(built, scans, maps, record, output)
    shutil.rmtree(output / _CACHE, ignore_errors=True)
    warn(notes)
    facts = {"output": str(output), "files": sorted(written), "warnings": notes}
    print_result(facts, as_json, lambda: f"wrote {output / FILES[0]}: {len(scans)} scans")


def _write_changes(
    changes: Mapping[Pair, Image], maps: Mapping[str, Image], folder: Path
) -> list[str]:
    from neuralreg.groups.change import percent_by_label
    from neuralreg.groups.group_files import write_table
    from neuralreg.io.files import draft_folder
    from neuralreg.io.image_files import write_image

    table = percent_by_label(changes, maps["labels"]) if maps else {}
    with draft_folder(folder, last="change.csv") as draft:
        for (first, second), change in changes.items():
            write_image(change, draft / f"{first}_to_{second}_change.nii.gz")
        rows = [[label, *(row[pair] for pair in changes)] for label, row in table.items()]
        header = ["label", *(f"{first}_to_{second}_percent" for first, second in changes)]
        write_table(draft / "change.csv", header, rows)
        return sorted(each.name for each in draft.iterdir())
