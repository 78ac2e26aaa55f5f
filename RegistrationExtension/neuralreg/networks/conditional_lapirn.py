"""Conditional LapIRN: the smoothness of the field is an input, one file serves all values.

Source: Mok and Chung 2021, "Conditional Deformable Image Registration with Convolutional Neural
Network", doi:10.48550/arXiv.2106.12673.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from neuralreg.networks.pyramid import SLOPE, PyramidLevel, Widths, convolution, rectify

_CODE = 64  # numbers that the smoothness is mapped to


class StyledRectifier(nn.Module):
    """Channels normalized on request, scaled and shifted by the code, then rectified."""

    def __init__(self, channels: int, *, normalize: bool) -> None:
        super().__init__()
        self.style = nn.Linear(_CODE, 2 * channels)
        self.normalize = normalize

    def forward(self, values: Tensor, code: Tensor) -> Tensor:
        """(1, c, z, y, x) and code (1, 64) to the same shape."""
        scale, shift = self.style(code).view(1, -1, *[1] * (values.dim() - 2)).chunk(2, 1)
        scale = scale + 1
        if self.normalize:  # as one scale and shift, without a normalized copy
            variance, mean = torch.var_mean(
                values, tuple(range(2, values.dim())), correction=0, keepdim=True
            )
            scale = scale * (variance + 1e-5).rsqrt()
            shift = shift - mean * scale
        return rectify(torch.addcmul(shift, values, scale))


class ConditionalBlock(nn.Module):
    """A residual block whose rectifiers are styled by the smoothness."""

    def __init__(self, dimension: int, channels: int, *, normalize: bool) -> None:
        super().__init__()
        steps = [nn.Linear(n, _CODE) for n in (1, _CODE, _CODE, _CODE)]
        self.mapping = nn.Sequential(*(m for s in steps for m in (s, nn.LeakyReLU(SLOPE))))
        self.ai1 = StyledRectifier(channels, normalize=normalize)
        self.ai2 = StyledRectifier(channels, normalize=normalize)
        self.conv1 = convolution(dimension, channels, channels)
        self.conv2 = convolution(dimension, channels, channels)

    def forward(self, values: Tensor, smoothness: Tensor) -> Tensor:
        """(1, c, z, y, x) and smoothness (1, 1) to the same shape."""
        code = self.mapping(smoothness)
        inner = self.conv1(self.ai1(values, code))
        return self.conv2(self.ai2(inner, code)) + values  # type: ignore[no-any-return]


class ConditionalLapIRN(PyramidLevel):
    """The finest of three conditional levels.

    Images are (1, 1, z, y, x), or (1, 1, y, x), in 0..1; sizes divide by 8. With normalization the
    result depends on how much background is in the field of view.

    Args:
        widths: of the coarse, the middle and the fine level: encoder, inner, up, output.
        normalize: whether instances are normalized before they are styled.
        dimension: of the images.
    """

    def __init__(
        self,
        widths: tuple[tuple[int, int, int, int], ...] = (
            (8, 16, 16, 12),
            (8, 16, 16, 12),
            (8, 16, 8, 8),
        ),
        *,
        normalize: bool = True,
        dimension: int = 3,
    ) -> None:
        block = partial(ConditionalBlock, dimension, normalize=normalize)
        level: PyramidLevel | None = None
        for each in widths[:-1]:
            level = PyramidLevel(dimension, Widths(*each), block, level)
        super().__init__(dimension, Widths(*widths[-1]), block, level)

    def forward(self, fixed: Tensor, moving: Tensor, *, smoothness: float = 0.1) -> Tensor:
        """Displacement (1, d, z, y, x), fixed to moving, normalized, components x y z.

        Args:
            fixed: (1, 1, z, y, x) in 0..1.
            moving: like `fixed`.
            smoothness: 0 (follows every detail, may fold) to 1 (stiff).
        """
        return self.predict(fixed, moving, code=fixed.new_full((1, 1), smoothness)).field


build = ConditionalLapIRN
