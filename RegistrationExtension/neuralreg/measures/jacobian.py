"""What a deformation does to volume, in the world frame."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralreg.errors import InvalidImage
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.sampling import slabs

_SLAB = 1 << 20  # samples per slab: about 100 bytes each
_LEAST_DETERMINANT = 1e-9  # folded samples count as this in the logarithm; see sd_log_jacobian


def jacobian_determinant(field: DisplacementField) -> Tensor:
    """Local change of volume, det(I + du/dp) with p in LPS mm; 1 where nothing changes.

    Above 1 the moving image is larger there than the fixed one, <= 0 the field folds. Central
    differences of the samples, one-sided at the ends, so an affine field is exact; along an axis
    of one sample u is taken as constant. Works in slabs and is differentiable.

    Args:
        field: the displacement, in mm.

    Returns:
        (z, y, x), one value per sample of the field.
    """
    first = field.grid.shape[0]
    return torch.cat([_rows(field, rows, first) for rows in slabs(field.grid.shape, _SLAB)])


def _rows(field: DisplacementField, rows: slice, first: int) -> Tensor:
    """The determinant in some rows of the first array axis, with a halo of one sample."""
    halo = slice(max(rows.start - 1, 0), min(rows.stop + 1, first))
    d = field.grid.dimension
    vectors = field.vectors[:, halo]
    derivatives = torch.stack([_derivative(vectors, axis) for axis in range(d, 0, -1)], 1)
    inside = slice(rows.start - halo.start, rows.stop - halo.start)
    to_index = torch.as_tensor(field.grid.world_to_index[:d, :d]).to(vectors)
    gradient = torch.einsum("ia...,aj->ij...", derivatives[:, :, inside], to_index)
    return determinant(gradient)


def _derivative(values: Tensor, axis: int) -> Tensor:
    """Differences per sample along one axis; zero where there is only one sample."""
    if values.shape[axis] < 2:
        return torch.zeros_like(values)
    (difference,) = torch.gradient(values, dim=axis)
    return difference


def determinant(g: Tensor) -> Tensor:
    """det(I + g), written out: far faster than a batched decomposition.

    Args:
        g: gradients (d, d, ...) with d 2 or 3, any unit.

    Returns:
        Determinants (...).
    """
    if len(g) == 2:
        return (1 + g[0, 0]) * (1 + g[1, 1]) - g[0, 1] * g[1, 0]
    a, b, c = 1 + g[0, 0], 1 + g[1, 1], 1 + g[2, 2]
    return (
        a * (b * c - g[1, 2] * g[2, 1])
        - g[0, 1] * (g[1, 0] * c - g[1, 2] * g[2, 0])
        + g[0, 2] * (g[1, 0] * g[2, 1] - b * g[2, 0])
    )


def folding_percent(determinant: Tensor, inside: Tensor | None = None) -> float:
    """Share of samples, in percent, whose Jacobian determinant is <= 0 (or not a number).

    Args:
        determinant: see `jacobian_determinant`, (z, y, x).
        inside: which samples count, (z, y, x), bool; all unless given.

    Raises:
        InvalidImage: when no sample counts.
    """
    selected = _select(determinant, inside)
    return 100.0 * float((~(selected > 0)).double().mean())


def sd_log_jacobian(determinant: Tensor, inside: Tensor | None = None) -> float:
    """Standard deviation of the logarithm of the Jacobian determinant: 0 for a rigid motion.

    As in the Learn2Reg challenge (Hering et al. 2022, doi:10.1109/TMI.2022.3213983) except that
    the determinant itself is clamped, to 1e-9..1e9, so that a fold is not rewarded.

    Args:
        determinant: see `jacobian_determinant`, (z, y, x).
        inside: which samples count, (z, y, x), bool; all unless given.

    Raises:
        InvalidImage: when no sample counts.
    """
    selected = _select(determinant, inside).double()
    return float(selected.clamp(_LEAST_DETERMINANT, 1 / _LEAST_DETERMINANT).log().std(correction=0))


def _select(determinant: Tensor, inside: Tensor | None) -> Tensor:
    selected = determinant.flatten() if inside is None else determinant[inside.bool()]
    if not selected.numel():
        raise InvalidImage(
            "a percentage of no samples is not defined",
            where="the mask of the samples that count",
            got="an empty mask",
            wanted=f"at least one sample of {tuple(determinant.shape)}",
        )
    return selected
