"""`neuralreg warp`: an image or a label map through transforms."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralreg.cli.common_options import AsJson, Format, OutputFile, Overwrite

if TYPE_CHECKING:
    from neuralreg.geometry.grid import Grid
    from neuralreg.geometry.warp import Interpolation


class How(StrEnum):
    """How images are read between their voxels."""

    LINEAR = "linear"
    BSPLINE = "bspline"
    NEAREST = "nearest"


def warp(
    image: Annotated[Path, typer.Argument(help="The moving image or label map.")],
    transform: Annotated[
        list[str],
        typer.Argument(
            help="Fixed-to-moving transform files of any program. Of several, the first moves the "
            "fixed points first, as antsApplyTransforms lists them. [FILE,1] is the inverse."
        ),
    ],
    reference: Annotated[
        Path,
        typer.Option(
            "--reference",
            "-r",
            help="The fixed image, or any file with its grid: on that comes the result.",
        ),
    ],
    output: OutputFile,
    source: Format = None,
    labels: Annotated[bool, typer.Option("--labels", help="The image is a label map.")] = False,
    interpolation: Annotated[How, typer.Option(help="Label maps have their own.")] = How.LINEAR,
    background: Annotated[
        float | None,
        typer.Option(
            help="The value where the image shows nothing; its lowest unless given, 0 for labels."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Resample an image onto the fixed image's grid, all frames of a series."""
    from neuralreg.cli.terminal import print_result, warn
    from neuralreg.cli.transform_chain import field_of_chain
    from neuralreg.io.exchange.sides import Sides
    from neuralreg.io.files import require_free
    from neuralreg.io.image_files import read_grid, read_series, write_series
    from neuralreg.io.resample import warp as warp_image
    from neuralreg.io.transform_chains import Link, read_chain

    links, notes = [Link.parse(one) for one in transform], list[str]()
    require_free(output, overwrite, [image, *(link.path for link in links), reference])
    grid = read_grid(reference, notes=notes)
    moving = read_series(image, labels=labels, notes=notes)
    require_same_axes(image, moving.frames[0].grid, grid)
    contents, _ = read_chain(links, Sides(reference, image), source or [], notes)
    field = field_of_chain([link.path for link in links], contents, grid)
    mode: Interpolation = "nearest" if labels else interpolation.value

    frames = tuple(
        warp_image(frame, field, grid, interpolation=mode, outside=background)
        for frame in moving.frames
    )
    write_series(replace(moving, frames=frames), output)
    warn(notes)
    print_result(
        {"output": str(output), "frames": len(frames), "warnings": notes},
        as_json,
        lambda: f"wrote {output}" + f", {len(frames)} frames" * (len(frames) > 1),
    )


def require_same_axes(image: Path, moving: Grid, reference: Grid) -> None:
    """Check that an image has the axes of the reference.

    Raises:
        InvalidImage: one is 2D and the other 3D.
    """
    from neuralreg.errors import InvalidImage

    if moving.dimension != reference.dimension:
        raise InvalidImage(
            "an image has as many axes as its reference",
            where=str(image),
            got=f"{moving.dimension}D, and a reference in {reference.dimension}D",
            remedy="Take the matching slice out of the 3D image first.",
        )
