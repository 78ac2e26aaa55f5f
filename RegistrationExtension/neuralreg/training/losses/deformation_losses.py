"""How rough a deformation is, by name; each gets what the model found, see `methods.Prediction`.

Displacements count in voxels of the network's grid, so that derivatives have no unit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuralreg.geometry.normalized import identity_map
from neuralreg.measures import regularity
from neuralreg.training.config.part_registry import register_loss
from neuralreg.training.model.methods import Prediction


@register_loss("deformation", "bending")
def bending(prediction: Prediction) -> Tensor:
    """Mean squared second derivatives, compact stencils.

    DeepReg takes central differences of central differences, twice as wide: of white noise it
    gives an eighth, of smooth fields the same. Old weights do not carry over.
    """
    return regularity.bending(prediction.displacement)


@register_loss("deformation", "gradient")
def gradient(prediction: Prediction, *, l1: bool = False) -> Tensor:
    """Mean squared central differences, summed over the axes: DeepReg's and MONAI's.

    Args:
        prediction: of the model.
        l1: absolute instead of squared.
    """
    if not l1:
        return regularity.diffusion(prediction.displacement)
    return regularity.total_variation(prediction.displacement)


@register_loss("deformation", "jacobian")
def jacobian(prediction: Prediction, *, least: float = 0.0) -> Tensor:
    """Mean shortfall of the Jacobian determinant below `least`: a penalty on folds."""
    return regularity.jacobian_penalty(prediction.displacement, least=least)


@register_loss("deformation", "icon")
def icon(prediction: Prediction) -> Tensor:
    """Inverse consistency of the transforms of both orders, in units of the cube."""
    points = identity_map(prediction.shape, prediction.like)
    return regularity.inverse_consistency(prediction.forward, prediction.backward, points)


@register_loss("deformation", "gradicon")
def gradicon(prediction: Prediction) -> Tensor:
    """Mean squared derivative of the way there and back."""
    points = identity_map(prediction.shape, prediction.like)
    return regularity.gradient_inverse_consistency(prediction.forward, prediction.backward, points)


@register_loss("deformation", "magnitude")
def magnitude(prediction: Prediction) -> Tensor:
    """Mean squared length, in voxels: for affine motions that shall stay small."""
    return torch.mean(prediction.displacement.square())
