"""A template registered to subjects of one modality: Newton steps instead of a search.

What depends on the template alone is computed once for all subjects of a round, and each round goes
on from the fields of the one before. A small pair then takes a tenth of a second where `register`,
which knows nothing of its images, takes seconds.

Sources: Lucas & Kanade 1981 (least squares for a shift, in windows), in steps that are composed as
by Baker & Matthews 2004, doi:10.1023/B:VISI.0000011205.11775.fd; their sum is smoothed after each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from neuralreg.devices import threads_for
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import change_index, index_grid, magnitude, sample, slopes
from neuralreg.geometry.smoothing import gaussian
from neuralreg.registration.options import PRESETS, FieldRefinement, RegistrationOptions
from neuralreg.registration.unfold import unfold_displacement
from neuralreg.registration.working_grid import foreground, resample_to, with_edge, work_grid

LEAST_FIT = 0.3  # local correlation: below it, images are hardly of one modality
SETTLED = 0.01  # samples, root mean square of the last step
_STEPS = 20  # per level
_SAMPLES = 3_000_000  # of the finest level
_SCALES = (4.0, 2.0, 1.0)  # voxels of each level, in those of the finest one
_FEWEST = 10  # samples along an axis of a coarser level
_CONTRAST = 4.0  # samples, standard deviation of the windows of local mean and spread
_FLOOR = 0.05  # of intensities 0..1: flatter windows count less
_PULL = 2.0  # samples, standard deviation of the windows of least squares
_RIDGE = 0.02  # of squared slopes: what shows nothing does not move
_ELASTICITY = 1.0  # samples, standard deviation of the smoothing of the field at each step
_LONGEST = 0.7  # samples, of a step
_OUTLIER = 1.0  # local standard deviations: differences beyond count as so much


class TemplateTarget:
    """A template that subjects are followed from.

    Args:
        images: of the template, one of each channel, on one grid; intensities of about 0 to 1.
        steps: per level at most.
        regularity: 1 is the usual; more makes fields smoother.
        settled: root mean square of the last step over the body, in samples of a level.
    """

    def __init__(
        self,
        images: Sequence[Image],
        *,
        steps: int,
        regularity: float = 1.0,
        settled: float = SETTLED,
    ) -> None:
        self.grid = images[0].grid
        self.rule = _Rule(steps, _ELASTICITY * regularity**0.5, settled)
        finest = work_grid(self.grid, _SAMPLES)
        self.levels = [_Level.of(images, grid) for grid in _level_grids(finest)]

    def follow(
        self,
        subject: Sequence[Image],
        linear: LinearTransform,
        start: DisplacementField,
        mask: Image | None = None,
    ) -> tuple[DisplacementField, float]:
        """The way from the template to a subject, without folds, and how well it fits.

        Args:
            subject: an image of each channel, on any grids; intensities of about 0 to 1.
            linear: template to subject.
            start: template to subject, to begin with.
            mask: weights of 0 to 1 with which the subject counts; None for 1.

        Returns:
            The field on the grid of the template; the correlation of the first channel, over the
            template's body, of both images with their local mean and spread taken out.
        """
        with threads_for(self.levels[-1].grid.count), torch.no_grad():
            field = compose(start, linear.inverse())
            for level in self.levels:
                voxels = field.resample(level.grid).to_voxels()
                voxels, fit = level.follow(subject, mask, linear, voxels, self.rule)
                field = DisplacementField.from_voxels(voxels, level.grid)
            voxels, _ = unfold_displacement(voxels)
            field = DisplacementField.from_voxels(voxels, level.grid).resample(self.grid)
            return compose(field, linear), fit


def target_for(
    images: Sequence[Image], options: RegistrationOptions, settled: float = SETTLED
) -> TemplateTarget | None:
    """What the steps need of a template, or None where the options ask for another way.

    Args:
        images: of the template, as `TemplateTarget` takes them.
        options: of a registration. A model that is named, weights that are fitted, and MIND are
            other ways. Steps and regularity of a refinement count here, too.
        settled: as `TemplateTarget` takes it.
    """
    usual = options.refinement or PRESETS[options.preset].refinement
    one_modality = isinstance(usual, FieldRefinement) and usual.similarity != "mind"
    if options.model != "auto" or not one_modality:
        return None
    steps = _STEPS if options.refinement is None else usual.steps
    return TemplateTarget(images, steps=steps, regularity=usual.regularity, settled=settled)


def _level_grids(finest: Grid) -> list[Grid]:
    """From coarse to fine."""
    return [
        with_edge(finest, scale * min(finest.spacing))
        for scale in _SCALES
        if scale == 1 or min(n for n in finest.size if n > 1) >= scale * _FEWEST
    ]


def _level_contrast(values: Tensor, sigma: list[float]) -> Tensor:
    """Values (1, z, y, x) less their local mean, by their local spread."""
    mean = gaussian(values, sigma)
    variance = (gaussian(values * values, sigma) - mean * mean).clamp(min=0)
    leveled: Tensor = (values - mean) / (variance + _FLOOR**2).sqrt()
    return leveled


@dataclass(frozen=True)
class _Rule:
    """How steps are taken at each level.

    Attributes:
        steps: at most.
        elasticity: samples, standard deviation of the smoothing of the field at each step.
        settled: root mean square of the last step over the body, in samples.
    """

    steps: int
    elasticity: float
    settled: float


@dataclass(frozen=True, eq=False)
class _Layer:
    """One channel of the template at one resolution.

    Attributes:
        values: with local mean and spread taken out, (z, y, x).
        slopes: of the values, per sample along x y z, (d, z, y, x).
    """

    values: Tensor
    slopes: Tensor

    @classmethod
    def of(cls, coarse: Image) -> _Layer:
        values = _level_contrast(coarse.data, [_CONTRAST] * coarse.grid.dimension)[0]
        return cls(values, slopes(values))

    def squares(self) -> Tensor:
        """Products of the slopes, (d * d, z, y, x)."""
        return (self.slopes[:, None] * self.slopes[None]).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class _Level:
    """The template at one resolution.

    Attributes:
        grid: of what follows.
        layers: of the channels.
        solver: takes what pulls in a window to the step, (z, y, x, d, d).
        body: (z, y, x), bool.
    """

    grid: Grid
    layers: tuple[_Layer, ...]
    solver: Tensor
    body: Tensor

    @classmethod
    def of(cls, images: Sequence[Image], grid: Grid) -> _Level:
        d = grid.dimension
        coarse = [Image(resample_to(i.data.float(), i.grid, grid), grid) for i in images]
        layers = tuple(map(_Layer.of, coarse))
        products = torch.stack([layer.squares() for layer in layers]).mean(0)
        squares = gaussian(products, [_PULL] * d).movedim(0, -1).reshape(*grid.shape, d, d)
        solver = torch.linalg.inv(squares + _RIDGE * torch.eye(d))
        return cls(grid, layers, solver, foreground(coarse[0]))

    def at_own_resolution(self, subject: Image) -> Image:
        """The subject no finer than this level, with local mean and spread taken out."""
        edge = min(self.grid.spacing)
        grid = with_edge(subject.grid, edge)
        values = resample_to(subject.data.float(), subject.grid, grid)
        sigma = [_CONTRAST * edge / spacing for spacing in grid.spacing[::-1]]
        return Image(_level_contrast(values, sigma), grid)

    def follow(
        self,
        subject: Sequence[Image],
        mask: Image | None,
        linear: LinearTransform,
        voxels: Tensor,
        rule: _Rule,
    ) -> tuple[Tensor, float]:
        """The displacement before the linear transform, and how well the images fit.

        Args:
            subject: an image of each channel.
            mask: weights of the subject.
            linear: comes after the displacement.
            voxels: displacement x y z in voxels (d, z, y, x); where the steps begin.
            rule: of the steps.
        """
        d = self.grid.dimension
        index = index_grid(self.grid.shape, like=voxels)
        images = [self.at_own_resolution(image) for image in subject]
        readers = [partial(_read, image, self.grid, linear) for image in images]
        weigh = None if mask is None else partial(_read, mask, self.grid, linear)
        for _ in range(rule.steps):
            at = index + voxels.movedim(0, -1)
            pull = torch.zeros_like(voxels)
            for layer, read in zip(self.layers, readers, strict=True):
                values, inside = read(at)
                left = (layer.values - values) * inside
                pull += layer.slopes * left.clamp(-_OUTLIER, _OUTLIER)
            pull /= len(readers)
            if weigh is not None:
                pull *= weigh(at)[0]
            pull = gaussian(pull, [_PULL] * d)
            step = (self.solver @ pull.movedim(0, -1)[..., None])[..., 0].movedim(-1, 0)
            step = step * (_LONGEST / magnitude(step).clamp(min=_LONGEST))
            ahead = sample(voxels, index + step.movedim(0, -1))
            former, voxels = voxels, gaussian(step + ahead, [rule.elasticity] * d)
            moved = (voxels - former).square().sum(0)[self.body].mean().sqrt()
            if float(moved) < rule.settled:
                break
        at = index + voxels.movedim(0, -1)
        values, inside = readers[0](at)
        body = inside & self.body
        if weigh is not None:
            body &= weigh(at)[0] > 0
        return voxels, _correlation(self.layers[0].values[body], values[body])


def _read(image: Image, grid: Grid, linear: LinearTransform, at: Tensor) -> tuple[Tensor, Tensor]:
    """Values of an image at places of a grid, and whether they lie in it, (z, y, x).

    Args:
        image: whose values are asked for.
        grid: whose index the places are in.
        linear: from the world of the grid to that of the image.
        at: (z, y, x, d), x y z.
    """
    index = change_index(at, image.grid.world_to_index @ linear.matrix @ grid.index_to_world)
    end = torch.tensor(image.grid.size) - 0.5
    return sample(image.data, index)[0], ((index > -0.5) & (index < end)).all(-1)


def _correlation(one: Tensor, two: Tensor) -> float:
    """Of two lists of values; 0 where there are none."""
    if len(one) < 2:
        return 0.0
    one, two = one - one.mean(), two - two.mean()
    return float(
        (one * two).sum() / (one.square().sum() * two.square().sum()).sqrt().clamp(min=1e-12)
    )
