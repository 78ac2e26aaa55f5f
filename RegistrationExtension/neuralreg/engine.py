"""register(): the one way from two images to a transform."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neuralreg import __version__
from neuralreg.errors import IncompatibleModel, OutOfMemory
from neuralreg.geometry.conventions import from_network, from_voxels, to_voxels
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.inverse import invert
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.velocity import exponentiate
from neuralreg.inputs import choose_device, prepare, prepare_mask, require_same_dimension
from neuralreg.methods.prealign import Alignment, Prealign
from neuralreg.methods.prealign import prealign as align
from neuralreg.methods.presets import preset as preset_named
from neuralreg.methods.refine import Refined, Refinement, Velocity, refine_velocity
from neuralreg.methods.unfold import unfolded
from neuralreg.methods.working_copy import (
    Start,
    WorkingPair,
    brought,
    foreground,
    shown,
    unit_intensities,
    work_grid,
)
from neuralreg.outcome import agreement, judge
from neuralreg.progress import Progress, silent, stage
from neuralreg.result import RegistrationResult
from neuralreg.zoo.network import RegistrationNetwork
from neuralreg.zoo.registry import load_model

if TYPE_CHECKING:
    import SimpleITK as sitk

_MARGIN = 0.05  # of the extent, around the images
_LEAST_MARGIN = 2  # samples
_INVERSE_TOLERANCE_MM = 0.05


def register(
    fixed: Image,
    moving: Image,
    model: str | RegistrationNetwork = "convex",
    *,
    initial: sitk.Transform | None = None,
    prealign: Prealign = Prealign.AUTO,
    preset: str = "generic",
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    refinement: Refinement | None = None,
    device: str = "auto",
    full_resolution: bool = False,
    progress: Progress = silent,
) -> RegistrationResult:
    """Both directions between two images, without folds, and how good they look.

    model: the name of a card, or a network of your own with a card.
    initial: where to begin (fixed to moving, any ITK transform); nothing is pre-aligned then.
    prealign: how far the linear stage may go.
    preset: settings by the name of what is registered; `refinement` replaces its refinement.
    fixed_mask, moving_mask: above 0 where the images count, on any grid that overlaps theirs.
    device: "auto", "cpu", "cuda", ...; full_resolution: the field on the fixed image's own grid.
    progress: called with a fraction and a message; raise `Cancelled` in it to stop.

    Raises RegistrationError: InvalidImage, IncompatibleModel, DeviceUnavailable, OutOfMemory, ...
    """
    options = refinement or preset_named(preset).refinement
    place = choose_device(device)
    clock = _Clock(progress)
    try:
        inputs = _Inputs.prepared(fixed, moving, fixed_mask, moving_mask, place)
        network = load_model(model, device=device) if isinstance(model, str) else model
        _require_dimension(network, inputs.fixed.grid)
        with clock.stage("pre-alignment", 0.0, 0.3) as part:
            start, how = _start(inputs, initial, prealign, part)
        with clock.stage("prediction", 0.3, 0.45), torch.no_grad():
            pair = inputs.pair(start, network.card.input.most_samples)
            predicted = _predicted(network, pair)
        with clock.stage("refinement", 0.45, 0.85) as part:
            velocity = Velocity(to_voxels(predicted))
            refined = refine_velocity(pair, velocity, options, part)
            if refined.kept == "linear":
                inputs.notes.append(_linear_kept(refined))
        with clock.stage("both directions", 0.85, 1.0), torch.no_grad():
            bent = _finished(velocity, pair.grid, inputs, full_resolution)
            whole = compose(bent, start)
            inverse = _inverse(bent, start, inputs.moving.grid)
            outcome = judge(whole, inverse, inputs.fixed, bent, inputs.similarities(start, whole))
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(
            "the device has too little memory for this pair",
            where=str(place),
            got=str(error).splitlines()[0],
            remedy='Choose device="cpu", or crop the images.',
        ) from error
    return RegistrationResult(
        field=whole.to("cpu"),
        inverse_field=inverse.to("cpu"),
        linear=start
        if isinstance(start, LinearTransform)
        else LinearTransform.identity(len(start.grid.size)),
        model=network.card.name,
        outcome=outcome,
        warnings=tuple(inputs.notes),
        timings=clock.seconds,
        provenance={
            "version": __version__,
            "torch": torch.__version__,
            "device": str(place),
            "preset": preset,
            "refinement": asdict(options),
            "refined": asdict(refined),
            "pre-alignment": how,
        },
    )


@dataclass
class _Clock:
    """Seconds per stage, and the part of the progress that each one takes."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, start: float, stop: float) -> Iterator[Progress]:
        part = stage(self.progress, start, stop)
        part(0.0, name)
        began = time.perf_counter()
        yield part
        part(1.0, name)
        self.seconds[name] = time.perf_counter() - began


@dataclass(frozen=True, eq=False)
class _Inputs:
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
    ) -> _Inputs:
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


def _require_dimension(network: RegistrationNetwork, grid: Grid) -> None:
    if grid.dimension not in network.card.input.dimensions:
        raise IncompatibleModel(
            "the model does not take images of this dimension",
            where=network.card.name,
            got=f"{grid.dimension}D",
            wanted=" or ".join(f"{d}D" for d in network.card.input.dimensions),
        )


def _start(
    inputs: _Inputs, initial: sitk.Transform | None, how: Prealign, progress: Progress
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
    from neuralreg.geometry.itk_io import from_itk, linear_from_itk

    if initial.IsLinear():
        return linear_from_itk(initial)
    field = from_itk(initial, _with_margin(fixed.grid))
    return DisplacementField(field.vectors.to(fixed.data), field.grid)


def _predicted(network: RegistrationNetwork, pair: WorkingPair) -> DisplacementField:
    output = network.predict(pair.fixed, pair.moving)
    meaning = network.card.output
    found = from_network(output, pair.grid, kind=meaning.kind, order=meaning.order)
    return exponentiate(found) if meaning.velocity else found


def _linear_kept(refined: Refined) -> str:
    before, after = refined.information[:2]
    return (
        "the linear alignment was kept: bending the image explained no more of it "
        f"(mutual information {before:.3f} before, {after:.3f} after)"
    )


def _finished(
    velocity: Velocity, grid: Grid, inputs: _Inputs, full_resolution: bool
) -> DisplacementField:
    """The deformation in mm, without folds, with a margin."""
    _, voxels, touched = unfolded(velocity)
    if touched > 0:
        inputs.notes.append(f"folds were removed by smoothing {100 * touched:.2g} % of the field")
    pad = _margin(grid)
    both_ends = [n for axis in pad for n in (axis, axis)]  # x first, as pad wants it
    padded = functional.pad(voxels[None], both_ends, mode="replicate")[0]
    bent = from_voxels(padded, grid.padded(pad))
    return bent.resampled(_with_margin(inputs.fixed.grid)) if full_resolution else bent


def _inverse(bent: DisplacementField, start: Start, moving: Grid) -> DisplacementField:
    """The whole chain backwards, over the moving image with a margin.

    The deformation keeps its border value as far as the moving image reaches, so that the chain
    can be followed back from everywhere in it.
    """
    grid = _with_margin(work_grid(moving, bent.grid.count))
    if isinstance(start, LinearTransform):
        reach = bent.grid.indices_at(start.inverse()(grid.corners()))
        beyond = np.maximum(-reach.min(0), (reach - bent.grid.size).max(0)).clip(0)
        pad = np.minimum(np.ceil(beyond), bent.grid.size).astype(int)
        bent = bent.resampled(bent.grid.padded(pad.tolist()))
    return invert(compose(bent, start), grid=grid, tolerance_mm=_INVERSE_TOLERANCE_MM)


def _margin(grid: Grid) -> list[int]:
    """Samples to add at each end, x y z."""
    return [max(ceil(_MARGIN * n), _LEAST_MARGIN) for n in grid.size]


def _with_margin(grid: Grid) -> Grid:
    return grid.padded(_margin(grid))
