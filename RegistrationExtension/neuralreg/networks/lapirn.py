"""LapIRN: displacement or diffeomorphic, three levels from coarse to fine.

Source: Mok and Chung 2020, "Large Deformation Diffeomorphic Image Registration with Laplacian
Pyramid Networks", doi:10.48550/arXiv.2006.16148.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from neuralreg.geometry.normalized import exponential
from neuralreg.networks.pyramid import SLOPE, PyramidLevel, Widths, convolution, rectify


class ResidualBlock(nn.Module):
    """Two convolutions, each after a rectifier, added to the input."""

    def __init__(self, dimension: int, channels: int) -> None:
        super().__init__()
        self.conv1 = convolution(dimension, channels, channels)
        self.conv2 = convolution(dimension, channels, channels)

    def forward(self, values: Tensor, _code: Tensor | None = None) -> Tensor:
        """(n, c, z, y, x) to the same shape."""
        inner = rectify(self.conv1(functional.leaky_relu(values, SLOPE)))
        return self.conv2(inner) + values  # type: ignore[no-any-return]


class LapIRN(PyramidLevel):
    """The finest of three levels.

    Images are (1, 1, z, y, x), or (1, 1, y, x), in 0..1; sizes divide by 8.

    Args:
        start_channel: the authors' unit of width; all layers have four times as many.
        diffeomorphic: whether the levels add up a velocity, which is then integrated.
        dimension: of the images.
    """

    def __init__(
        self, start_channel: int = 7, *, diffeomorphic: bool = False, dimension: int = 3
    ) -> None:
        level = dimension, Widths(*[4 * start_channel] * 4), partial(ResidualBlock, dimension)
        super().__init__(*level, PyramidLevel(*level, PyramidLevel(*level)))
        self.diffeomorphic = diffeomorphic

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (1, d, z, y, x), fixed to moving, normalized, components x y z."""
        field = self.predict(fixed, moving, velocity=self.diffeomorphic).field
        return exponential(field) if self.diffeomorphic else field

    def both(self, fixed: Tensor, moving: Tensor, **options: float) -> tuple[Tensor, Tensor]:
        """Fixed to moving, moving to fixed: one pass, where the field is a velocity, else two."""
        if not self.diffeomorphic:
            return super().both(fixed, moving, **options)
        velocity = self.predict(fixed, moving, velocity=True).field
        return exponential(velocity), exponential(-velocity)


build = LapIRN
