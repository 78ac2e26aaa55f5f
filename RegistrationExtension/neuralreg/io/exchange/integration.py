"""Displacements that stationary velocities cause, where PyTorch is installed."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from neuralreg.errors import PackageMissing


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
