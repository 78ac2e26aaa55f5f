"""Maps of a deformation to look at, as values on a grid of the fixed side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.review.case import COARSE, FULL, Case
from neuralreg.review.findings.detectors import tolerated_mm
from neuralreg.review.findings.local_misalignment import residual, suspicious
from neuralreg.review.geometry.consistency import forward_backward, inverted
from neuralreg.review.geometry.volumes import limited, warped

Array = NDArray[Any]

NAMES = ("jacobian", "magnitude", "forward_backward", "residual", "warped", "carried_back")


def maps_of(case: Case, names: Sequence[str]) -> dict[str, tuple[Array, Grid]]:
    """The maps of these names, (z, y, x) in single precision, and where they lie.

    jacobian: determinant, 1 for no change of volume, 0 or less where it folds. magnitude: length
    of the displacement in mm. forward_backward: mm; with an inverse made here where none is given.
    residual: mm by which a block of the warped image would fit better, where that is clear; one
    value per block.
    warped: the moving image on the fixed side. carried_back: the fixed image on the moving side,
    by an inverse made here.
    Raises InvalidOption for another name.
    """
    return {name: _map(case, name) for name in names}


def _map(case: Case, name: str) -> tuple[Array, Grid]:
    if name == "jacobian":
        return case.determinant, case.grid
    if name == "magnitude":
        return np.asarray(np.linalg.norm(case.u, axis=-1), np.float32), case.grid
    if name == "forward_backward":
        inverse = case.inverse
        if inverse is None:
            return case.made_inverse[1], case.coarse
        return forward_backward(case.coarse_u, case.coarse, inverse), case.coarse
    if name in ("residual", "warped", "carried_back"):
        if case.fixed is None or case.moving is None:
            raise InvalidOption("this map needs both images", got=f"'{name}'")
        if name == "warped":
            low = float(sitk.GetArrayViewFromImage(case.moving).min())
            return warped(case.moving, case.u, case.grid, outside=low), case.grid
        if name == "carried_back":
            return _carried_back(case, case.fixed, case.moving)
        return _residual(case)
    raise InvalidOption("there is no such map", got=f"'{name}'", wanted=", ".join(NAMES))


def _carried_back(case: Case, fixed: sitk.Image, moving: sitk.Image) -> tuple[Array, Grid]:
    grid = limited(Grid.of(moving), FULL)
    back, _left = inverted(case.deformation, limited(grid, COARSE))
    low = float(sitk.GetArrayViewFromImage(fixed).min())
    return warped(fixed, back.on(grid), grid, outside=low), grid


def _residual(case: Case) -> tuple[Array, Grid]:
    """How far a block seems to be off; 0 where it fits, or shows too little to tell."""
    fixed, _, moved, seen = case.images_on(case.coarse, case.coarse_u)
    tolerance = tolerated_mm(case.fixed_grid)
    found = residual(fixed, moved, seen, case.within(case.coarse), case.coarse, tolerance)
    values = np.where(suspicious(found), found.length_mm, 0).astype(np.float32)
    d = case.coarse.dimension
    first, spacing = found.centers[(0,) * d], found.cell_mm[::-1]
    grid = Grid(values.shape[::-1], tuple(spacing), tuple(first), case.coarse.direction)
    return values, grid
