"""`neuralreg warp`: an image or a label map through transforms."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson, OutputFile, Overwrite


class How(StrEnum):
    """How images are read between their voxels."""

    LINEAR = "linear"
    BSPLINE = "bspline"
    NEAREST = "nearest"


def warp(
    image: Annotated[Path, typer.Argument(help="The moving image or label map.")],
    transform: Annotated[
        list[Path],
        typer.Argument(
            help="Fixed-to-moving transform files. Of several, the first moves the fixed points "
            "first (ANTs lists them the other way round)."
        ),
    ],
    reference: Annotated[
        Path,
        typer.Option("--reference", "-r", help="The fixed image: on its grid comes the result."),
    ],
    output: OutputFile,
    labels: Annotated[bool, typer.Option("--labels", help="The image is a label map.")] = False,
    interpolation: Annotated[How, typer.Option(help="Label maps have their own.")] = How.LINEAR,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Resample an image onto the fixed image's grid."""
    from neuralreg.cli.outputs import require_free
    from neuralreg.cli.terminal import print_result, warn
    from neuralreg.cli.transform_chain import read_chain
    from neuralreg.geometry import warp as warping
    from neuralreg.io.image_files import read_image, read_labels, write_image

    require_free(output, overwrite, [image, *transform, reference])
    notes: list[str] = []
    grid = read_image(reference, notes=notes).grid
    moving = (read_labels if labels else read_image)(image, notes=notes)
    field = read_chain(transform, grid)
    if labels:
        warped = warping.warp_labels(moving, field, grid)
    else:
        warped = warping.warp(moving, field, grid, interpolation=interpolation.value)
    write_image(warped, output)
    warn(notes)
    print_result({"output": str(output), "warnings": notes}, as_json, lambda: f"wrote {output}")
