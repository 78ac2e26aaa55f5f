"""`neuralreg jacobian`: the local change of volume as an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralreg.cli.common_options import (
    AsJson,
    FixedSide,
    Format,
    MovingSide,
    OutputFile,
    Overwrite,
    one_format,
)

if TYPE_CHECKING:
    from neuralreg.geometry.grid import Grid
    from neuralreg.geometry.typing import Array
    from neuralreg.review.geometry.deformation import Deformation


def jacobian(
    transform: Annotated[Path, typer.Argument(help="A transform file of any program.")],
    output: OutputFile,
    log: Annotated[
        bool, typer.Option("--log", help="Its natural logarithm; where it folds, log(0.001).")
    ] = False,
    on: Annotated[
        Path | None,
        typer.Option("--on", help="The image on whose voxels it is computed, usually the fixed."),
    ] = None,
    source: Format = None,
    fixed: FixedSide = None,
    moving: MovingSide = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write the determinant of the Jacobian of a transform.

    1 where volume is kept, above 1 where the moving image is larger than the fixed one, 0 or less
    where the transform folds. Central differences between voxels, one-sided at the border, in world
    coordinates. Without --on it is computed on the field's own grid.
    """
    import numpy as np

    from neuralreg.cli.terminal import print_result, warn
    from neuralreg.io.exchange.sides import Sides
    from neuralreg.io.files import require_free
    from neuralreg.io.itk_images import write_itk_image
    from neuralreg.io.volume import to_image
    from neuralreg.review.geometry.deformation import Deformation
    from neuralreg.review.geometry.local_deformation import determinant_of, log_determinant

    notes: list[str] = []
    require_free(output, overwrite, [transform, on, fixed, moving])
    sides = Sides(fixed or on, moving)
    deformation = Deformation.from_file(transform, sides, one_format(source), notes)
    grid = _grid_of(deformation, transform, on)
    values = determinant_of(deformation, grid)
    folded = float(100 * (values <= 0).mean())
    if folded:
        notes.append(f"{folded:.3g} % of the voxels fold (a determinant of 0 or less)")
    facts = {
        "output": str(output),
        "lowest": float(values.min()),
        "mean": float(values.mean()),
        "highest": float(values.max()),
        "folded_percent": folded,
        "warnings": notes,
    }
    written = log_determinant(values) if log else values
    write_itk_image(to_image(written.astype(np.float32), grid), output)
    warn(notes)
    print_result(facts, as_json, lambda: _sentence(output, values))


def _grid_of(deformation: Deformation, transform: Path, on: Path | None) -> Grid:
    from neuralreg.errors import InvalidTransform
    from neuralreg.io.image_files import read_grid

    if on is not None:
        return read_grid(on)
    if deformation.grid is None:
        raise InvalidTransform(
            "this transform has no grid of its own", where=str(transform),
            remedy="Name an image on whose voxels it is computed: --on FIXED.",
        )  # fmt: skip
    return deformation.grid


def _sentence(output: Path, values: Array) -> str:
    return (
        f"wrote {output}: {values.min():.4g} to {values.max():.4g}, {values.mean():.4g} on average"
    )
