"""The plain numbers that say how a registration ended."""

from __future__ import annotations

import torch

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.image import Image
from neuralreg.geometry.inverse import inverse_error
from neuralreg.geometry.linear import LinearTransform
from neuralreg.measures.jacobian import folding_percent, jacobian_determinant
from neuralreg.registration.result import Outcome
from neuralreg.registration.working_grid import foreground, resampled, shown


def judge(
    field: DisplacementField,
    inverse: DisplacementField,
    fixed: Image,
    displacement: DisplacementField,
    similarities: tuple[float, float, float],
) -> Outcome:
    """The outcome of a finished chain, measured at the samples of its field.

    fixed: the image that the field starts from; its foreground is the body. displacement: what was
    added to the pre-alignment. similarities: before, after the linear part, at the end.
    """
    determinant = jacobian_determinant(field)
    error = inverse_error(inverse, field)
    everywhere = torch.ones_like(fixed.data[:1], dtype=torch.float32)
    still = LinearTransform.identity(fixed.grid.dimension)
    inside = shown(fixed.grid, field.grid, still, everywhere) > 0.5
    body = inside & (resampled(foreground(fixed)[None].float(), fixed.grid, field.grid)[0] > 0.5)
    if not bool(body.any()):
        body = inside
    length = torch.linalg.vector_norm(displacement.resample(field.grid).vectors, dim=0)
    return Outcome(
        similarity="mutual information",
        similarity_initial=similarities[0],
        similarity_linear=similarities[1],
        similarity_final=similarities[2],
        folding_percent=folding_percent(determinant, inside),
        folding_percent_body=folding_percent(determinant, body),
        inverse_error_mean_mm=float(error[body].mean()),
        inverse_error_max_mm=float(error[body].max()),
        displacement_mean_mm=float(length[body].mean()),
        displacement_max_mm=float(length[body].max()),
    )
