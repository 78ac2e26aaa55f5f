"""A deformation of its own for each side of a border along which both slide."""

from __future__ import annotations

from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.smoothing import gaussian_within
from neuralreg.measures.correlation_cost import LocalCorrelation
from neuralreg.progress import Progress, stage
from neuralreg.registration.channels.channel_costs import Channels
from neuralreg.registration.compositional_steps import (
    FIELD_SMOOTHING,
    MOST_SAMPLES,
    RADIUS,
    SHARE,
    CorrelationSteps,
    Windows,
)
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.rigid_parts.smooth_extension import extend_smoothly
from neuralreg.registration.sliding.sliding_border import Border
from neuralreg.registration.unfold import unfold_displacement
from neuralreg.registration.working_grid import InitialTransform, work_grid

_DEPTH = 8.0  # samples of the smooth field's own grid, over which it blurs what slides
_SMOOTH_SAMPLES = 700_000  # of that grid
_EVERYWHERE = 1e4  # samples: reach of a continuation that does not fade
_UNCERTAIN = 1.0  # samples beside the border, where a voxel shows both sides
_STEP_SMOOTHING = 3.0  # samples: half of a window sees nothing at a border, so pulls are noisier


def separate_sides(
    inputs: Inputs,
    smooth: DisplacementField,
    border: Border,
    initial: InitialTransform,
    options: FieldRefinement,
    progress: Progress,
) -> tuple[DisplacementField, DisplacementField]:
    """The deformation of the part and that of the rest, each defined everywhere, without folds.

    A smooth deformation mixes both motions near the border. What it found deeper in a side is
    continued up to the border and beyond; where both images show one modality, each side then
    follows them on its own, in windows that see nothing of the other side.

    Args:
        inputs: the images.
        smooth: what comes before the initial transform, mm, on the grid of the border.
        border: between the part and the rest.
        initial: what follows.
        options: their steps and regularity count.
        progress: gets the fractions of this stage.

    Returns:
        Two fields in mm on the grid of the border, the part's first.
    """
    layers = []
    for n, sign in enumerate((1, -1)):
        part = stage(progress, n / 2, (n + 1) / 2)
        layer = _continue_from_depth(smooth, border, sign, inputs)
        for factor, share in ((2, (0.0, 0.2)), (1, (0.2, 1.0))):
            more = stage(part, *share)
            layer = _follow_side(inputs, layer, border, sign, initial, factor, options, more)
        voxels, _ = unfold_displacement(layer.to_voxels())
        layers.append(DisplacementField.from_voxels(voxels, layer.grid))
    return layers[0], layers[1]


def _continue_from_depth(
    smooth: DisplacementField, border: Border, sign: int, inputs: Inputs
) -> DisplacementField:
    """The field of one side where it is deep enough, continued from there to everywhere."""
    depth = sign * border.distance
    own = max(work_grid(inputs.fixed.grid, _SMOOTH_SAMPLES).spacing)
    deep = depth > min(_DEPTH * own, 0.5 * float(depth.max()))
    return DisplacementField(extend_smoothly(smooth.vectors, deep, _EVERYWHERE), smooth.grid)


def _follow_side(
    inputs: Inputs,
    layer: DisplacementField,
    border: Border,
    sign: int,
    initial: InitialTransform,
    factor: int,
    options: FieldRefinement,
    progress: Progress,
) -> DisplacementField:
    """One side's field after some steps on voxels `factor` times larger; as it was between
    modalities."""
    d = inputs.fixed.grid.dimension
    samples = min(MOST_SAMPLES, inputs.fixed.grid.count) // factor**d
    pair = inputs.working_pair(compose(layer, initial), samples)
    channels = Channels(pair)
    nowhere = channels.index.new_zeros(d, *channels.index.shape[:-1])
    alike = channels.are_alike(nowhere)
    if not any(alike):
        return layer
    near = border.resample(pair.grid)
    side = near.side(sign)
    sure = side * (near.distance.abs() > _UNCERTAIN * min(pair.grid.spacing))
    followed = [
        Windows(
            part.share,
            part.moving,
            LocalCorrelation(part.fixed[0], part.pair.valid * sure, RADIUS),
        )
        for part, one in zip(channels.parts, alike, strict=True)
        if one
    ]
    sigma = FIELD_SMOOTHING * options.regularity**0.5
    steps = CorrelationSteps(
        followed,
        pair.grid.shape,
        lambda pull: gaussian_within(pull, side, _STEP_SMOOTHING),
        lambda voxels: gaussian_within(voxels, side, sigma),
    )
    count = max(1, round(SHARE * options.steps))
    for n in range(count):
        steps.advance()
        progress((n + 1) / count, "refinement")
    more = extend_smoothly(steps.displacement, side > 0, _EVERYWHERE)
    return compose(DisplacementField.from_voxels(more, pair.grid).resample(layer.grid), layer)
