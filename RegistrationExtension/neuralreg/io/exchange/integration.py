"""What velocities cause, and the inverse of displacements, where PyTorch is installed."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from neuralreg.errors import PackageMissing
from neuralreg.geometry.grid import Grid


def integrate(velocity: sitk.Image, path: Path, *, squarings: int = 7) -> sitk.Image:
    """The displacements that a stationary velocity causes in a unit of time.

    Args:
        velocity: LPS mm per unit of time.
        path: its file, for messages.
        squarings: the first step is 2^-squarings of the velocity.

    Raises:
        PackageMissing: PyTorch is not installed.
    """
    try:
        from neuralreg.geometry.velocity import exponentiate
        from neuralreg.io.itk import field_from_itk, field_to_itk
    except ModuleNotFoundError as error:
        raise PackageMissing(
            "a velocity is integrated with PyTorch, which is not installed",
            where=str(path),
            remedy="Use the displacement field next to it.",
        ) from error
    return field_to_itk(exponentiate(field_from_itk(velocity), steps=squarings))


def invert_displacements(
    field: sitk.Image, grid: Grid | None, notes: list[str], *, tolerance_mm: float = 0.01
) -> sitk.Image:
    """The displacements that take points back.

    Args:
        field: LPS mm.
        grid: of the inverse; that of the field unless given.
        notes: the largest error is appended in words where a field folds.
        tolerance_mm: largest error at a sample that counts as none.

    Raises:
        PackageMissing: PyTorch is not installed.
    """
    try:
        from neuralreg.geometry import inverse as solver
        from neuralreg.io.itk import field_from_itk, field_to_itk
    except ModuleNotFoundError as error:
        raise PackageMissing("a field is inverted with PyTorch, which is not installed") from error
    forward = field_from_itk(field)
    backward = solver.invert(forward, grid=grid, tolerance_mm=tolerance_mm)
    worst = float(solver.inverse_error(forward, backward).max())
    if worst > tolerance_mm:
        notes.append(f"the inverse is off by {worst:.3g} mm at most: the transform folds somewhere")
    return field_to_itk(backward)
