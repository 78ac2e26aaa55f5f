"""`neuralreg warp`: images, labels, landmarks, meshes and streamlines through transforms."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralreg.cli.common_options import AsJson, Format, OutputFile, Overwrite

if TYPE_CHECKING:
    from neuralreg.geometry.warp import Interpolation


class How(StrEnum):
    """How images are read between their voxels."""

    LINEAR = "linear"
    BSPLINE = "bspline"
    NEAREST = "nearest"


def warp(
    file: Annotated[
        Path,
        typer.Argument(
            help="The moving image or label map, a segmentation of 3D Slicer (.seg.nrrd), "
            "landmarks (.mrk.json, .fcsv, .csv), a mesh (.vtk, .vtp, .vtu, .ply, .stl), or "
            "streamlines (.trk, .tck)."
        ),
    ],
    transform: Annotated[
        list[str],
        typer.Argument(
            help="Fixed-to-moving transform files of any program. Of several, the first moves the "
            "fixed points first, as antsApplyTransforms lists them. [FILE,1] is the inverse."
        ),
    ],
    output: OutputFile,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            "-r",
            help="The fixed image, or any file with its grid: on that comes an image.",
        ),
    ] = None,
    source: Format = None,
    labels: Annotated[bool, typer.Option("--labels", help="The image is a label map.")] = False,
    interpolation: Annotated[How, typer.Option(help="Label maps have their own.")] = How.LINEAR,
    background: Annotated[
        float | None,
        typer.Option(
            help="The value where the image shows nothing; its lowest unless given, 0 for labels."
        ),
    ] = None,
    to_moving: Annotated[
        bool,
        typer.Option(
            "--to-moving",
            help="Points: they are in the fixed image, and go to the moving one.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Bring images, labels, landmarks, meshes or streamlines from the moving to the fixed image."""
    from neuralreg.cli.terminal import print_result, warn
    from neuralreg.cli.transform_chain import field_of_chain
    from neuralreg.io.exchange.sides import Sides
    from neuralreg.io.files import require_free
    from neuralreg.io.formats.segmentations import is_segmentation
    from neuralreg.io.image_files import read_grid, read_series, write_series
    from neuralreg.io.point_sets.point_files import is_point_file, require_writable
    from neuralreg.io.point_sets.point_transforms import move_file
    from neuralreg.io.resample import require_same_axes, warp_segments
    from neuralreg.io.resample import warp as warp_image
    from neuralreg.io.transform_chains import Link, read_chain

    links, notes = [Link.parse(one) for one in transform], list[str]()
    inputs = [file, *(link.path for link in links), *([reference] if reference else [])]
    require_free(output, overwrite, inputs)
    points = is_point_file(file)
    if points:
        require_writable(output, file)
    else:
        _require_for_images(file, reference, to_moving)
    grid = read_grid(reference, notes=notes) if reference else None
    contents, _ = read_chain(links, Sides(reference, None if points else file), source or [], notes)
    if points or grid is None:
        unit = "points"
        count = move_file(file, contents, output, notes, grid=grid, to_fixed=not to_moving)
    else:
        field = field_of_chain([link.path for link in links], contents, grid)
        if is_segmentation(file) and is_segmentation(output):
            unit, count = "layers", warp_segments(file, field, output, grid)
        else:
            moving = read_series(file, labels=labels, notes=notes)
            require_same_axes(file, moving.frames[0].grid, grid)
            mode: Interpolation = "nearest" if labels else interpolation.value
            frames = [
                warp_image(frame, field, grid, interpolation=mode, outside=background)
                for frame in moving.frames
            ]
            write_series(replace(moving, frames=tuple(frames)), output)
            unit, count = "frames", len(frames)
    warn(notes)
    print_result(
        {"output": str(output), unit: count, "warnings": notes},
        as_json,
        lambda: f"wrote {output}" + f", {count} {unit}" * (count > 1),
    )


def _require_for_images(file: Path, reference: Path | None, to_moving: bool) -> None:
    from neuralreg.errors import InvalidOption

    if reference is None:
        raise InvalidOption(
            "an image comes onto the grid of another", where=str(file),
            remedy="Name the fixed image (--reference).",
        )  # fmt: skip
    if to_moving:
        raise InvalidOption(
            "points go to the moving image; an image comes from it", got="--to-moving",
            remedy="Give the transform of the other direction, or [FILE,1] for its inverse.",
        )  # fmt: skip
