"""`neuralreg sequence`: the frames of a series registered to each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuralreg.cli.common_options import AsJson, Device, Overwrite, Quiet
from neuralreg.cli.group_options import Model, OutputFolder, Preset, RefineSteps

if TYPE_CHECKING:
    from neuralreg.groups.motion import Motion, Pose
    from neuralreg.io.image_files import Series

FILES = ("moved.nii.gz", "reference.nii.gz", "motion.csv", "motion.svg", "result.json")


def sequence(
    series: Annotated[Path, typer.Argument(help="A series of frames in one file (4D).")],
    output: OutputFolder,
    to: Annotated[
        str,
        typer.Option(
            help="mean (of all frames, after a first pass), frame, or chain (each to the next)."
        ),
    ] = "mean",
    frame: Annotated[
        int | None, typer.Option(help="The number of the frame, from 0; the middle one.")
    ] = None,
    deformation: Annotated[str, typer.Option(help="rigid, affine or deformable.")] = "rigid",
    periodic: Annotated[
        bool,
        typer.Option("--periodic", help="The first frame follows the last: a chain is closed."),
    ] = False,
    model: Model = "auto",
    preset: Preset = "generic",
    refine_steps: RefineSteps = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Register all frames of a series, so that what it shows stands still.

    The folder gets moved.nii.gz (the frames, each resampled once), reference.nii.gz, a transform of
    each frame (frame_000.tfm, or .nii.gz where it is deformable; reference to frame), motion.csv
    and motion.svg (translations, rotations, framewise displacement) and result.json. A frame that
    cannot be registered is named, stays as it is, and has no transform; the exit code is then 1.
    """
    from neuralreg.cli.group_options import options_of
    from neuralreg.cli.outputs import folder_for
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.groups.motion import MotionOptions, estimate_motion, poses_of
    from neuralreg.io.image_files import read_series
    from neuralreg.worker.group_record import record_of

    registration = options_of(model, preset, refine_steps, device)
    options = MotionOptions.parse(to, frame, deformation, periodic, registration)
    notes: list[str] = []
    given = read_series(series, notes=notes)
    with folder_for(FILES, output, overwrite, [series]), show_progress(quiet) as progress:
        motion = estimate_motion(given.frames, options, progress)
        notes += motion.notes
        notes += [f"frame {n} stays as it is: {why}" for n, why in motion.failures.items()]
        poses = poses_of(motion)
        record = record_of("sequence", [series], options.as_record(), output)
        record |= {"failures": motion.failures, "warnings": notes}
        written = _write(given, motion, poses, record, output)
    warn(notes)
    moved = [pose.displacement_mm for pose in poses if pose is not None]
    facts = {
        "output": str(output), "frames": len(given.frames), "failed": sorted(motion.failures),
        "mean_displacement_mm": sum(moved) / max(len(moved), 1), "files": written,
        "warnings": notes,
    }  # fmt: skip
    print_result(
        facts, as_json,
        lambda: f"wrote {output / FILES[0]}: {len(given.frames)} frames, "
        f"{facts['mean_displacement_mm']:.2g} mm from frame to frame on average",
    )  # fmt: skip
    if motion.failures:
        raise typer.Exit(1)


def _write(
    given: Series,
    motion: Motion,
    poses: list[Pose | None],
    record: dict[str, Any],
    folder: Path,
) -> list[str]:
    from dataclasses import replace

    from neuralreg.geometry.linear import LinearTransform
    from neuralreg.groups.group_files import RECORD, write_record, write_table
    from neuralreg.groups.motion import resample_frame
    from neuralreg.groups.motion_plot import plot_motion
    from neuralreg.io.files import draft_folder
    from neuralreg.io.image_files import write_image, write_series
    from neuralreg.io.transform_files import write_transform

    frames = tuple(
        frame if way is None else resample_frame(frame, way, motion.reference)
        for frame, way in zip(given.frames, motion.ways, strict=True)
    )
    with draft_folder(folder, last=RECORD) as draft:
        write_series(replace(given, frames=frames), draft / "moved.nii.gz")
        write_image(motion.reference, draft / "reference.nii.gz")
        for number, way in enumerate(motion.ways):
            if way is not None:
                suffix = ".tfm" if isinstance(way, LinearTransform) else ".nii.gz"
                write_transform(way, draft / f"frame_{number:03}{suffix}")
        axes = "xyz"[: motion.reference.grid.dimension]
        turns = axes if len(axes) == 3 else "z"
        header = ["frame", *(f"translation_{a}_mm" for a in axes),
                  *(f"rotation_{a}_degrees" for a in turns), "displacement_mm"]  # fmt: skip
        rows = [
            [n, *([None] * (len(header) - 1))]
            if pose is None
            else [n, *pose.translations, *pose.rotations, pose.displacement_mm]
            for n, pose in enumerate(poses)
        ]
        write_table(draft / "motion.csv", header, rows)
        (draft / "motion.svg").write_text(plot_motion(poses), "utf-8")
        return write_record(draft, record)
