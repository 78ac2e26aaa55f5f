"""From a stationary velocity field to the displacement it causes."""

from __future__ import annotations

from torch import Tensor

from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.normalized import scale_and_square
from neuralreg.geometry.sampling import index_grid, sample


def exponentiate(velocity: DisplacementField, *, steps: int = 7) -> DisplacementField:
    """The displacement after one unit of time in a constant velocity field: scaling and squaring.

    The negated velocity gives the inverse. Differentiable. Outside of the grid the velocity keeps
    its border value, as a displacement does.

    Args:
        velocity: mm per unit time, LPS components, on its own grid.
        steps: squarings; the first step is 2^-steps of the velocity and should stay well below a
            voxel.

    Raises:
        InvalidOption: steps is negative.

    Source: Arsigny et al. 2006, doi:10.1007/11866565_113: exp(v) = exp(v / 2^n)^(2^n).
    """
    if steps < 0:
        raise InvalidOption(
            "scaling and squaring needs a number of squarings", got=f"{steps}", wanted=">= 0"
        )
    voxels = exponentiate_voxels(velocity.to_voxels(), steps)
    return DisplacementField.from_voxels(voxels, velocity.grid)


def exponentiate_voxels(velocity: Tensor, squarings: int) -> Tensor:
    """The displacement after one unit of time in a stationary velocity field.

    Args:
        velocity: (d, z, y, x), in voxels x y z of its own array; the border value holds outside.
        squarings: the first step is 2^-squarings of the velocity.

    Returns:
        The displacement (d, z, y, x) in voxels x y z.

    Source: as for `exponentiate`.
    """
    index = index_grid(tuple(velocity.shape[1:]), like=velocity)
    return scale_and_square(
        velocity, squarings, lambda field: sample(field, index + field.movedim(0, -1))
    )
