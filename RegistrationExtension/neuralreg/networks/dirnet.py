"""DIRNet: a convolutional regressor of control points, and a cubic B-spline through them.

Source: de Vos et al. 2017, "End-to-End Unsupervised Deformable Image Registration with a
Convolutional Neural Network", doi:10.1007/978-3-319-67558-9_24.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuralreg.networks.blocks import CONVOLUTION, single
from neuralreg.networks.network import Output, RegistrationModule

_POOL = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


class DIRNet(RegistrationModule):
    """The classic of 2D registration; also for 3D.

    Images are (n, 1, y, x), or (n, 1, z, y, x), in 0..1, of any size above 2 to the `halvings`.

    Args:
        dimension: of the images.
        width: channels of all layers.
        halvings: a control point stands for two to this power of samples along each axis.
    """

    output = Output("displacement", "voxel", "xyz")

    def __init__(self, dimension: int = 2, *, width: int = 16, halvings: int = 3) -> None:
        super().__init__()
        make = CONVOLUTION[dimension]
        layers: list[nn.Module] = []
        for inputs in [2, *[width] * (halvings - 1)]:
            layers += [make(inputs, width, 3, 1, 1), nn.ELU(inplace=True), _POOL[dimension](2)]
        for _ in range(2):
            layers += [make(width, width, 3, 1, 1), nn.ELU(inplace=True)]
        self.regressor = nn.Sequential(*layers)
        self.control = make(width, dimension, 1)
        nn.init.zeros_(self.control.weight)  # starts from the identity
        nn.init.zeros_(self.control.bias)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (n, d, z, y, x), fixed to moving, in voxels, components x y z."""
        return interpolate_spline(self.control_points(fixed, moving), tuple(fixed.shape[2:]))

    def control_points(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacements of the control points, (n, d, …), in voxels of the images."""
        return single(self.control(self.regressor(torch.cat((fixed, moving), 1))))


def interpolate_spline(control: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The cubic B-spline with given coefficients, at all samples of an array.

    Control points are in the middle of equal parts of the array; the outer ones are repeated
    beyond it.

    Args:
        control: coefficients (n, c, z', y', x').
        shape: of the array, z y x.

    Returns:
        (n, c, z, y, x).
    """
    for axis, samples in enumerate(shape, start=2):
        weights = _weights(samples, control.shape[axis]).to(control)
        control = torch.tensordot(control, weights, ([axis], [1])).movedim(-1, axis)
    return control


def _weights(samples: int, points: int) -> Tensor:
    """The share of each point at each sample: (samples, points), rows sum to 1."""
    at = (torch.arange(samples) + 0.5) * (points / samples) - 0.5
    weights = torch.zeros(samples, points)
    for offset in range(-1, 3):
        point = at.floor() + offset
        weight = _cubic((at - point).abs())
        weights.scatter_add_(1, point.long().clamp(0, points - 1)[:, None], weight[:, None])
    return weights


def _cubic(distance: Tensor) -> Tensor:
    """The cubic B-spline at a distance in control points."""
    near = 2 / 3 - distance**2 + distance**3 / 2
    return torch.where(distance < 1, near, (2 - distance).clamp(min=0) ** 3 / 6)


build = DIRNet
