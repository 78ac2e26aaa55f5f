"""Maps of a deformation to look at, as values on a grid of the fixed side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array
from neuralreg.review.case import COARSE, FULL, Case, ImagePair
from neuralreg.review.findings.detectors import tolerance_mm
from neuralreg.review.findings.local_misalignment import residual, suspicious_blocks
from neuralreg.review.geometry.consistency import forward_backward, invert
from neuralreg.review.geometry.volumes import limit_samples, warp

NAMES = ("jacobian", "magnitude", "forward_backward", "residual", "warped", "carried_back")


def maps_of(case: Case, names: Sequence[str]) -> dict[str, tuple[Array, Grid]]:
    """The maps of these names, (z, y, x) in single precision, and their grids.

    * jacobian: determinant, 1 for no change of volume, 0 or less where it folds.
    * magnitude: length of the displacement in mm.
    * forward_backward: mm; with an inverse estimated here where none is given.
    * residual: mm by which a block of the warped image would fit better, where that is clear; one
      value per block.
    * warped: the moving image on the fixed side.
    * carried_back: the fixed image on the moving side, by an inverse estimated here.

    Raises:
        InvalidOption: There is no such map, or it needs both images.
    """
    return {name: _map(case, name) for name in names}


def _map(case: Case, name: str) -> tuple[Array, Grid]:
    if name == "jacobian":
        return case.determinant, case.grid
    if name == "magnitude":
        return np.asarray(np.linalg.norm(case.u, axis=-1), np.float32), case.grid
    if name == "forward_backward":
        if case.inverse is None:
            return case.estimated_inverse[1], case.coarse
        return forward_backward(case.coarse_u, case.coarse, case.inverse), case.coarse
    if name not in NAMES:
        raise InvalidOption("there is no such map", got=f"'{name}'", wanted=", ".join(NAMES))
    if case.pair is None:
        raise InvalidOption("this map needs both images", got=f"'{name}'")
    if name == "warped":
        return warp(case.pair.moving, case.u, case.grid, outside=case.pair.darkest), case.grid
    if name == "carried_back":
        return _fixed_on_moving(case, case.pair)
    return _residual(case, case.pair)


def _fixed_on_moving(case: Case, pair: ImagePair) -> tuple[Array, Grid]:
    grid = limit_samples(Grid.of(pair.moving), FULL)
    inverse, _error = invert(case.deformation, limit_samples(grid, COARSE))
    low = float(sitk.GetArrayViewFromImage(pair.fixed).min())
    return warp(pair.fixed, inverse.on(grid), grid, outside=low), grid


def _residual(case: Case, pair: ImagePair) -> tuple[Array, Grid]:
    """How far a block seems to be off; 0 where it fits, or shows too little to tell."""
    coarse = case.coarse
    images = pair.on_grid(coarse, case.coarse_u)
    tolerance, inside = tolerance_mm(case.fixed_grid), case.within(coarse)
    search = residual(images.fixed, images.warped, images.valid, inside, coarse, tolerance)
    values = np.where(suspicious_blocks(search), search.length_mm, 0).astype(np.float32)
    first, spacing = search.centers[(0,) * coarse.dimension], search.cell_mm[::-1]
    grid = Grid(values.shape[::-1], tuple(spacing), tuple(first), coarse.direction)
    return values, grid
