"""The steps between two checked images and a transform, each on its own.

1. `Inputs.prepare` checks and repairs the images (image_checks.py).
2. `choose_model` takes a network or the training-free search (model_choice.py).
3. `initial_alignment` finds what comes before the deformation (initial_alignment.py).
4. `predict_field` asks a network for the deformation, `predict` the search for a first guess.
5. `refine_velocity` follows the images from there, `integrate_without_folds` makes the
   displacement field.
6. `follow_at_full_resolution` goes on where both images show one modality.
7. `compose_both_directions` puts the chain together and inverts it.
8. `measure_outcome` measures how good it looks.

`deform` is steps 4 to 6 for one model; `engine.py` runs them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as member

import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.inverse import inverse_error
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import magnitude
from neuralreg.measures.jacobian import folding_percent, jacobian_determinant
from neuralreg.progress import Progress, Timer, silent, stage
from neuralreg.registration.compositional_steps import follow_at_full_resolution
from neuralreg.registration.guides.guide_costs import GuideCosts
from neuralreg.registration.guides.landmark_residuals import LandmarkResiduals, landmark_residuals
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.instance_optimization import NetworkPair, WeightFit, optimize_weights
from neuralreg.registration.options import FieldRefinement, Refinement, WeightRefinement
from neuralreg.registration.preprocess import network_pair
from neuralreg.registration.refine import RefinementRecord, Velocity, refine_velocity
from neuralreg.registration.result import Outcome
from neuralreg.registration.rigid_parts.rigid_chain import RigidOutcome, hold_parts
from neuralreg.registration.sliding.sliding_chain import SlidingOutcome, let_slide
from neuralreg.registration.surfaces.surface_cost import SurfaceDistances
from neuralreg.registration.unfold import unfold_displacement, unfold_velocity
from neuralreg.registration.working_grid import (
    InitialTransform,
    WorkingPair,
    add_margin,
    extend_to_cover,
    field_with_margin,
    foreground,
    overlap_mask,
    resample_through,
    resample_to,
)
from neuralreg.zoo.loaded_network import (
    MappingNetwork,
    RegistrationNetwork,
    SearchNetwork,
    field_of,
    run_options,
)

_ROUNDING = 1e-4  # nats by which resampling alone changes mutual information
_REFINED_SAMPLES = 700_000  # of the work grid, where no card says how many
ModelOptions = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network predicts for a pair.

    Attributes:
        field: the deformation in mm, without folds, on a grid that covers the fixed image with a
            margin; the initial transform follows it.
        smoothed_share: of the field that was smoothed against folding.
        maps: what else the network finds, by name, on the fixed image's grid.
    """

    field: DisplacementField
    smoothed_share: float
    maps: Mapping[str, Image] = member(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Deformation(Prediction):
    """A prediction, and how it was refined."""

    refined: RefinementRecord | WeightFit | None = None


@dataclass(frozen=True, eq=False)
class BothDirections:
    """Both directions of the whole chain, and how good they look.

    Attributes:
        field: fixed to moving, mm.
        inverse: moving to fixed, mm.
        outcome: measured on both.
        landmarks: how far pairs that steered are apart; None without.
        rigid: how rigid parts are that are to be; None without.
        surfaces: how far surfaces that pull are apart; None without.
        sliding: how far both sides of a border slide; None without.
    """

    field: DisplacementField
    inverse: DisplacementField
    outcome: Outcome
    landmarks: LandmarkResiduals | None = None
    rigid: RigidOutcome | None = None
    surfaces: SurfaceDistances | None = None
    sliding: SlidingOutcome | None = None

    def failed_checks(self) -> str | None:
        """What the result's own checks have against it, in words; None when it passes."""
        before, after = self.outcome.similarity_linear, self.outcome.similarity_final
        if unknown := self.outcome.not_measured():
            return "could not be measured: " + ", ".join(n.replace("_", " ") for n in unknown)
        guides = [guide for guide in (self.landmarks, self.surfaces) if guide is not None]
        for guide in guides:
            if failure := guide.failure():
                return failure
        if after < before - _ROUNDING and not any(guide.is_gain for guide in guides):
            return (
                "the images agree less than after the linear alignment: "
                f"{self.outcome.similarity} {before:.3f} before, {after:.3f} after"
            )
        if self.outcome.folding_percent_body > 0:
            return f"{self.outcome.folding_percent_body:.2g} % of the body is folded"
        return None


def deform(
    network: RegistrationNetwork,
    inputs: Inputs,
    initial: InitialTransform,
    refinement: Refinement | None,
    options: ModelOptions,
    timer: Timer,
) -> Deformation:
    """The deformation that a model finds for the inputs, refined, without folds."""
    if searches(network):
        if not isinstance(refinement, FieldRefinement):
            refinement = FieldRefinement()
        return _search(network, inputs, initial, refinement, options, timer)
    if isinstance(refinement, WeightRefinement):
        with timer.stage("refinement", 0.3, 0.8) as part:
            network, fit = fit_to_inputs(network, inputs, initial, refinement, options, part)
        with timer.stage("prediction", 0.8, 0.85), torch.no_grad():
            first = predict_field(network, inputs, initial, options)
        return Deformation(first.field, first.smoothed_share, first.maps, fit)
    if refinement is None and (inputs.landmarks or inputs.labels or inputs.surfaces):
        refinement = FieldRefinement(steps=0)  # bends by the guides alone
    if refinement is None and inputs.channels:
        inputs.notes.append(
            f"{network.card.name} takes one image of each side: the channels only judge its field; "
            "with a refinement (--refine auto) they improve it"
        )
    end = 0.6 if refinement else 0.85
    with timer.stage("prediction", 0.3, end), torch.no_grad():
        first = predict_field(network, inputs, initial, options)
    if refinement is None:
        return Deformation(first.field, first.smoothed_share, first.maps)
    with timer.stage("refinement", end, 0.85) as part:
        more = refine_field(inputs, compose(first.field, initial), refinement, part)
    smoothed_share = max(first.smoothed_share, more.smoothed_share)
    return Deformation(compose(more.field, first.field), smoothed_share, first.maps, more.refined)


def searches(network: RegistrationNetwork) -> bool:
    """Whether a model only finds where to begin: its output is a velocity yet to be refined."""
    return network.card.output.kind == "features" or network.card.architecture == "convex"


def _search(
    network: RegistrationNetwork,
    inputs: Inputs,
    initial: InitialTransform,
    refinement: FieldRefinement,
    options: ModelOptions,
    timer: Timer,
) -> Deformation:
    with timer.stage("prediction", 0.3, 0.45), torch.no_grad():
        pair = inputs.working_pair(initial, network.card.input.most_samples)
        guess = _first_guess(network, pair, options)
    with timer.stage("refinement", 0.45, 0.85) as part:
        return refine_guess(inputs, pair, guess, initial, refinement, part)


def _first_guess(
    network: RegistrationNetwork, pair: WorkingPair, options: ModelOptions
) -> DisplacementField:
    """What the search finds for all channels, or for the first one alone where it takes but one."""
    shares = pair.shares()
    if len(shares) == 1 or not isinstance(network, SearchNetwork):
        return predict(network, pair.fixed, pair.moving, pair.grid, options)
    fixed = torch.cat([channel.fixed for _, channel in shares])
    moving = torch.cat([channel.moving for _, channel in shares])
    output = network.search(fixed, moving, [share for share, _ in shares])
    return field_of(output, network.card.output, pair.grid)


def predict(
    network: RegistrationNetwork,
    fixed: Tensor,
    moving: Tensor,
    grid: Grid,
    options: ModelOptions | None = None,
) -> DisplacementField:
    """What the network predicts for two images (1, z, y, x) on one grid, in mm."""
    output = network.predict(fixed, moving, **run_options(network.card, options))
    return field_of(output, network.card.output, grid)


def predict_field(
    network: RegistrationNetwork,
    inputs: Inputs,
    initial: InitialTransform,
    options: ModelOptions,
) -> Prediction:
    """What a network predicts for the inputs after an initial transform."""
    masks = inputs.fixed_mask, inputs.moving_mask
    fixed, moving, grid = network_pair(network.card, inputs.fixed, inputs.moving, initial, *masks)
    numbers = run_options(network.card, options)
    output = network.predict(fixed, moving, **numbers)
    displacement = field_of(output, network.card.output, grid).to_voxels()
    voxels, smoothed_share = unfold_displacement(displacement)
    wide = extend_to_cover(grid, add_margin(inputs.fixed.grid))
    maps = {}
    if isinstance(network, MappingNetwork):
        maps = network.maps(fixed, moving, output, inputs.fixed.grid.shape, **numbers)
    images = {
        name: Image(values[None].to("cpu", torch.uint8), inputs.fixed.grid)
        for name, values in maps.items()
    }
    return Prediction(
        DisplacementField.from_voxels(voxels, grid).resample(wide), smoothed_share, images
    )


def fit_to_inputs(
    network: RegistrationNetwork,
    inputs: Inputs,
    initial: InitialTransform,
    refinement: WeightRefinement,
    options: ModelOptions,
    progress: Progress,
) -> tuple[RegistrationNetwork, WeightFit]:
    """A copy of the network whose weights suit the pair better, and how they were fitted."""
    masks = inputs.fixed_mask, inputs.moving_mask
    fixed, moving, grid = network_pair(network.card, inputs.fixed, inputs.moving, initial, *masks)
    identity = LinearTransform.identity(grid.dimension)
    sides = (inputs.fixed.grid, identity), (inputs.moving.grid, initial)
    valid = [
        None
        if mask is None
        else (resample_through(mask.data, source, grid, transform) > 0.5).to(fixed)
        for mask, (source, transform) in zip(masks, sides, strict=True)
    ]
    pair = NetworkPair(fixed, moving, *valid)
    copy, fit = optimize_weights(network, pair, refinement, options, progress)
    losses = fit.losses
    if losses and losses[-1] > losses[0]:
        inputs.notes.append(
            f"fitting the weights did not lower the loss: {losses[0]:.4f} before, {losses[-1]:.4f} "
            "in the end; a lower rate may"
        )
    return copy, fit


def refine_field(
    inputs: Inputs, field: DisplacementField, refinement: FieldRefinement, progress: Progress
) -> Deformation:
    """What is to come before a field for the images to agree better."""
    pair = inputs.working_pair(field, _REFINED_SAMPLES)
    identity = DisplacementField.identity(pair.grid, pair.fixed)
    return refine_guess(inputs, pair, identity, field, refinement, progress)


def refine_guess(
    inputs: Inputs,
    pair: WorkingPair,
    guess: DisplacementField,
    initial: InitialTransform,
    refinement: FieldRefinement,
    progress: Progress,
) -> Deformation:
    """What refinement makes of a first guess on the pair's grid, to come before `initial`.

    Within one modality the field then follows the images to their full resolution.
    """
    velocity = Velocity(guess.to_voxels())
    given = inputs.landmarks, inputs.labels, inputs.surfaces
    guides = GuideCosts.of(*given, initial, pair.grid, velocity)
    record = refine_velocity(pair, velocity, refinement, stage(progress, 0.0, 0.7), guides)
    if record.kept == "linear":
        before, after = record.information[:2]
        inputs.notes.append(
            "the linear alignment was kept: bending the image explained no more of it "
            f"(mutual information {before:.3f} before, {after:.3f} after)"
        )
    with torch.no_grad():
        field, smoothed_share = integrate_without_folds(velocity, pair.grid)
        if record.kept == "lncc":
            field, record = follow_at_full_resolution(
                inputs, field, initial, refinement, record, stage(progress, 0.7, 1.0)
            )
    return Deformation(field, smoothed_share, refined=record)


def integrate_without_folds(velocity: Velocity, grid: Grid) -> tuple[DisplacementField, float]:
    """The deformation in mm, without folds, with a margin, and the share that was smoothed."""
    voxels, smoothed_share = unfold_velocity(velocity)
    return field_with_margin(voxels, grid), smoothed_share


def compose_both_directions(
    deformation: Deformation,
    inputs: Inputs,
    initial: InitialTransform,
    full_resolution: bool,
    refinement: FieldRefinement | None = None,
    progress: Progress = silent,
) -> BothDirections:
    """The whole chain in both directions, and how good it looks.

    Where a border lets both sides slide, these follow the images as a refinement would.
    """
    added = deformation.field
    if full_resolution:
        added = added.resample(add_margin(inputs.fixed.grid))
    added, field, rigid = hold_parts(added, initial, inputs.rigid, inputs.fixed.grid)
    options = refinement or FieldRefinement()
    chain = let_slide(inputs, added, field, initial, options, full_resolution, progress)
    similarities = inputs.similarities(initial, chain.field)
    outcome = measure_outcome(
        chain.field, chain.inverse, inputs.fixed, chain.added, similarities, chain.mixed
    )
    residuals = landmark_residuals(inputs.landmarks, initial, chain.field)
    distances = SurfaceDistances.of(inputs.surfaces, initial, chain.field)
    directions = chain.field, chain.inverse, outcome
    return BothDirections(*directions, residuals, rigid, distances, chain.outcome)


def measure_outcome(
    field: DisplacementField,
    inverse: DisplacementField,
    fixed: Image,
    displacement: DisplacementField,
    similarities: tuple[float, float, float],
    mixed: Tensor | None = None,
) -> Outcome:
    """The outcome of a chain, measured at the samples of its field.

    Args:
        field, inverse: the whole chain in both directions.
        fixed: the image that the field starts from; its foreground is the body.
        displacement: what was added to the initial transform.
        similarities: before, after the linear part, at the end.
        mixed: samples that do not count but for the similarities, bool, such as those between two
            sides that slide.
    """
    determinant = jacobian_determinant(field)
    error = inverse_error(inverse, field)
    everywhere = torch.ones_like(fixed.data[:1], dtype=torch.float32)
    identity = LinearTransform.identity(fixed.grid.dimension)
    inside = overlap_mask(fixed.grid, field.grid, identity, everywhere) > 0.5
    if mixed is not None:
        inside &= ~mixed
    body = foreground(fixed)[None].float()
    body = inside & (resample_to(body, fixed.grid, field.grid)[0] > 0.5)
    if not bool(body.any()):
        body = inside
    length = magnitude(displacement.resample(field.grid).vectors)
    return Outcome(
        similarity="mutual information",
        similarity_initial=similarities[0],
        similarity_linear=similarities[1],
        similarity_final=similarities[2],
        folding_percent=folding_percent(determinant, inside),
        folding_percent_body=folding_percent(determinant, body),
        inverse_error_mean_mm=float(error[body].mean()),
        inverse_error_max_mm=float(error[body].max()),
        displacement_mean_mm=float(length[body].mean()),
        displacement_max_mm=float(length[body].max()),
    )
