"""register(): the one way from two images to a transform."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import torch

from neuralreg import __version__
from neuralreg.errors import OutOfMemory
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.inputs import choose_device
from neuralreg.methods.prealign import Prealign
from neuralreg.methods.presets import preset as preset_named
from neuralreg.methods.refine import Refinement
from neuralreg.outcome import judge
from neuralreg.progress import Progress, silent, stage
from neuralreg.result import RegistrationResult
from neuralreg.stages import (
    Inputs,
    bent,
    finished,
    inverse_of,
    predicted,
    require_dimension,
    start_of,
)
from neuralreg.zoo.network import RegistrationNetwork
from neuralreg.zoo.registry import load_model

if TYPE_CHECKING:
    import SimpleITK as sitk

_REFINED_SAMPLES = 700_000  # of the work grid, where no card says how many


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
    with _memory_of(place):
        inputs = Inputs.prepared(fixed, moving, fixed_mask, moving_mask, place)
        network = load_model(model, device=device) if isinstance(model, str) else model
        require_dimension(network, inputs.fixed.grid)
        with clock.stage("pre-alignment", 0.0, 0.3) as part:
            start, how = start_of(inputs, initial, prealign, part)
        with clock.stage("prediction", 0.3, 0.45), torch.no_grad():
            pair = inputs.pair(start, network.card.input.most_samples)
            guess = predicted(network, pair)
        with clock.stage("refinement", 0.45, 0.85) as part:
            velocity, refined = bent(inputs, pair, guess, options, part)
        with clock.stage("both directions", 0.85, 1.0), torch.no_grad():
            added, smoothed = finished(velocity, pair.grid, inputs.fixed.grid, full_resolution)
            whole, inverse = compose(added, start), inverse_of(added, start, inputs.moving.grid)
            outcome = judge(whole, inverse, inputs.fixed, added, inputs.similarities(start, whole))
    still = LinearTransform.identity(inputs.fixed.grid.dimension)
    return RegistrationResult(
        field=whole.to("cpu"),
        inverse_field=inverse.to("cpu"),
        linear=start if isinstance(start, LinearTransform) else still,
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
            "smoothed against folding": smoothed,
        },
    )


def refine(
    network_or_field: RegistrationNetwork | DisplacementField,
    fixed: Image,
    moving: Image,
    options: Refinement | None = None,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> DisplacementField:
    """A better field for one pair, fixed to moving in mm, without folds (instance optimization).

    network_or_field: what a network predicts for the pair, or a field from anywhere; neither is
    changed. A field is taken as it is and bent further.
    options: how; the usual ones unless given.

    Raises RegistrationError as `register` does.
    """
    place = choose_device(device)
    with _memory_of(place):
        inputs = Inputs.prepared(fixed, moving, None, None, place)
        start: LinearTransform | DisplacementField
        if isinstance(network_or_field, DisplacementField):
            start = network_or_field.to(place)
            pair = inputs.pair(start, _REFINED_SAMPLES)
            guess = DisplacementField.identity(pair.grid, pair.fixed)
        else:
            require_dimension(network_or_field, inputs.fixed.grid)
            start = LinearTransform.identity(fixed.grid.dimension)
            pair = inputs.pair(start, network_or_field.card.input.most_samples)
            with torch.no_grad():
                guess = predicted(network_or_field, pair)
        velocity, _ = bent(inputs, pair, guess, options or Refinement(), progress)
        with torch.no_grad():
            added, _ = finished(velocity, pair.grid, inputs.fixed.grid, full_resolution=False)
            return compose(added, start).to("cpu")


@contextmanager
def _memory_of(place: torch.device) -> Iterator[None]:
    """Says in words when a device runs out of memory."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(
            "the device has too little memory for this pair",
            where=str(place),
            got=str(error).splitlines()[0],
            remedy='Choose device="cpu", or crop the images.',
        ) from error


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
