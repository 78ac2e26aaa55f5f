"""How far landmarks are from their partners after a transform."""

from __future__ import annotations

import numpy as np

from neuralreg.geometry.grid import Grid
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.measures.landmarks import Pairs
from neuralreg.review.report_model import LandmarkErrors


def landmark_errors(pairs: Pairs, deformation: Deformation, moving: Grid | None) -> LandmarkErrors:
    """The target registration error of each pair, with and without the transform.

    A fixed landmark is moved by the transform; the error is its distance from the partner.

    Args:
        pairs: Landmarks in both images.
        deformation: The transform, fixed to moving.
        moving: The grid of the moving image, for errors in its voxels; 1 mm voxels unless given.
    """
    d = deformation.dimension
    fixed, partner = (np.asarray(side, float)[:, :d] for side in (pairs.fixed, pairs.moving))
    gap = deformation(fixed) - partner
    turn = np.eye(d) if moving is None else moving.world_to_index[:d, :d]
    return LandmarkErrors(
        names=pairs.names,
        fixed_lps=tuple(map(tuple, fixed.tolist())),
        before_mm=tuple(np.linalg.norm(fixed - partner, axis=1).tolist()),
        after_mm=tuple(np.linalg.norm(gap, axis=1).tolist()),
        after_voxels=tuple(np.linalg.norm(gap @ turn.T, axis=1).tolist()),
    )
