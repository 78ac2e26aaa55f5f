"""Volumes of random shapes in random contrasts: training data that needs no images.

Two views of one map of labels differ in all that does not matter for registration: gray values,
texture, shading, blur, slice thickness, noise. Source of the idea: Hoffmann et al. 2022,
SynthMorph, doi:10.1109/TMI.2021.3116879; Dey et al. 2024, doi:10.48550/arXiv.2411.02372.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_MODES = {2: "bilinear", 3: "trilinear"}


class Synthesis:
    """Endless pairs of views; all randomness from one generator.

    shape: samples z y x (or y x). labels: least and most shapes in a volume.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        labels: tuple[int, int] = (6, 24),
    ) -> None:
        self.shape, self.labels, self._random = shape, labels, generator

    @property
    def device(self) -> torch.device:
        """Where the views are made."""
        return self._random.device

    def label_map(self) -> Tensor:
        """Shapes of several sizes, numbered from 0, (z, y, x); 0 often surrounds the others."""
        labels = self._shapes(self._integer(*self.labels), 3, 10)
        if self._uniform(0, 1) < 0.5:
            return labels
        return labels.where(self._body(), torch.zeros_like(labels))

    def detail(self) -> Tensor:
        """Fine structure inside of the shapes, numbered, (z, y, x)."""
        return self._shapes(6, 8, 20)

    def view(self, labels: Tensor, detail: Tensor) -> Tensor:
        """One picture of the labels: (1, z, y, x) in 0..1."""
        gray = self._grays(labels)
        if self._uniform(0, 1) < 0.6:
            gray[0] = 0.0
        inside = gray[labels] > 0
        image = gray[labels] + 0.3 * inside * self._uniform(0, 1) * self._grays(detail)[detail]
        rough = 0.15 * self._grays(labels)
        image = image + rough[labels] * self._smooth(1, self._integer(8, 24))[0]
        image = self._blurred(image)
        image = image * torch.exp(self._uniform(0, 0.5) * self._smooth(1, self._integer(2, 4))[0])
        image = image + self._uniform(0, 0.08) * self._normal(labels.shape)
        low, high = image.min(), image.max()
        image = (image - low) / (high - low).clamp(min=1e-6)
        return (image ** torch.exp(torch.tensor(self._uniform(-0.5, 0.5))))[None]

    def pair(self) -> tuple[Tensor, Tensor, Tensor]:
        """Two views (1, z, y, x) of one map of labels, and the map."""
        labels, detail = self.label_map(), self.detail()
        return self.view(labels, detail), self.view(labels, detail), labels

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

    def _blurred(self, image: Tensor) -> Tensor:
        """Out of focus along each axis; sometimes along one as much as thick slices are."""
        thick = self._integer(0, 3 * len(self.shape))
        for axis in range(len(self.shape)):
            widths = (1, 3, 5) if axis == thick else (1, 1, 3)
            width = widths[self._integer(0, 2)]
            image = _box(_box(image, axis, width), axis, width)
        return image

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


def _box(image: Tensor, axis: int, width: int) -> Tensor:
    """Running mean of an odd width along one axis; the border goes on as it is."""
    if width == 1:
        return image
    moved = image.movedim(axis, -1)
    lines = moved.reshape(-1, 1, moved.shape[-1])
    wide = functional.pad(lines, (width // 2, width // 2), mode="replicate")
    return functional.avg_pool1d(wide, width, 1).view(moved.shape).movedim(-1, axis)
