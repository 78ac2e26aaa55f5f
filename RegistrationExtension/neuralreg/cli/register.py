"""`neuralreg register`: two images in, a folder of results out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from neuralreg.cli.common_options import AsJson, Device, Format, Overwrite, Quiet, one_format
from neuralreg.cli.guide_options import (
    Channel,
    Colors,
    DriveLabels,
    LabelWeight,
    LandmarkFrame,
    Landmarks,
    LandmarkTolerance,
    LandmarkWeight,
    RigidLabels,
    Sliding,
    Surface,
    SurfaceWeight,
    join_pairs,
    require_beside,
    split_channels,
)
from neuralreg.registration.options import BRAIN_MODELS, LABEL_SOURCES

FilePath = Annotated[
    Path,
    typer.Argument(
        help="An image file, a folder with a DICOM series, or one of several: FOLDER::NUMBER."
    ),
]
Given = Path | None
_BRAIN = "--extract-brain"
# Options that may stand alone, which typer's cannot: the words that may follow, the usual first.
_ALONE = {_BRAIN: BRAIN_MODELS, "--drive-labels": LABEL_SOURCES}


class RegisterCommand(TyperCommand):
    """Takes some options with and without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with the usual word where none follows, and pairs as one."""
        args = join_pairs(args)
        complete: list[str] = []
        for n, word in enumerate(args):
            if n and word in _ALONE.get(args[n - 1], ()):
                continue
            if word in _ALONE:
                following = args[n + 1 : n + 2]
                usual = following and following[0] in _ALONE[word]
                word = f"{word}={following[0] if usual else _ALONE[word][0]}"
            complete.append(word)
        return super().parse_args(ctx, complete)


def register(
    context: typer.Context,
    fixed: FilePath,
    moving: FilePath,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the results.")],
    model: Annotated[
        str, typer.Option(help="A name from `neuralreg models list`, or auto.")
    ] = "auto",
    option: Annotated[
        list[str] | None, typer.Option(help="name=number, an option of the model; repeatable.")
    ] = None,
    extract_brain: Annotated[
        str | None,
        typer.Option(
            _BRAIN,
            metavar="[auto|mindgrab|template]",
            help="Make brain masks of heads first, see brain-mask; auto without a name.",
        ),
    ] = None,
    refine: Annotated[
        str | None,
        typer.Option(
            help="Refine the result of a network: auto, mind or lncc refine its field; weights, "
            "weights:mind or weights:lncc fit a copy of the network to the pair."
        ),
    ] = None,
    refine_steps: Annotated[
        int | None, typer.Option(min=0, help="Of the refinement: 32 of a field, 50 of weights.")
    ] = None,
    preset: Annotated[str, typer.Option(help="What the images show.")] = "generic",
    fixed_seg: Annotated[Given, typer.Option(help="Label map of the fixed image.")] = None,
    moving_seg: Annotated[Given, typer.Option(help="Label map of the moving image.")] = None,
    fixed_mask: Annotated[Given, typer.Option(help="Mask: only this part is compared.")] = None,
    moving_mask: Annotated[Given, typer.Option(help="Mask: only this part is compared.")] = None,
    fixed_weight: Annotated[Given, typer.Option(help="How much each voxel counts, 0 to 1.")] = None,
    moving_weight: Annotated[Given, typer.Option(help="As --fixed-weight.")] = None,
    fixed_exclude: Annotated[
        Given,
        typer.Option(
            "--exclude",
            "--fixed-exclude",
            help="Mask of what does not count in the fixed image, such as a lesion.",
        ),
    ] = None,
    moving_exclude: Annotated[Given, typer.Option(help="The same in the moving image.")] = None,
    initial: Annotated[
        Given, typer.Option(help="Transform to begin with, of any program, fixed to moving.")
    ] = None,
    initial_format: Format = None,
    prealign: Annotated[str, typer.Option(help="auto, none, center, rigid or affine.")] = "auto",
    start: Annotated[
        str,
        typer.Option(help="Of the alignment: auto, search, or labels: structures of two heads."),
    ] = "auto",
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="Of a network: float32, bfloat16 or float16.")
    ] = "float32",
    landmarks: Landmarks = None,
    landmark_frame: LandmarkFrame = "LPS",
    landmark_weight: LandmarkWeight = 1.0,
    landmark_tolerance_mm: LandmarkTolerance = 2.0,
    drive_labels: DriveLabels = None,
    label_weight: LabelWeight = 1.0,
    channel: Channel = None,
    rigid_labels: RigidLabels = None,
    sliding: Sliding = None,
    surface: Surface = None,
    surface_weight: SurfaceWeight = 1.0,
    colors: Colors = "luminance",
    full_resolution: Annotated[
        bool, typer.Option("--full-resolution", help="Fields on the images' own grids.")
    ] = False,
    most_samples: Annotated[
        int,
        typer.Option(
            min=0, help="Of each image: larger ones are made coarser first, to need less memory."
        ),
    ] = 0,
    keep_uids: Annotated[
        bool, typer.Option("--keep-uids", help="The UIDs of DICOM in the record, not only hashes.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Bring a moving image onto a fixed one.

    The folder gets fixed_to_moving.nii.gz and moving_to_fixed.nii.gz (ITK displacement fields in
    LPS mm that hold the whole chain), warped.nii.gz, warped_seg.nii.gz where a label map of the
    moving image is given, and result.json with the model, options, warnings, numbers and times.
    The transforms are written first; when something after them fails, they stay, and the exit code
    is 1.
    """
    from dataclasses import replace

    from neuralreg.cli.outputs import folder_for
    from neuralreg.cli.terminal import columns, print_result, show_progress, warn
    from neuralreg.registration.guides.landmark_guide import LandmarkGuide
    from neuralreg.registration.options import RegistrationOptions, parse_refinement
    from neuralreg.worker.file_jobs.file_job import FILES, run
    from neuralreg.worker.file_jobs.job_files import Job, parse_numbers

    beside = "landmark_frame", "landmark_weight", "landmark_tolerance_mm"
    require_beside(context, "--landmarks", bool(landmarks), *beside)
    require_beside(context, "--drive-labels", bool(drive_labels), "label_weight")
    require_beside(context, "--surface", bool(surface), "surface_weight")
    channels, weights = split_channels(channel or [])
    guide = landmarks and LandmarkGuide.read(
        *landmarks,
        frame=landmark_frame,
        weight=landmark_weight,
        tolerance_mm=landmark_tolerance_mm,
    )
    options = RegistrationOptions().replace(
        model=model,
        model_options=parse_numbers(option or []),
        linear=prealign,
        start=start,
        preset=preset,
        refinement=parse_refinement(refine, refine_steps),
        extract_brain=extract_brain or False,
        device=device,
        precision=precision,
        full_resolution=full_resolution,
        most_samples=most_samples,
        landmarks=guide,
        label_weight=label_weight if drive_labels else 0.0,
        label_source=drive_labels or "given",
        channel_weights=weights,
        rigid_labels=rigid_labels,
        surface_weight=surface_weight,
        colors=colors,
    )
    images = (fixed, moving, fixed_seg, moving_seg, fixed_mask, moving_mask)
    counted = (fixed_weight, moving_weight, fixed_exclude, moving_exclude)
    points = (landmarks[0], landmarks[1]) if landmarks else (None, None)
    surfaces, _ = split_channels(surface or [])
    form = one_format(initial_format)
    job = Job(*images, initial, options, form, *counted, points[0], points[1], channels, surfaces)
    job = replace(job, keep_uids=keep_uids, sliding=sliding)
    inputs = job.inputs().values()
    with folder_for(FILES, output, overwrite, inputs), show_progress(quiet) as progress:
        summary = run(job, output, progress, overwrite=overwrite)
    warn(summary.warnings)
    print_result(summary.facts(), as_json, lambda: columns(summary.rows()))
    if summary.failures:
        raise typer.Exit(1)
