"""register(): the one way from two images to a transform."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from dataclasses import field as member
from typing import TYPE_CHECKING

import torch

from neuralreg import __version__
from neuralreg.devices import choose_device, require_precision
from neuralreg.errors import IncompatibleModel, InvalidOption, OutOfMemory
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.instance_optimization import Fitted, require_fitting
from neuralreg.registration.model_choice import Content, candidates, concerns
from neuralreg.registration.outcome import judge
from neuralreg.registration.pipeline import (
    Inputs,
    answered,
    bent,
    finished,
    fitted_to,
    inverse_of,
    predicted,
    require_dimension,
    searches,
    start_of,
    with_margin,
)
from neuralreg.registration.prealign import Prealign
from neuralreg.registration.presets import preset as preset_named
from neuralreg.registration.refine import Refined, Refinement
from neuralreg.registration.result import Outcome, RegistrationResult
from neuralreg.registration.working_grid import Start
from neuralreg.zoo.card import ModelCard
from neuralreg.zoo.network import RegistrationNetwork, run_options
from neuralreg.zoo.registry import list_models, load_model, model_card

if TYPE_CHECKING:
    import SimpleITK as sitk

_REFINED_SAMPLES = 700_000  # of the work grid, where no card says how many


def register(
    fixed: Image,
    moving: Image,
    model: str | RegistrationNetwork = "auto",
    *,
    initial: sitk.Transform | None = None,
    prealign: Prealign = Prealign.AUTO,
    preset: str = "generic",
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    refinement: Refinement | None = None,
    options: Mapping[str, float] | None = None,
    device: str = "auto",
    precision: str = "float32",
    full_resolution: bool = False,
    progress: Progress = silent,
) -> RegistrationResult:
    """Both directions between two images, without folds, and how good they look.

    model: the name of a card, or a network of your own with a card. "auto" takes a network that is
    here and was made for such images, else the training-free engine; the result says which and
    why. A network whose result does not pass its own check is left for the next one.
    initial: where to begin (fixed to moving, any ITK transform); nothing is pre-aligned then.
    prealign: how far the linear stage may go.
    preset: settings of the default engine by the name of what is registered.
    refinement: replaces the preset's; after a network, nothing is refined unless it is given. Of
    weights, "auto" takes only networks whose weights can be fitted.
    options: of the model, by the names on its card, such as {"smoothness": 0.3}.
    fixed_mask, moving_mask: above 0 where the images count, on any grid that overlaps theirs.
    device: "auto", "cpu", "cuda", ... precision: of a network, "float32", "bfloat16", "float16".
    full_resolution: the field on the fixed image's own grid.
    progress: called with a fraction and a message; raise `Cancelled` in it to stop.

    Raises RegistrationError: InvalidImage, IncompatibleModel, DeviceUnavailable, OutOfMemory, ...
    """
    place = choose_device(device)
    require_precision(precision)
    preset_named(preset)
    clock = _Clock(progress)
    with _memory_of(place):
        inputs = Inputs.prepared(fixed, moving, fixed_mask, moving_mask, place)
        fits = refinement is not None and refinement.of == "weights"
        models, why = _choice(model, inputs, preset, options, fits)
        progress(0.0, why)
        card = _card_of(models[0])  # what is wrong is said before the work begins
        require_dimension(card, inputs.fixed.grid)
        run_options(card, options)
        network = _loaded(models[0], device, precision)
        if fits:
            require_fitting(network)
        with clock.stage("pre-alignment", 0.0, 0.3) as part:
            start, how = start_of(inputs, initial, prealign, part)
        for n, one in enumerate(models):
            network = _loaded(one, device, precision)
            refine_by = refinement or _usual_refinement(network, preset)
            deform = _searched if searches(network) else _predicted
            found = deform(network, inputs, start, refine_by, options, clock)
            with clock.stage("both directions", 0.85, 1.0), torch.no_grad():
                done = _both_ways(found, inputs, start, full_resolution)
            if n + 1 < len(models) and (trouble := done.trouble()):
                inputs.notes.append(f"{network.card.name} was tried and left: {trouble}")
                continue
            break
    if trouble := done.trouble():
        inputs.notes.append(trouble)
    still = LinearTransform.identity(inputs.fixed.grid.dimension)
    return RegistrationResult(
        field=done.field.to("cpu"),
        inverse_field=done.inverse.to("cpu"),
        linear=start if isinstance(start, LinearTransform) else still,
        model=network.card.name,
        outcome=done.outcome,
        warnings=tuple(inputs.notes),
        timings=clock.seconds,
        provenance={
            "version": __version__,
            "torch": torch.__version__,
            "device": str(place),
            "choice": why,
            "preset": preset,
            "precision": precision,
            "options": run_options(network.card, options),
            "refinement": asdict(refine_by) if refine_by else None,
            "refined": asdict(found.refined) if found.refined else None,
            "pre-alignment": how,
            "smoothed against folding": found.smoothed,
        },
        maps=found.maps,
    )


def _choice(
    model: str | RegistrationNetwork,
    inputs: Inputs,
    preset: str,
    options: Mapping[str, float] | None,
    fits: bool,
) -> tuple[Sequence[str | RegistrationNetwork], str]:
    """The models to try, the first that passes is kept, and why these.

    A model that was named is the only one; what speaks against it becomes a warning.
    fits: whether only models whose weights can be fitted will do.
    """
    seen = (
        Content.of(inputs.fixed, inputs.fixed_mask),
        Content.of(inputs.moving, inputs.moving_mask),
    )
    if model != "auto":
        card = _card_of(model)
        inputs.notes.extend(concerns(card, *seen))
        return [model], f"{card.name} was asked for"
    if options:
        raise InvalidOption(
            "options belong to one model",
            got=", ".join(options),
            remedy="Name the model, or leave the options out.",
        )
    special = [] if preset != "generic" else candidates(list_models(available=True), *seen)
    if fits and not (special := [card for card in special if card.fitting]):
        raise IncompatibleModel(
            "no network that is here was made for these images and can be fitted to them",
            remedy="Name a model, or refine the field instead (auto, mind or lncc).",
        )
    if not special:
        return ["convex"], "convex: no network that is here was made for these images"
    names = [card.name for card in special] + ([] if fits else ["convex"])
    return names, f"{names[0]}: both images look like brains without skull"


def _card_of(model: str | RegistrationNetwork) -> ModelCard:
    return model_card(model) if isinstance(model, str) else model.card


def _loaded(model: str | RegistrationNetwork, device: str, precision: str) -> RegistrationNetwork:
    return (
        load_model(model, device=device, precision=precision) if isinstance(model, str) else model
    )


def _usual_refinement(network: RegistrationNetwork, preset: str) -> Refinement | None:
    """What is done without being asked: a search must be refined, a network's answer need not."""
    return preset_named(preset).refinement if searches(network) else None


@dataclass(frozen=True, eq=False)
class _Done:
    """Both directions of the whole chain, and how good they look."""

    field: DisplacementField
    inverse: DisplacementField
    outcome: Outcome

    def trouble(self) -> str | None:
        """What the result's own check has against it."""
        before, after = self.outcome.similarity_linear, self.outcome.similarity_final
        if after < before:
            return (
                "the images agree less than after the linear alignment: "
                f"{self.outcome.similarity} {before:.3f} before, {after:.3f} after"
            )
        if self.outcome.folding_percent_body > 0:
            return f"{self.outcome.folding_percent_body:.2g} % of the body is folded"
        return None


def _both_ways(found: _Deformed, inputs: Inputs, start: Start, full_resolution: bool) -> _Done:
    added = found.field
    if full_resolution:
        added = added.resample(with_margin(inputs.fixed.grid))
    whole, inverse = compose(added, start), inverse_of(added, start, inputs.moving.grid)
    outcome = judge(whole, inverse, inputs.fixed, added, inputs.similarities(start, whole))
    return _Done(whole, inverse, outcome)


@dataclass(frozen=True, eq=False)
class _Deformed:
    """A deformation in mm, to be followed by the start; how it was refined; the share smoothed.

    maps: what else the network told, on the fixed grid.
    """

    field: DisplacementField
    refined: Refined | Fitted | None
    smoothed: float
    maps: Mapping[str, Image] = member(default_factory=dict)


def _searched(
    network: RegistrationNetwork,
    inputs: Inputs,
    start: Start,
    refinement: Refinement | None,
    options: Mapping[str, float] | None,
    clock: _Clock,
) -> _Deformed:
    """What the default engine finds: a search, whose answer is the velocity that is refined."""
    with clock.stage("prediction", 0.3, 0.45), torch.no_grad():
        pair = inputs.pair(start, network.card.input.most_samples)
        guess = predicted(network, pair.fixed, pair.moving, pair.grid, options)
    with clock.stage("refinement", 0.45, 0.85) as part:
        velocity, refined = bent(inputs, pair, guess, refinement or Refinement(), part)
    with torch.no_grad():
        field, smoothed = finished(velocity, pair.grid)
    return _Deformed(field, refined, smoothed)


def _predicted(
    network: RegistrationNetwork,
    inputs: Inputs,
    start: Start,
    refinement: Refinement | None,
    options: Mapping[str, float] | None,
    clock: _Clock,
) -> _Deformed:
    """What a network answers, and what refining it adds."""
    found: Fitted | None = None
    begin, end = 0.3, 0.6 if refinement else 0.85
    if refinement is not None and refinement.of == "weights":
        begin, end = 0.8, 0.85
        with clock.stage("refinement", 0.3, begin) as part:
            network, found = fitted_to(network, inputs, start, refinement, options, part)
    with clock.stage("prediction", begin, end), torch.no_grad():
        field, smoothed, maps = answered(network, inputs, start, options)
    if refinement is None or found is not None:
        return _Deformed(field, found, smoothed, maps)
    with clock.stage("refinement", 0.6, 0.85) as part:
        more, refined, again = _further(inputs, compose(field, start), refinement, part)
    return _Deformed(compose(more, field), refined, max(smoothed, again), maps)


def _further(
    inputs: Inputs, start: DisplacementField, refinement: Refinement, progress: Progress
) -> tuple[DisplacementField, Refined, float]:
    """What is to come before a field for the images to agree better, and the share smoothed."""
    pair = inputs.pair(start, _REFINED_SAMPLES)
    still = DisplacementField.identity(pair.grid, pair.fixed)
    velocity, refined = bent(inputs, pair, still, refinement, progress)
    with torch.no_grad():
        field, smoothed = finished(velocity, pair.grid)
    return field, refined, smoothed


def refine(
    network_or_field: RegistrationNetwork | DisplacementField,
    fixed: Image,
    moving: Image,
    options: Refinement | None = None,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> DisplacementField:
    """A better field for one pair, fixed to moving in mm, without folds.

    network_or_field: what a network predicts for the pair, or a field from anywhere; neither is
    changed. A field is taken as it is and bent further; weights of a network can be fitted.
    options: how; the usual ones unless given.

    Raises RegistrationError as `register` does.
    """
    if options is not None and options.of == "weights":
        if isinstance(network_or_field, DisplacementField):
            raise InvalidOption("a field has no weights to be fitted", wanted='of="field"')
        require_fitting(network_or_field)
    place = choose_device(device)
    with _memory_of(place):
        inputs = Inputs.prepared(fixed, moving, None, None, place)
        if isinstance(network_or_field, DisplacementField):
            start = network_or_field.to(place)
            more, _, _ = _further(inputs, start, options or Refinement(), progress)
            return compose(more, start).to("cpu")
        require_dimension(network_or_field.card, inputs.fixed.grid)
        here = LinearTransform.identity(fixed.grid.dimension)
        deform = _searched if searches(network_or_field) else _predicted
        clock = _Clock(progress)
        found = deform(network_or_field, inputs, here, options or Refinement(), None, clock)
        return found.field.to("cpu")


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
    seconds: dict[str, float] = member(default_factory=dict)

    @contextmanager
    def stage(self, name: str, start: float, stop: float) -> Iterator[Progress]:
        part = stage(self.progress, start, stop)
        part(0.0, name)
        began = time.perf_counter()
        yield part
        part(1.0, name)
        self.seconds[name] = time.perf_counter() - began
