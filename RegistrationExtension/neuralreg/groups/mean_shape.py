"""The mean shape of a group: what is left of its displacements without pose.

Source: generalized Procrustes analysis, Gower 1975, doi:10.1007/BF02291478, without scaling, since
size belongs to shape here; the update of a template along the mean displacement is that of Guimond
et al. 2000, doi:10.1006/cviu.1999.0815.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.inverse import invert
from neuralreg.geometry.linear import LinearTransform, nearest_rotation
from neuralreg.geometry.sampling import change_index, index_grid

_FITTED = 20_000  # points that a rigid transform is fitted to
_INVERSE_MM = 0.02


def mean_rigid(
    transforms: list[LinearTransform], weights: list[float], center: Matrix
) -> LinearTransform:
    """The rigid transform in the middle of others: the mean rotation and the mean of a point.

    Args:
        transforms: rigid.
        weights: of each.
        center: LPS mm of the point, (d,).
    """
    d = len(center)
    share = np.array(weights) / np.sum(weights)
    total = sum(w * t.matrix[:d, :d] for w, t in zip(share, transforms, strict=True))
    places = np.stack([t(center[None])[0] for t in transforms])
    return LinearTransform.from_parts(
        nearest_rotation(np.asarray(total)), share @ places - center, center=center
    )


def points_inside(grid: Grid, inside: Tensor) -> tuple[Matrix, tuple[Tensor, ...]]:
    """Evenly taken voxels of a body: LPS mm (n, d), and their indices in array order."""
    index = torch.nonzero(inside)
    index = index[:: max(1, len(index) // _FITTED)]
    return grid.points_at(index.flip(1).double().numpy()), tuple(index.T)


def without_pose(field: DisplacementField, inside: Tensor) -> tuple[Tensor, LinearTransform]:
    """A field after the pose of its target was taken back.

    Args:
        field: template to subject, on the template's grid.
        inside: where the body of the template is, (z, y, x).

    Returns:
        Displacements in mm (d, z, y, x): where each point of the template lies in a subject that
        was moved rigidly onto it; and that pose, template to subject.
    """
    points, where = points_inside(field.grid, inside)
    moved = points + field.vectors.movedim(0, -1)[where].double().numpy()
    pose = LinearTransform.fit_rigid(points, moved)
    index = index_grid(field.grid.shape, like=field.vectors)
    world = change_index(index, field.grid.index_to_world)
    unposed = change_index(world + field.vectors.movedim(0, -1), pose.inverse().matrix)
    return (unposed - world).movedim(-1, 0), pose


def toward_mean(mean: Tensor, grid: Grid) -> DisplacementField:
    """From points of the template of the mean shape to points of the present one.

    Args:
        mean: displacement in mm (d, z, y, x) from the present template to the mean shape.
        grid: of the template.
    """
    return invert(DisplacementField(mean, grid), tolerance_mm=_INVERSE_MM)


def root_mean_square(vectors: Tensor, inside: Tensor) -> float:
    """Of the lengths of vectors (d, z, y, x) over a body (z, y, x), in mm."""
    return float(vectors.square().sum(0)[inside].mean().sqrt())
