"""FieldRefinement of a field by gradient descent on a stationary velocity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.geometry.sampling import index_grid, sample
from neuralreg.geometry.velocity import exponentiate_voxels
from neuralreg.measures.correlation_cost import LocalCorrelation
from neuralreg.measures.mind import mind_ssc
from neuralreg.progress import Progress, stage
from neuralreg.registration.adam import descend
from neuralreg.registration.guides.guide_costs import NO_GUIDES, GuideCosts
from neuralreg.registration.linear_search import agreement
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.working_grid import WorkingPair, equalize, quantiles

Cost = Callable[[Tensor], Tensor]


class _Descent(NamedTuple):
    """How a cost is followed. rate: length of the first steps in voxels."""

    roughness: float  # weight
    rate: float


# Descriptors of two modalities agree by chance, so their field is kept stiffer than that of
# intensities which mean the same; and they lead further, so steps of half a voxel end on the way.
_MIND = _Descent(roughness=1.0, rate=1.0)
_LNCC = _Descent(roughness=0.15, rate=0.5)

_MIND_POINTS = 150_000  # descriptors are compared at about as many places
_CONTROL = 2  # voxels between control points of the velocity
_SQUARINGS = 4
_LNCC_RADIUS = 3
# Of mutual information: less is what any flexible field finds in noise. Relative, and in standard
# errors, of which one is about 1 / sqrt(samples) nats: it counts in small images only.
_LEAST_GAIN = 0.02
_LEAST_ERRORS = 2.5
_FAR = 1.5  # voxels: root mean square that no modality's bias or noise reached on rigid pairs
_CONTRAST = 1e-3  # variance of 0..1 intensities in a window that shows something
_FEWEST_WINDOWS = 100
_ONE_MODALITY = 0.4  # scatter of the local gain: 0.04 to 0.3 valid within one, 0.47 for T2 and PD


def control_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Control points per axis for a work grid of `shape`, with points at both ends."""
    return tuple(max(2, -(-n // _CONTROL)) if n >= 4 * _CONTROL else n for n in shape)


def enlarge(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values (c, z, y, x) between the same ends in another number of samples."""
    mode = "trilinear" if len(shape) == 3 else "bilinear"
    between: Tensor = functional.interpolate(
        values[None], size=shape, mode=mode, align_corners=True
    )
    return between[0]


class Velocity:
    """A stationary velocity on control points, in voxels x y z of the work grid."""

    def __init__(self, displacement: Tensor) -> None:
        self.shape = tuple(displacement.shape[1:])
        control = control_shape(self.shape)
        self.points = enlarge(displacement, control).clone()
        ratio = [(n - 1) / max(c - 1, 1) for n, c in zip(self.shape, control, strict=True)][::-1]
        self.step = (
            torch.tensor(ratio).to(displacement).clamp(min=1e-6).view(-1, *[1] * len(control))
        )

    def smooth(self) -> Tensor:
        """The velocity at the control points: their mean over neighbors."""
        pool = functional.avg_pool3d if len(self.shape) == 3 else functional.avg_pool2d
        side = [min(3, n) if n != 2 else 1 for n in self.points.shape[1:]]
        half = [n // 2 for n in side]
        means: Tensor = pool(self.points[None], side, 1, half, count_include_pad=False)
        return means.squeeze(0)

    def displacement(self) -> Tensor:
        """Voxels x y z at the control points; its gradient is taken as that of the velocity.

        This is what log-domain demons do: the exact gradient through the squarings costs as much
        as all the rest and ends within 0.003 Dice.
        """
        smooth = self.smooth()
        with torch.no_grad():
            beyond = exponentiate_voxels(smooth / self.step, _SQUARINGS) * self.step - smooth
        return smooth + beyond

    def roughness(self) -> Tensor:
        """Mean squared difference between neighboring control points, per voxel of distance."""
        field, total = self.smooth(), torch.zeros(())
        for axis, n in enumerate(field.shape[1:], start=1):
            if n > 1:
                step = float(self.step[-axis])
                total = total + (field.diff(dim=axis) / step).square().sum(0).mean()
        return total

    def at_full_size(self, sign: float = 1.0) -> Tensor:
        """Displacement in voxels x y z at every voxel of the work grid, integrated there."""
        with torch.no_grad():
            return exponentiate_voxels(sign * enlarge(self.smooth(), self.shape), _SQUARINGS + 3)


def _cell(shape: Sequence[int], factor: int) -> tuple[int, ...]:
    """Samples per axis that are looked at as one."""
    return tuple(factor if n >= 4 * factor else 1 for n in shape)


def _pool(values: Tensor, cell: tuple[int, ...]) -> Tensor:
    pool = functional.avg_pool3d if values.dim() == 4 else functional.avg_pool2d
    return pool(values[None], cell, stride=cell)[0]


class _Scale:
    """One resolution of the work grid: where its samples are, and their displacement."""

    def __init__(self, pooled: Tensor, cell: tuple[int, ...]) -> None:
        self.shape = tuple(pooled.shape[1:])
        self.cell = torch.tensor(cell[::-1]).to(pooled).view(-1, *[1] * len(cell))
        self.index = index_grid(self.shape, like=pooled)

    def coordinates(self, displacement: Tensor) -> Tensor:
        """Indices (z, y, x, d) where the samples go by a displacement at control points."""
        return self.index + (enlarge(displacement, self.shape) / self.cell).movedim(0, -1)


def mind_cost(pair: WorkingPair) -> Cost:
    """Mean squared difference of MIND-SSC, at a resolution that keeps it affordable."""
    factor = 1
    while pair.valid.numel() / factor ** pair.valid.dim() > _MIND_POINTS:
        factor += 1
    cell = _cell(pair.valid.shape, factor)
    fixed, moving = (_pool(mind_ssc(image[None])[0], cell) for image in (pair.fixed, pair.moving))
    valid = _pool(pair.valid[None], cell)[0]
    scale = _Scale(fixed, cell)

    def cost(displacement: Tensor) -> Tensor:
        warped = sample(moving, scale.coordinates(displacement))
        return 10 * ((warped - fixed).square().mean(0) * valid).sum() / valid.sum()

    return cost


def lncc_cost(pair: WorkingPair, factor: int) -> Cost:
    """Negative mean of the signed squared local correlation, on voxels `factor` times larger."""
    images = (equalize(image, pair.body) for image in (pair.fixed, pair.moving))
    cell = _cell(pair.valid.shape, factor)
    fixed, moving, valid = (_pool(v, cell) for v in (*images, pair.valid[None]))
    windows = LocalCorrelation(fixed[0], valid[0], _LNCC_RADIUS)
    scale = _Scale(fixed, cell)

    def cost(displacement: Tensor) -> Tensor:
        return windows(sample(moving, scale.coordinates(displacement))[0])

    return cost


def gain_scatter(fixed: Tensor, warped: Tensor, valid: Tensor) -> float:
    """How much the local slope between two images (z, y, x) varies: 0 is one and the same gain.

    The interquartile range of the logarithm of covariance over variance, in windows with contrast
    where both images go up and down together. Within one modality a brighter place is brighter by
    about the same factor everywhere; between modalities each pair of tissues has its own.
    Infinite when there are no such windows.
    """
    windows = LocalCorrelation(fixed, valid, _LNCC_RADIUS)
    common, warped_variance, _ = windows.correlation(warped)
    agreeing = common.square() > 0.5 * windows.variance * warped_variance
    chosen = agreeing & (common > 0) & (windows.variance > _CONTRAST) & (valid > 0.5)
    if int(chosen.sum()) < _FEWEST_WINDOWS:
        return float("inf")
    low, high = quantiles((common[chosen] / windows.variance[chosen]).log(), 0.25, 0.75)
    return high - low


def improve(
    velocity: Velocity, cost: Cost, how: _Descent, options: FieldRefinement, progress: Progress
) -> None:
    """Moves the velocity down one cost and the weight times its roughness."""
    weight = how.roughness * options.regularity

    def loss(points: Tensor) -> Tensor:
        velocity.points = points
        return cost(velocity.displacement()) + weight * velocity.roughness()

    def report(step: int, points: Tensor, losses: Tensor) -> None:
        progress((step + 1) / options.steps, "refinement")

    velocity.points = descend(
        velocity.points,
        loss,
        steps=options.steps,
        rate=how.rate if options.rate is None else options.rate,
        floor=1.0,
        after=report,
    )


@dataclass(frozen=True)
class RefinementRecord:
    """What refinement did.

    Attributes:
        used: similarities that were followed.
        kept: "linear" when no deformation explained the images better, "landmarks" when only that
            of landmarks did, else the last similarity whose deformation did, or "full resolution".
        information: mutual information of the images in nats before, and after each similarity,
            less what landmarks cost that are apart.
        full_resolution: the same measured there before and after its steps; None without them.
        start: "guess", or "linear" where the guess misled and the linear alignment led further.
    """

    used: tuple[str, ...]
    kept: str
    information: tuple[float, ...]
    full_resolution: tuple[float, float] | None = None
    start: str = "guess"


class _Rest(NamedTuple):
    """What is kept where nothing better comes out: the alignment, or that bent by landmarks."""

    points: Tensor  # of the velocity
    value: float  # to the judge, nats
    name: str  # for the record


def refine_velocity(
    pair: WorkingPair,
    velocity: Velocity,
    options: FieldRefinement,
    progress: Progress,
    guides: GuideCosts = NO_GUIDES,
) -> RefinementRecord:
    """Moves the velocity, a first guess, until both images agree; changes it in place.

    A guess that makes the images agree less than the linear alignment alone may lead into a wrong
    optimum: a search that does not find what the fixed image cuts off pulls the rest towards it.
    Within one modality, where mutual information can say so, the linear alignment is then refined
    as well, and the better end is kept. Landmarks bend the guess and the alignment first, pull
    together with the images, and count in what is judged.
    """
    judge = _Judge(pair, guides)
    linear = Velocity(velocity.points.new_zeros(len(velocity.points), *velocity.shape))
    misled = judge(velocity) < judge(linear)
    rest = "landmarks" if judge.bend(linear) else "linear"
    judge.bend(velocity)
    part = stage(progress, 0.0, 0.5 if misled else 1.0)
    start = _Rest(linear.points, judge(linear), rest)
    record = _follow(judge, velocity, start, options, part)
    if not misled or record.kept != "lncc":
        return record
    again = _follow(judge, linear, start, options, stage(progress, 0.5, 1.0))
    if again.kept != "lncc" or again.information[-1] <= record.information[-1]:
        return record
    velocity.points = linear.points
    return replace(again, start="linear")


def _follow(
    judge: _Judge,
    velocity: Velocity,
    rest: _Rest,
    options: FieldRefinement,
    progress: Progress,
) -> RefinementRecord:
    """Moves the velocity from where it is; rest: what stays where that is not worth it.

    With the similarity "auto" each stage must show that it is worth its deformation to a judge
    that it does not optimize: mutual information must rise, and after LNCC the images must look
    like one modality, or what was before is kept. Without the judge, descriptors of two
    modalities bend a rigid pair by a millimeter. Only where the search that began moved the body
    by more than 1.5 voxels does MIND need no such proof: so far apart, and of two modalities,
    mutual information means little.
    """
    pair = judge.pair
    auto = options.similarity == "auto"
    names = ("mind", "lncc") if auto else (options.similarity,)
    information = [rest.value]
    far = judge.displacement_rms(velocity) > _FAR
    outcome, best, points = rest.name, rest.value, rest.points
    for n, name in enumerate(names):
        part = stage(progress, n / len(names), (n + 1) / len(names))
        if name == "mind":
            improve(velocity, judge.with_guides(mind_cost(pair)), _MIND, options, part)
        else:
            _follow_lncc(judge, velocity, options, part)
        information.append(judge(velocity))
        worth = worthwhile(best, information[-1], pair.valid)
        worth = worth or far if name == "mind" else worth and judge.alike(velocity)
        if worth or not auto:
            outcome, best, points = name, information[-1], velocity.points
    velocity.points = points
    return RefinementRecord(names, outcome, tuple(information))


def _follow_lncc(
    judge: _Judge, velocity: Velocity, options: FieldRefinement, progress: Progress
) -> None:
    for factor, part in ((2, (0.0, 0.2)), (1, (0.2, 1.0))):
        cost = judge.with_guides(lncc_cost(judge.pair, factor))
        improve(velocity, cost, _LNCC, options, stage(progress, *part))


def worthwhile(before: float, after: float, valid: Tensor) -> bool:
    """Whether mutual information rose by more than any flexible field finds in noise.

    Args:
        before, after: in nats.
        valid: (z, y, x), 1 at the samples that it was measured at.
    """
    error = 1 / sqrt(max(float(valid.sum()), 1.0))
    return after - before > max(_LEAST_GAIN * before, _LEAST_ERRORS * error)


class _Judge:
    """Looks at the pair through a velocity with eyes that no cost has."""

    def __init__(self, pair: WorkingPair, guides: GuideCosts) -> None:
        self.pair, self.guides = pair, guides
        self.fixed, self.moving = (equalize(v, pair.body) for v in (pair.fixed, pair.moving))
        self.index = index_grid(tuple(pair.valid.shape), like=pair.fixed)

    def _warp(self, velocity: Velocity) -> Tensor:
        displacement = enlarge(velocity.displacement(), velocity.shape)
        return sample(self.moving, self.index + displacement.movedim(0, -1))

    @torch.no_grad()
    def __call__(self, velocity: Velocity) -> float:
        """Mutual information in nats over what both images show, less what guides cost."""
        information = agreement(self.fixed, self._warp(velocity), self.pair.valid)
        return information - self.guides.nats(velocity)

    @torch.no_grad()
    def bend(self, velocity: Velocity) -> bool:
        """Bends a velocity by the guides where that is worth it, and says whether it was."""
        if not self.guides.costs():
            return False
        points, before = velocity.points, self(velocity)
        self.guides.bend(velocity)
        if self(velocity) > before:
            return True
        velocity.points = points
        return False

    def with_guides(self, cost: Cost) -> Cost:
        """The cost of the images and of all guides together."""
        costs: list[Cost] = [cost, *self.guides.costs()]
        if len(costs) == 1:
            return cost
        return lambda displacement: torch.stack([each(displacement) for each in costs]).sum()

    @torch.no_grad()
    def displacement_rms(self, velocity: Velocity) -> float:
        """Root mean square displacement in voxels, in the body that both images show."""
        inside = self.pair.body & (self.pair.valid > 0.5)
        voxels = enlarge(velocity.displacement(), velocity.shape)[:, inside]
        return float(voxels.square().sum(0).mean().sqrt()) if voxels.numel() else 0.0

    @torch.no_grad()
    def alike(self, velocity: Velocity) -> bool:
        """Whether the images look like one modality."""
        scatter = gain_scatter(self.fixed[0], self._warp(velocity)[0], self.pair.valid)
        return scatter < _ONE_MODALITY
