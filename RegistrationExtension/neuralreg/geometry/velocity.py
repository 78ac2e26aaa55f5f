"""From a stationary velocity field to the displacement it causes."""

from __future__ import annotations

from torch import Tensor

from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.network_output import from_voxels, to_voxels
from neuralreg.geometry.sampling import index_grid, sample


def exponentiate(velocity: DisplacementField, *, steps: int = 7) -> DisplacementField:
    """The displacement after one unit of time in a constant velocity field: scaling and squaring.

    velocity: mm per unit time, LPS components, on its own grid; a field in voxels is to be turned
    into mm first. The negated velocity gives the inverse. Differentiable.
    steps: squarings; the first step is 2^-steps of the velocity and should stay well below a voxel.
    Outside of the grid the velocity keeps its border value, as a displacement does.

    Raises InvalidOption when steps is negative.
    Source: Arsigny et al. 2006, doi:10.1007/11866565_113: exp(v) = exp(v / 2^n)^(2^n).
    """
    if steps < 0:
        raise InvalidOption(
            "scaling and squaring needs a number of squarings", got=f"{steps}", wanted=">= 0"
        )
    return from_voxels(exponential(to_voxels(velocity), steps), velocity.grid)


def exponential(velocity: Tensor, squarings: int) -> Tensor:
    """Displacement (d, z, y, x) of a velocity, both in samples x y z of their own array.

    The border value holds outside. Source: as for `exponentiate`.
    """
    index = index_grid(tuple(velocity.shape[1:]), like=velocity)
    field: Tensor = velocity / 2**squarings
    for _ in range(squarings):
        field = field + sample(field, index + field.movedim(0, -1))
    return field
