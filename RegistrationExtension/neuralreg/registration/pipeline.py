"""The stages between two images and a transform, each on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.errors import IncompatibleModel
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.inverse import invert
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.network_output import from_network, from_voxels, to_voxels
from neuralreg.geometry.velocity import exponentiate
from neuralreg.progress import Progress
from neuralreg.registration.image_checks import prepare, prepare_mask, require_same_dimension
from neuralreg.registration.instance_optimization import Fitted, ShownPair, fitted
from neuralreg.registration.linear_search import agreement
from neuralreg.registration.prealign import Alignment, Prealign
from neuralreg.registration.prealign import prealign as align
from neuralreg.registration.preprocess import shown_pair
from neuralreg.registration.refine import Refined, Refinement, Velocity, refine_velocity
from neuralreg.registration.unfold import unfolded, unfolded_displacement
from neuralreg.registration.working_grid import (
    Start,
    WorkingPair,
    brought,
    foreground,
    shown,
    unit_intensities,
    work_grid,
)
from neuralreg.zoo.card import ModelCard
from neuralreg.zoo.network import RegistrationNetwork, run_options

if TYPE_CHECKING:
    import SimpleITK as sitk

_MARGIN = 0.05  # of the extent, around the images
_LEAST_MARGIN = 2  # samples
_INVERSE_TOLERANCE_MM = 0.05


@dataclass(frozen=True, eq=False)
class Inputs:
    """Both images, checked and on the device, with their masks and what was mended."""

    fixed: Image
    moving: Image
    fixed_mask: Image | None
    moving_mask: Image | None
    notes: list[str]
    unit: tuple[Tensor, Tensor]  # intensities

    @classmethod
    def prepared(
        cls,
        fixed: Image,
        moving: Image,
        fixed_mask: Image | None,
        moving_mask: Image | None,
        device: torch.device,
    ) -> Inputs:
        """Raises InvalidImage for what cannot be registered."""
        require_same_dimension(fixed, moving)
        notes: list[str] = []
        images, masks, unit = [], [], []
        for image, mask, role in ((fixed, fixed_mask, "fixed"), (moving, moving_mask, "moving")):
            good, repairs = prepare(image, f"{role} image")
            notes += repairs
            if mask is not None:
                mask, repairs = prepare_mask(mask, good, f"{role} mask")
                notes += repairs
                mask = mask.to(device)
            good = good.to(device)
            images.append(good)
            masks.append(mask)
            unit.append(unit_intensities(good))
        return cls(images[0], images[1], masks[0], masks[1], notes, (unit[0], unit[1]))

    def pair(self, start: Start, most_samples: int | None) -> WorkingPair:
        """Both images on the work grid."""
        grid = work_grid(self.fixed.grid, most_samples or self.fixed.grid.count)
        here = LinearTransform.identity(grid.dimension)
        fixed, moving = self.unit
        seen = shown(self.moving.grid, grid, start, moving)
        if self.fixed_mask is not None:
            seen = seen * brought(self.fixed_mask.data, self.fixed.grid, grid, here)[0]
        if self.moving_mask is not None:
            seen = seen * brought(self.moving_mask.data, self.moving.grid, grid, start)[0]
        if not bool(seen.any()):
            self.notes.append("the images do not overlap after the pre-alignment")
            seen = torch.ones_like(seen)
        fixed, moving = (
            brought(fixed, self.fixed.grid, grid, here),
            brought(moving, self.moving.grid, grid, start),
        )
        return WorkingPair(fixed, moving, seen, foreground(Image(fixed, grid)), grid)

    def similarities(self, start: Start, whole: DisplacementField) -> tuple[float, float, float]:
        """Mutual information as the images came, after the start, and at the end."""
        grid = work_grid(self.fixed.grid, 200_000)
        here = LinearTransform.identity(grid.dimension)
        fixed = brought(self.unit[0], self.fixed.grid, grid, here)
        found = []
        for through in (here, start, whole):
            moving = brought(self.unit[1], self.moving.grid, grid, through)
            found.append(agreement(fixed, moving, shown(self.moving.grid, grid, through, moving)))
        return found[0], found[1], found[2]


def require_dimension(card: ModelCard, grid: Grid) -> None:
    """Raises IncompatibleModel when a model does not take images like this grid's."""
    if grid.dimension not in card.input.dimensions:
        raise IncompatibleModel(
            "the model does not take images of this dimension",
            where=card.name,
            got=f"{grid.dimension}D",
            wanted=" or ".join(f"{d}D" for d in card.input.dimensions),
        )


def start_of(
    inputs: Inputs, initial: sitk.Transform | None, how: Prealign, progress: Progress
) -> tuple[Start, dict[str, object]]:
    """What comes before the deformation, and how it was found."""
    if initial is not None:
        return _from_initial(initial, inputs.fixed), {"start": "given"}
    found: Alignment = align(
        inputs.fixed,
        inputs.moving,
        how,
        fixed_mask=inputs.fixed_mask,
        moving_mask=inputs.moving_mask,
        progress=progress,
    )
    if found.start.startswith("turned"):
        inputs.notes.append("the moving image was turned by 90 degrees or more: check the result")
    return found.linear, {"start": found.start, "kind": found.kind.value}


def _from_initial(initial: sitk.Transform, fixed: Image) -> Start:
    from neuralreg.io.itk import from_itk, linear_from_itk

    if initial.IsLinear():
        return linear_from_itk(initial)
    field = from_itk(initial, with_margin(fixed.grid))
    return DisplacementField(field.vectors.to(fixed.data), field.grid)


def searches(network: RegistrationNetwork) -> bool:
    """Whether a model only finds where to begin: its answer is a velocity yet to be refined."""
    return network.card.output.kind == "features" or network.card.architecture == "convex"


def predicted(
    network: RegistrationNetwork,
    fixed: Tensor,
    moving: Tensor,
    grid: Grid,
    options: Mapping[str, float] | None = None,
) -> DisplacementField:
    """What the network answers for two images (1, z, y, x) on one grid, in mm."""
    output = network.predict(fixed, moving, **run_options(network.card, options))
    return _meant(network, output, grid)


def _meant(network: RegistrationNetwork, output: Tensor, grid: Grid) -> DisplacementField:
    """The displacement in mm that an output stands for."""
    meaning = network.card.output
    kind = "voxel" if meaning.kind == "features" else meaning.kind
    found = from_network(output, grid, kind=kind, order=meaning.order)
    return exponentiate(found) if meaning.velocity else found


def answered(
    network: RegistrationNetwork,
    inputs: Inputs,
    start: Start,
    options: Mapping[str, float] | None,
) -> tuple[DisplacementField, float, dict[str, Image]]:
    """The deformation that a network answers for the inputs, and the share that was smoothed.

    In mm, without folds, and on a grid that covers the fixed image with a margin. At the end, what
    else the network tells, by name, on the fixed image's grid.
    """
    masks = inputs.fixed_mask, inputs.moving_mask
    fixed, moving, grid = shown_pair(network.card, inputs.fixed, inputs.moving, start, *masks)
    numbers = run_options(network.card, options)
    output = network.predict(fixed, moving, **numbers)
    voxels, smoothed = unfolded_displacement(to_voxels(_meant(network, output, grid)))
    wide = covering(grid, with_margin(inputs.fixed.grid))
    told = getattr(network, "maps", None)
    shape = inputs.fixed.grid.shape
    maps = told(fixed, moving, output, shape, **numbers) if told else {}
    images = {
        name: Image(values[None].to("cpu", torch.uint8), inputs.fixed.grid)
        for name, values in maps.items()
    }
    return from_voxels(voxels, grid).resample(wide), smoothed, images


def fitted_to(
    network: RegistrationNetwork,
    inputs: Inputs,
    start: Start,
    how: Refinement,
    options: Mapping[str, float] | None,
    progress: Progress,
) -> tuple[RegistrationNetwork, Fitted]:
    """A copy of the network whose weights suit the pair better, and how they were fitted."""
    masks = inputs.fixed_mask, inputs.moving_mask
    fixed, moving, grid = shown_pair(network.card, inputs.fixed, inputs.moving, start, *masks)
    here = LinearTransform.identity(grid.dimension)
    places = (inputs.fixed.grid, here), (inputs.moving.grid, start)
    seen = [
        None if mask is None else (brought(mask.data, source, grid, through) > 0.5).to(fixed)
        for mask, (source, through) in zip(masks, places, strict=True)
    ]
    better, how_fitted = fitted(network, ShownPair(fixed, moving, *seen), how, options, progress)
    losses = how_fitted.losses
    if losses and losses[-1] > losses[0]:
        inputs.notes.append(
            f"fitting the weights did not lower the loss: {losses[0]:.4f} before, {losses[-1]:.4f} "
            "in the end; a lower rate may"
        )
    return better, how_fitted


def covering(grid: Grid, other: Grid) -> Grid:
    """The grid with samples added at its ends until it holds the field of view of another one."""
    reach = grid.indices_at(other.corners())
    before = np.ceil(-reach.min(0)).clip(0).astype(int)
    after = np.ceil(reach.max(0) - np.subtract(grid.size, 1)).clip(0).astype(int)
    size = np.add(grid.size, before + after)
    return Grid(tuple(size.tolist()), grid.spacing, tuple(grid.points_at(-before)), grid.direction)


def bent(
    inputs: Inputs,
    pair: WorkingPair,
    guess: DisplacementField,
    options: Refinement,
    progress: Progress,
) -> tuple[Velocity, Refined]:
    """The velocity that refinement makes of a first guess on the pair's grid."""
    velocity = Velocity(to_voxels(guess))
    refined = refine_velocity(pair, velocity, options, progress)
    if refined.kept == "linear":
        inputs.notes.append(_linear_kept(refined))
    return velocity, refined


def _linear_kept(refined: Refined) -> str:
    before, after = refined.information[:2]
    return (
        "the linear alignment was kept: bending the image explained no more of it "
        f"(mutual information {before:.3f} before, {after:.3f} after)"
    )


def finished(velocity: Velocity, grid: Grid) -> tuple[DisplacementField, float]:
    """The deformation in mm, without folds, with a margin, and the share that was smoothed."""
    _, voxels, smoothed = unfolded(velocity)
    pad = _margin(grid)
    both_ends = [n for axis in pad for n in (axis, axis)]  # x first, as pad wants it
    padded = functional.pad(voxels[None], both_ends, mode="replicate")[0]
    return from_voxels(padded, grid.pad(pad)), smoothed


def inverse_of(bent: DisplacementField, start: Start, moving: Grid) -> DisplacementField:
    """The whole chain backwards, over the moving image with a margin.

    The deformation keeps its border value as far as the moving image reaches, so that the chain
    can be followed back from everywhere in it.
    """
    grid = with_margin(work_grid(moving, bent.grid.count))
    if isinstance(start, LinearTransform):
        reach = bent.grid.indices_at(start.inverse()(grid.corners()))
        beyond = np.maximum(-reach.min(0), (reach - bent.grid.size).max(0)).clip(0)
        pad = np.minimum(np.ceil(beyond), bent.grid.size).astype(int)
        bent = bent.resample(bent.grid.pad(pad.tolist()))
    return invert(compose(bent, start), grid=grid, tolerance_mm=_INVERSE_TOLERANCE_MM)


def _margin(grid: Grid) -> list[int]:
    """Samples to add at each end, x y z."""
    return [max(ceil(_MARGIN * n), _LEAST_MARGIN) for n in grid.size]


def with_margin(grid: Grid) -> Grid:
    """The grid and some samples around it."""
    return grid.pad(_margin(grid))
