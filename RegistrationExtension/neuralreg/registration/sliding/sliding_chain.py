"""A border along which both sides slide in the whole chain of a registration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.sampling import sample
from neuralreg.geometry.typing import Array
from neuralreg.progress import Progress
from neuralreg.registration.channels.channel_costs import Channels
from neuralreg.registration.compositional_steps import MOST_SAMPLES
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.sliding.border_joint import join_sides, measure_gap
from neuralreg.registration.sliding.sliding_border import Border
from neuralreg.registration.sliding.sliding_layers import separate_sides
from neuralreg.registration.unfold import unfold_displacement
from neuralreg.registration.working_grid import (
    InitialTransform,
    add_margin,
    invert_chain,
    work_grid,
)

Layers: TypeAlias = tuple[DisplacementField, DisplacementField]  # of the part and of the rest
_BAND = 6.0  # samples beside the border, in which sliding must explain the images better
_ROUNDING = 1e-4  # nats by which resampling alone changes mutual information


@dataclass(frozen=True)
class SlidingOutcome:
    """What sliding changed.

    Attributes:
        kept: whether both sides slide; else the smooth deformation explained the images better.
        information: mutual information in nats beside the border, smooth and with sliding.
        slide_mean_mm, slide_max_mm: how far both sides move along each other.
        gap_mean_mm, gap_max_mm: between both sides, across the border.
        layer_mm: on either side of the border, where samples of the field mix both motions.
    """

    kept: bool
    information: tuple[float, float]
    slide_mean_mm: float
    slide_max_mm: float
    gap_mean_mm: float
    gap_max_mm: float
    layer_mm: float

    def notes(self) -> list[str]:
        """What is to be said, in words."""
        if self.kept:
            return []
        before, after = self.information
        return [
            "the smooth deformation was kept: sliding explained no more of the images beside the "
            f"border (mutual information {before:.3f} smooth, {after:.3f} with sliding)"
        ]

    def as_record(self) -> dict[str, object]:
        """Plain values by name, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class SlidingChain:
    """Both directions of a deformation, with a border along which both sides slide or without.

    Attributes:
        added: what comes before the initial transform, mm.
        field: the whole chain, fixed to moving.
        inverse: moving to fixed.
        mixed: the samples of the field beside which both motions mix, (z, y, x), bool; None where
            nothing slides.
        outcome: in numbers; None without a mask.
    """

    added: DisplacementField
    field: DisplacementField
    inverse: DisplacementField
    mixed: Tensor | None = None
    outcome: SlidingOutcome | None = None


def let_slide(
    inputs: Inputs,
    smooth: DisplacementField,
    whole: DisplacementField,
    initial: InitialTransform,
    options: FieldRefinement,
    full_resolution: bool,
    progress: Progress,
) -> SlidingChain:
    """The chain in both directions, with sliding where a mask asks for it and the images agree.

    Two layers, one for each side, as in Risser et al. 2013, doi:10.1016/j.media.2012.10.001, which
    share what they do across the border. A sample of the field takes the layer of its side.

    Args:
        inputs: the images, and the mask of what may slide.
        smooth: the deformation before the initial transform, mm.
        whole: the same with the initial transform, mm.
        initial: what follows the deformation.
        options: of the refinement.
        full_resolution: whether the field has the grid of the fixed image, however large.
        progress: gets the fractions of this stage.
    """
    outcome = None
    if inputs.sliding is not None:
        fixed = inputs.fixed.grid
        fine = full_resolution or fixed.count <= MOST_SAMPLES
        grid = add_margin(fixed if fine else work_grid(fixed, MOST_SAMPLES))
        border = Border.of(inputs.sliding, grid)
        start = smooth.resample(grid)
        sides = separate_sides(inputs, start, border, initial, options, progress)
        inner, outer, points = join_sides(*sides, border)
        layers = _without_folds(inner), _without_folds(outer)
        outcome = _compare(inputs, border, start, layers, points, initial)
        if outcome.kept:
            return _chain_of(layers, border, initial, inputs.moving.grid, outcome)
    inverse = invert_chain(smooth, initial, inputs.moving.grid)
    return SlidingChain(smooth, whole, inverse, outcome=outcome)


def _chain_of(
    layers: Layers, border: Border, initial: InitialTransform, moving: Grid, outcome: SlidingOutcome
) -> SlidingChain:
    """Both directions, in which each sample takes the layer of its side."""
    added = _select(border.inside, *layers)
    inner, outer = (invert_chain(layer, initial, moving) for layer in layers)
    inverse = _select(_arrives_inside(border, inner, outer), inner, outer)
    mixed = border.distance.abs() < outcome.layer_mm
    return SlidingChain(added, compose(added, initial), inverse, mixed, outcome)


def _compare(
    inputs: Inputs,
    border: Border,
    smooth: DisplacementField,
    layers: Layers,
    points: Array,
    initial: InitialTransform,
) -> SlidingOutcome:
    """What sliding changes, and whether the images beside the border bear it out."""
    added = _select(border.inside, *layers)
    before, after = _agreements(inputs, border, compose(smooth, initial), compose(added, initial))
    gap, known = measure_gap(*layers, border, points)
    slide = np.linalg.norm(layers[0](points) - layers[1](points), axis=1)[known]
    largest = max(*border.grid.spacing, *inputs.moving.grid.spacing)
    lengths = {**_lengths("slide", slide), **_lengths("gap", np.abs(gap[known]))}
    return SlidingOutcome(
        kept=after >= before - _ROUNDING,
        information=(before, after),
        **lengths,
        layer_mm=sqrt(border.grid.dimension) * largest,
    )


def _without_folds(layer: DisplacementField) -> DisplacementField:
    voxels, _ = unfold_displacement(layer.to_voxels())
    return DisplacementField.from_voxels(voxels, layer.grid)


def _select(
    inside: Tensor, inner: DisplacementField, outer: DisplacementField
) -> DisplacementField:
    """The layer of each sample's side."""
    return DisplacementField(torch.where(inside, inner.vectors, outer.vectors), inner.grid)


def _arrives_inside(border: Border, inner: DisplacementField, outer: DisplacementField) -> Tensor:
    """Which samples of the moving side show the part, (z, y, x), bool.

    Both layers take the border to one surface, so both inverses agree on the side of a point;
    where they do not by a rounding, the larger distance decides.
    """
    total = torch.zeros(inner.grid.shape, device=border.distance.device)
    for layer in (inner, outer):
        origins = layer.coordinates_in(border.grid, layer.grid)
        total += sample(border.level[None], origins)[0]
    return total > 0


def _agreements(
    inputs: Inputs, border: Border, smooth: DisplacementField, chain: DisplacementField
) -> tuple[float, float]:
    """Mutual information in nats beside the border, through two chains."""
    values = []
    for field in (smooth, chain):
        pair = inputs.working_pair(field, min(MOST_SAMPLES, inputs.fixed.grid.count))
        band = border.resample(pair.grid).distance.abs() < _BAND * min(pair.grid.spacing)
        channels = Channels(pair.within(band))
        nowhere = channels.index.new_zeros(pair.grid.dimension, *pair.grid.shape)
        values.append(channels.agreement(nowhere))
    return values[0], values[1]


def _lengths(name: str, values: Array) -> dict[str, float]:
    mean, most = (float(values.mean()), float(values.max())) if len(values) else (0.0, 0.0)
    return {f"{name}_mean_mm": mean, f"{name}_max_mm": most}
