"""FieldRefinement of a field by gradient descent on a stationary velocity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.geometry.velocity import exponentiate_voxels
from neuralreg.progress import Progress, stage
from neuralreg.registration.adam import descend
from neuralreg.registration.channels.channel_costs import Channels, Cost, enlarge
from neuralreg.registration.guides.guide_costs import NO_GUIDES, GuideCosts
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.working_grid import WorkingPair


class _Descent(NamedTuple):
    """How a cost is followed. rate: length of the first steps in voxels."""

    roughness: float  # weight
    rate: float


# Descriptors of two modalities agree by chance, so their field is kept stiffer than that of
# intensities which mean the same; and they lead further, so steps of half a voxel end on the way.
_MIND = _Descent(roughness=1.0, rate=1.0)
_LNCC = _Descent(roughness=0.15, rate=0.5)

_CONTROL = 2  # voxels between control points of the velocity
_SQUARINGS = 4
# Of mutual information: less is what any flexible field finds in noise. Relative, and in standard
# errors, of which one is about 1 / sqrt(samples) nats: it counts in small images only.
_LEAST_GAIN = 0.02
_LEAST_ERRORS = 2.5
_FAR = 1.5  # voxels: root mean square that no modality's bias or noise reached on rigid pairs


def control_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Control points per axis for a work grid of `shape`, with points at both ends."""
    return tuple(max(2, -(-n // _CONTROL)) if n >= 4 * _CONTROL else n for n in shape)


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
        channels: the similarity that each channel followed last, where there are several.
    """

    used: tuple[str, ...]
    kept: str
    information: tuple[float, ...]
    full_resolution: tuple[float, float] | None = None
    start: str = "guess"
    channels: tuple[str, ...] = ()


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

    Images that look like one modality at once take half as many steps of MIND. It is only where
    LNCC begins then: without it, LNCC loses its way where there is no texture.
    """
    pair = judge.pair
    auto = options.similarity == "auto"
    names = ("mind", "lncc") if auto else (options.similarity,)
    chosen: list[str] = [options.similarity for _ in judge.channels.parts]
    information = [rest.value]
    far = judge.displacement_rms(velocity) > _FAR
    outcome, best, points = rest.name, rest.value, rest.points
    for n, name in enumerate(names):
        part = stage(progress, n / len(names), (n + 1) / len(names))
        if name == "mind":
            halved = auto and judge.is_one_modality(velocity)
            how = replace(options, steps=ceil(options.steps / 2)) if halved else options
            improve(velocity, judge.with_guides(judge.channels.mind_cost()), _MIND, how, part)
        else:
            chosen = judge.choose_similarities(velocity) if auto else chosen
            _follow_lncc(judge, velocity, chosen, options, part)
        information.append(judge(velocity))
        worth = worthwhile(best, information[-1], pair.valid)
        worth = worth or far if name == "mind" else worth and judge.is_alike(velocity, chosen)
        if worth or not auto:
            outcome, best, points = name, information[-1], velocity.points
    velocity.points = points
    followed = tuple(chosen if outcome == "lncc" else ["mind"] * len(chosen))
    channels = followed if len(chosen) > 1 else ()
    return RefinementRecord(names, outcome, tuple(information), channels=channels)


def _follow_lncc(
    judge: _Judge,
    velocity: Velocity,
    similarities: list[str],
    options: FieldRefinement,
    progress: Progress,
) -> None:
    for factor, part in ((2, (0.0, 0.2)), (1, (0.2, 1.0))):
        images = judge.channels.lncc_cost(factor, similarities, _LNCC.roughness / _MIND.roughness)
        cost = judge.with_guides(images)
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
        self.channels = Channels(pair)

    @torch.no_grad()
    def __call__(self, velocity: Velocity) -> float:
        """Mutual information in nats over what both images show, less what guides cost."""
        return self.channels.agreement(_voxels(velocity)) - self.guides.nats(velocity)

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
        voxels = _voxels(velocity)[:, inside]
        return float(voxels.square().sum(0).mean().sqrt()) if voxels.numel() else 0.0

    @torch.no_grad()
    def choose_similarities(self, velocity: Velocity) -> list[str]:
        """LNCC for channels of one modality, MIND for the others; LNCC is tried where none is."""
        alike = self.channels.are_alike(_voxels(velocity))
        return ["lncc" if one or not any(alike) else "mind" for one in alike]

    @torch.no_grad()
    def is_one_modality(self, velocity: Velocity) -> bool:
        """Whether channels with more than half of all weights each show one modality."""
        alike = self.channels.are_alike(_voxels(velocity))
        shares = [part.share for part in self.channels.parts]
        return sum(share for share, one in zip(shares, alike, strict=True) if one) > 0.5

    @torch.no_grad()
    def is_alike(self, velocity: Velocity, similarities: list[str]) -> bool:
        """Whether the images of a channel that follows LNCC look like one modality."""
        alike = self.channels.are_alike(_voxels(velocity))
        return any(a for a, name in zip(alike, similarities, strict=True) if name == "lncc")


def _voxels(velocity: Velocity) -> Tensor:
    """The displacement of a velocity at every voxel, from that at its control points."""
    return enlarge(velocity.displacement(), velocity.shape)
