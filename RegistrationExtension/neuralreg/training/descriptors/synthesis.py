"""Pairs of random shapes in random contrasts: training data that needs no images.

Two views of one map of labels, one of them deformed, differ in all that does not matter for
registration: gray values, texture, shading, blur, slice thickness, noise, and what is outside of
the field of view. Source of the idea: Hoffmann et al. 2022, SynthMorph,
doi:10.1109/TMI.2021.3116879; Dey et al. 2024, doi:10.48550/arXiv.2411.02372.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.geometry.sampling import index_grid

_MODES = {2: "bilinear", 3: "trilinear"}


class SyntheticPair(NamedTuple):
    """Two views of one map of labels.

    Attributes:
        fixed: (1, z, y, x) in 0..1.
        moving: (1, z, y, x) in 0..1.
        displacement: (d, z, y, x), voxels x y z, fixed to moving.
        visible: (z, y, x), bool, where the moving view shows what the fixed one does.
    """

    fixed: Tensor
    moving: Tensor
    displacement: Tensor
    visible: Tensor


class Synthesis:
    """Endless pairs of views; all randomness from one generator.

    Args:
        shape: samples z y x (or y x).
        generator: of the random numbers; its device is that of the views.
        labels: least and largest number of shapes in a volume.
        farthest: largest displacement along an axis, in voxels.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        labels: tuple[int, int] = (6, 24),
        farthest: float = 11.0,
    ) -> None:
        self.shape, self.labels, self.farthest = shape, labels, farthest
        self._random = generator

    @property
    def device(self) -> torch.device:
        """Where the views are made."""
        return self._random.device

    def pair(self) -> SyntheticPair:
        """Two views of one map of labels, the fixed one of a deformed map."""
        labels, detail = self.label_map(), self.detail()
        other_detail = self.detail() if self._happens(0.4) else detail
        displacement = self.displacement()
        at = index_grid(self.shape, like=displacement) + displacement.movedim(0, -1)
        fixed = self.view(_nearest(labels, at), _nearest(detail, at))
        moving = self.view(labels, other_detail)
        last = torch.tensor(self.shape[::-1], device=self.device) - 1
        visible = ((at >= 1) & (at <= last - 1)).all(-1)
        if self._happens(0.3):
            axis, slices = self._field_of_view()
            moving = moving.index_select(axis + 1, slices)
            covered = slices == torch.arange(len(slices), device=self.device)
            covered = covered.view(-1, *[1] * (len(self.shape) - axis - 1)).expand(self.shape)
            visible = visible & _nearest(covered, at)
        return SyntheticPair(fixed, moving, displacement, visible)

    def label_map(self) -> Tensor:
        """Shapes of several sizes, numbered from 0, (z, y, x); 0 often surrounds the others."""
        labels = self._shapes(self._integer(*self.labels), 3, 10)
        if self._happens(0.5):
            return labels
        return labels.where(self._body(), torch.zeros_like(labels))

    def detail(self) -> Tensor:
        """Fine structure inside of the shapes, numbered, (z, y, x)."""
        return self._shapes(6, 8, 20)

    def displacement(self) -> Tensor:
        """Smooth at two scales, and a shift: (d, z, y, x) in voxels x y z."""
        d = len(self.shape)
        broad = self._uniform(0, 6) * self._smooth(d, self._integer(2, 5))
        narrow = self._uniform(0, 2) * self._smooth(d, self._integer(4, 9))
        shift = self._uniform(0, 6) * self._normal((d, *[1] * d))
        return (broad + narrow + shift).clamp(-self.farthest, self.farthest)

    def view(self, labels: Tensor, detail: Tensor) -> Tensor:
        """One picture of the labels: (1, z, y, x) in 0..1."""
        gray = self._grays(labels)
        if self._happens(0.3):  # few grays: neighbors that this view does not tell apart
            gray = (gray * (steps := self._integer(2, 5))).floor() / steps
        if self._happens(0.6):
            gray[0] = 0.0
        inside = gray[labels] > 0
        image = gray[labels] + 0.35 * inside * self._uniform(0, 1) * self._grays(detail)[detail]
        rough = 0.15 * self._grays(labels)
        image = image + rough[labels] * self._smooth(1, self._integer(8, 24))[0]
        image = self._blur(image)
        image = image * torch.exp(self._uniform(0, 0.5) * self._smooth(1, self._integer(2, 4))[0])
        image = self._add_noise(image)
        low, high = image.min(), image.max()
        image = (image - low) / (high - low).clamp(min=1e-6)
        return (image ** torch.exp(torch.tensor(self._uniform(-0.7, 0.7))))[None]

    def _shapes(self, count: int, coarsest: int, finest: int) -> Tensor:
        """Where each of some smooth random fields is the highest one: (z, y, x)."""
        heights = sum(
            weight * self._smooth(count, self._integer(coarsest, finest))
            for weight in (1.0, 0.5, 0.25)
        )
        return torch.as_tensor(heights).argmax(0)

    def _grays(self, labels: Tensor) -> Tensor:
        """A random gray value for each label."""
        return torch.rand(int(labels.max()) + 1, generator=self._random, device=self.device)

    def _body(self) -> Tensor:
        """A blob around the middle."""
        axes = [torch.linspace(-1, 1, n, device=self.device) for n in self.shape]
        radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
        return radius + 0.25 * self._smooth(1, 4)[0] < self._uniform(0.6, 1.0)

    def _blur(self, image: Tensor) -> Tensor:
        """Out of focus along each axis; at times a lot, or along one as thick slices are."""
        thick = self._integer(0, 3 * len(self.shape))
        broad = (3, 5, 7)[self._integer(0, 2)] if self._happens(0.25) else 1
        for axis in range(len(self.shape)):
            widths = (1, 3, 5) if axis == thick else (1, 1, 3)
            for width in (widths[self._integer(0, 2)], broad):
                image = _box(_box(image, axis, width), axis, width)
        return image

    def _add_noise(self, image: Tensor) -> Tensor:
        """With noise, at times a lot, at times smooth, at times of magnitudes as in MR."""
        noise = self._normal(self.shape)
        height = self._uniform(0, (0.02, 0.02, 0.06, 0.06, 0.2)[self._integer(0, 4)])
        if self._happens(0.3):
            for axis in range(len(self.shape)):
                noise = 3**0.5 * _box(noise, axis, 3)
        image = image + height * noise
        return image.abs() if self._happens(0.3) else image

    def _field_of_view(self) -> tuple[int, Tensor]:
        """An axis, and the slices shown along it: the image ends, and its last slice is repeated,
        as `working_grid.resample_through` does."""
        axis = self._integer(0, len(self.shape) - 1)
        last = self.shape[axis] - 1
        slices = torch.arange(last + 1, device=self.device)
        slices = slices.clamp(max=int(self._uniform(0.6, 0.95) * last))
        return axis, (last - slices).flip(0) if self._happens(0.5) else slices

    def _smooth(self, count: int, coarse: int) -> Tensor:
        """Fields of unit height with features of the extent over `coarse`: (count, z, y, x)."""
        d = len(self.shape)
        small = self._normal((1, count, *[coarse] * d))
        return functional.interpolate(small, self.shape, mode=_MODES[d], align_corners=True)[0]

    def _normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._random, device=self.device)

    def _uniform(self, low: float, high: float) -> float:
        unit = torch.rand((), generator=self._random, device=self.device)
        return low + (high - low) * float(unit)

    def _integer(self, low: int, high: int) -> int:
        """Both ends count."""
        return low + int(self._uniform(0, high - low + 1 - 1e-6))

    def _happens(self, chance: float) -> bool:
        return self._uniform(0, 1) < chance


def _nearest(values: Tensor, at: Tensor) -> Tensor:
    """Values (z, y, x) at indices x y z (z', y', x', d), the ends repeat."""
    last = torch.tensor(values.shape, device=at.device) - 1
    index = at.flip(-1).round().long().clamp(min=0).minimum(last)
    return values[tuple(index.movedim(-1, 0))]


def _box(image: Tensor, axis: int, width: int) -> Tensor:
    """Running mean of an odd width along one axis; the border goes on as it is."""
    if width == 1:
        return image
    moved = image.movedim(axis, -1)
    lines = moved.reshape(-1, 1, moved.shape[-1])
    wide = functional.pad(lines, (width // 2, width // 2), mode="replicate")
    return functional.avg_pool1d(wide, width, 1).view(moved.shape).movedim(-1, axis)
