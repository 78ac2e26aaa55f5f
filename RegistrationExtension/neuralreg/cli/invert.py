"""`neuralreg invert`: the transform of the other direction."""

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
    from neuralreg.geometry.field import DisplacementField
    from neuralreg.geometry.grid import Grid
    from neuralreg.geometry.linear import LinearTransform


def invert(
    transform: Annotated[Path, typer.Argument(help="A transform file.")],
    output: OutputFile,
    source: Format = None,
    fixed: FixedSide = None,
    moving: MovingSide = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            "-r",
            help="The image whose points the inverse moves (for a registration result: the "
            "moving image). Without it the inverse is on the transform's own grid.",
        ),
    ] = None,
    tolerance_mm: Annotated[float, typer.Option(help="Error allowed at each sample.")] = 0.01,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write the transform that takes the points back."""
    from neuralreg.cli.terminal import print_result, warn
    from neuralreg.io.files import require_free
    from neuralreg.io.image_files import read_grid
    from neuralreg.io.transform_files import read_transform

    require_free(output, overwrite, [transform, reference, fixed, moving])
    notes: list[str] = []
    grid = None if reference is None else read_grid(reference, notes=notes)
    forward = read_transform(
        transform, grid, fixed=fixed, moving=moving, source=one_format(source), notes=notes
    )
    error_mm = _write_inverse(forward, grid, tolerance_mm, output)
    if error_mm > tolerance_mm:
        notes.append(f"largest error {error_mm:.3g} mm: the transform folds somewhere")
    warn(notes)
    facts = {"output": str(output), "largest_error_mm": error_mm, "warnings": notes}
    print_result(facts, as_json, lambda: f"wrote {output}, largest error {error_mm:.2g} mm")


def _write_inverse(
    forward: DisplacementField | LinearTransform,
    grid: Grid | None,
    tolerance_mm: float,
    output: Path,
) -> float:
    """The largest error of what was written, in mm."""
    from neuralreg.geometry.inverse import inverse_error
    from neuralreg.geometry.inverse import invert as inverse_of
    from neuralreg.geometry.linear import LinearTransform
    from neuralreg.io.transform_files import write_transform

    if isinstance(forward, LinearTransform):
        write_transform(forward.inverse(), output)
        return 0.0
    inverse = inverse_of(forward, grid=grid, tolerance_mm=tolerance_mm)
    write_transform(inverse, output)
    return float(inverse_error(forward, inverse).max())
