"""register() and refine(): the one way from two images to a transform."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from neuralreg import __version__
from neuralreg.devices import choose_registration_device, one_thread, own_modes, threads_for
from neuralreg.errors import IncompatibleModel, InvalidOption, convert_memory_errors
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.arguments import ImageLike, TransformLike, as_image, as_itk_transform
from neuralreg.progress import Progress, Timer, silent, stage
from neuralreg.registration.brain.label_drivers import drive_by_network
from neuralreg.registration.channels.channel_inputs import add_colors, split_images
from neuralreg.registration.guides.guide_inputs import split_keywords
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.initial_alignment import initial_alignment
from neuralreg.registration.instance_optimization import require_fitting
from neuralreg.registration.memory.memory_forecast import MemoryForecast, require_memory
from neuralreg.registration.model_choice import (
    ChoiceReason,
    ImageContent,
    ModelChoice,
    choose_model,
    model_concerns,
)
from neuralreg.registration.options import (
    PRESETS,
    USUAL,
    FieldRefinement,
    Refinement,
    RegistrationOptions,
    WeightRefinement,
    refinement_record,
)
from neuralreg.registration.pipeline import (
    BothDirections,
    Deformation,
    compose_both_directions,
    deform,
    refine_field,
    searches,
)
from neuralreg.registration.preprocess import require_dimension
from neuralreg.registration.result import RegistrationResult
from neuralreg.zoo.card import ModelCard
from neuralreg.zoo.loaded_network import RegistrationNetwork, run_options
from neuralreg.zoo.registry import list_models, load_model, model_card

if TYPE_CHECKING:
    import SimpleITK as sitk

    from neuralreg.geometry.image import Image
    from neuralreg.registration.working_grid import InitialTransform

_MEMORY_REMEDY = 'Use fewer samples (--most-samples), device="cpu", or crop the images.'


def register(
    fixed: ImageLike,
    moving: ImageLike,
    options: RegistrationOptions | str | RegistrationNetwork = USUAL,
    *,
    initial: TransformLike | None = None,
    fixed_mask: ImageLike | None = None,
    moving_mask: ImageLike | None = None,
    progress: Progress = silent,
    **changes: Any,
) -> RegistrationResult:
    """Both directions between two images, without folds, and how good they look.

    Args:
        fixed, moving: an image file or a DICOM folder (`FOLDER::SERIES` of several), an image of
            this package, of SimpleITK or of nibabel; in 2D or 3D, with one value per voxel.
        options: what can be chosen, or only a model: the name of a card, or a network of your own
            with a card.
        initial: where to begin, fixed to moving: a transform file, an ITK transform, or a field or
            linear transform of this package; nothing is aligned before it.
        fixed_mask, moving_mask: above 0 where the images count, on any grid that overlaps theirs;
            fractions weigh the deformation.
        progress: called with a fraction and a message; raise `Cancelled` in it to stop.
        **changes: fields of RegistrationOptions by name, such as model="convex", preset="brain MR",
            linear="rigid", refinement=FieldRefinement(steps=10) or extract_brain=True; and of
            `GuideInputs`, what steers: labels=(fixed, moving) with a label_weight above 0,
            channels=[(fixed, moving), ...], rigid=label_map of parts that move as one piece,
            surfaces=[(fixed, moving), ...], sliding=mask of what may slide along the rest.

    Returns:
        The displacement fields of both directions in LPS mm, each covering its image with a
        margin, with the model, warnings, figures and times. The images are not changed.

    Raises:
        RegistrationError: InvalidOption, InvalidImage, InvalidTransform, UnreadableFile,
            IncompatibleModel, WeightsUnavailable, DeviceUnavailable, OutOfMemory, ...
    """
    guides, changes = split_keywords(changes)
    options = _merge_options(options, changes)
    device = choose_registration_device(options.device)
    with convert_memory_errors(str(device), _MEMORY_REMEDY), own_modes():
        notes: list[str] = []
        images = (
            as_image(fixed, "fixed image", notes=notes, colors=True),
            as_image(moving, "moving image", notes=notes, colors=True),
        )
        images, colors = split_images(images, options.colors, notes)
        masks = (
            None if fixed_mask is None else as_image(fixed_mask, "fixed mask", notes=notes),
            None if moving_mask is None else as_image(moving_mask, "moving mask", notes=notes),
        )
        axes = images[0].grid.dimension
        start = None if initial is None else as_itk_transform(initial, axes, fixed, moving)
        if (made := _make_masks(images, masks, options, stage(progress, 0.0, 0.5))) is not None:
            masks, more = made
            notes += more
            progress = stage(progress, 0.5, 1.0)
        grids = images[0].grid, images[1].grid
        memory, doubts = require_memory(*grids, options, device.type)
        progress(0.0, memory.in_words())
        most = options.most_samples
        inputs = Inputs.prepare(*images, *masks, device, options.landmarks, most)
        inputs.notes[:0] = [*notes, *doubts]
        inputs = guides.add_to(add_colors(inputs, colors), options)
        return _Registration(inputs, options, Timer(progress), memory).run(start)


def refine(
    network_or_field: RegistrationNetwork | DisplacementField,
    fixed: ImageLike,
    moving: ImageLike,
    options: Refinement | None = None,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> DisplacementField:
    """A better field for one pair, fixed to moving in mm, without folds.

    Args:
        network_or_field: what a network predicts for the pair, or a field from anywhere; neither
            is changed. A field is taken as it is and refined; weights of a network can be fitted.
        fixed, moving: as `register` takes them.
        options: how; FieldRefinement() unless given.
        device: as `register` takes it.
        progress: called with a fraction and a message; raise `Cancelled` in it to stop.

    Raises:
        RegistrationError: as `register` does.
    """
    options = options or FieldRefinement()
    chosen = choose_registration_device(device)
    with convert_memory_errors(str(chosen), _MEMORY_REMEDY), own_modes():
        if isinstance(network_or_field, DisplacementField):
            if isinstance(options, WeightRefinement):
                raise InvalidOption("a field has no weights to fit", wanted="FieldRefinement()")
            inputs = Inputs.prepare(*_pair(fixed, moving), None, None, chosen)
            field = _without_inference(network_or_field).to(chosen)
            correction = refine_field(inputs, field, options, progress)
            return compose(correction.field, field).to("cpu")
        if isinstance(options, WeightRefinement):
            require_fitting(network_or_field)
        inputs = Inputs.prepare(*_pair(fixed, moving), None, None, chosen)
        require_dimension(network_or_field.card, inputs.fixed.grid)
        identity = LinearTransform.identity(inputs.fixed.grid.dimension)
        timer = Timer(progress)
        deformation = deform(network_or_field, inputs, identity, options, {}, timer)
        return deformation.field.to("cpu")


@dataclass(frozen=True, eq=False)
class _Attempt:
    """What one model made of the pair."""

    network: RegistrationNetwork
    refinement: Refinement | None
    deformation: Deformation
    both: BothDirections


@dataclass(frozen=True, eq=False)
class _Registration:
    """One registration of images that were checked."""

    inputs: Inputs
    options: RegistrationOptions
    timer: Timer
    memory: MemoryForecast

    @property
    def samples(self) -> int:
        """Of the larger image."""
        return max(self.inputs.fixed.grid.count, self.inputs.moving.grid.count)

    def run(self, start: sitk.Transform | None) -> RegistrationResult:
        """The result, found from an initial transform where one is given."""
        weight, device = self.options.label_weight, self.options.device
        if self.options.label_source != "auto" or not weight:
            return self._run(start)
        with self.timer.stage("labels", 0.0, 0.4) as part:
            inputs = drive_by_network(self.inputs, weight, device, part)
        rest = Timer(stage(self.timer.progress, 0.4, 1.0), self.timer.seconds)
        return replace(self, inputs=inputs, timer=rest)._run(start)

    def _run(self, start: sitk.Transform | None) -> RegistrationResult:
        models, choice = self._choose()
        self.timer.progress(0.0, choice.in_words())
        card = _card_of(models[0])  # what is wrong is reported before the work begins
        require_dimension(card, self.inputs.fixed.grid)
        run_options(card, self.options.model_options)
        self._load(models[0])
        # Sums that threads divide otherwise end in another of several optima, as lungs have them.
        with self.timer.stage("pre-alignment", 0.0, 0.3) as part, one_thread():
            initial, how = initial_alignment(self.inputs, start, self.options, part)
        attempt = self._first_sound(models, initial)
        both = attempt.both
        for guide in (both.landmarks, both.surfaces, both.rigid, both.sliding):
            self.inputs.notes.extend([] if guide is None else guide.notes())
        identity = LinearTransform.identity(self.inputs.fixed.grid.dimension)
        return RegistrationResult(
            field=attempt.both.field.to("cpu"),
            inverse_field=attempt.both.inverse.to("cpu"),
            linear=initial if isinstance(initial, LinearTransform) else identity,
            model=attempt.network.card.name,
            outcome=attempt.both.outcome,
            warnings=tuple(self.inputs.notes),
            timings=self.timer.seconds,
            provenance=self._provenance(attempt, choice, how),
            maps=attempt.deformation.maps,
        )

    def _choose(self) -> tuple[list[str | RegistrationNetwork], ModelChoice]:
        """The models to try, the first one that passes is kept, and why these.

        A model that was named is the only one; what speaks against it becomes a warning.
        """
        inputs, options = self.inputs, self.options
        contents = (
            ImageContent.of(inputs.fixed, inputs.fixed_mask),
            ImageContent.of(inputs.moving, inputs.moving_mask),
        )
        if options.model != "auto":
            card = _card_of(options.model)
            inputs.notes.extend(each.in_words() for each in model_concerns(card, *contents))
            return [options.model], ModelChoice((card.name,), ChoiceReason.NAMED)
        if options.model_options:
            raise InvalidOption(
                "options belong to one model",
                got=", ".join(options.model_options),
                remedy="Name the model, or leave the options out.",
            )
        fitting = isinstance(options.refinement, WeightRefinement)
        available = list_models(available=True)
        choice = choose_model(available, *contents, preset=options.preset, fitting=fitting)
        if choice is None:
            raise IncompatibleModel(
                "no available network was made for these images and can be fitted to them",
                remedy="Name a model, or refine the field instead (auto, mind or lncc).",
            )
        return list(choice.models), choice

    def _load(self, model: str | RegistrationNetwork) -> RegistrationNetwork:
        """The network; its weights can be fitted where that was asked for."""
        network = model
        if isinstance(network, str):
            device, precision = self.options.device, self.options.precision
            network = load_model(network, device=device, precision=precision)
        if isinstance(self.options.refinement, WeightRefinement):
            require_fitting(network)
        return network

    def _first_sound(
        self, models: list[str | RegistrationNetwork], initial: InitialTransform
    ) -> _Attempt:
        """The first model's result that passes its own checks, else the last one's."""
        *others, last = models
        for model in others:
            attempt = self._attempt(self._load(model), initial)
            failure = attempt.both.failed_checks()
            if failure is None:
                return attempt
            self.inputs.notes.append(f"{attempt.network.card.name} was tried and left: {failure}")
        attempt = self._attempt(self._load(last), initial)
        if failure := attempt.both.failed_checks():
            self.inputs.notes.append(failure)
        return attempt

    def _attempt(self, network: RegistrationNetwork, initial: InitialTransform) -> _Attempt:
        refinement, options = self.options.refinement, self.options
        if refinement is None and searches(network):
            refinement = PRESETS[options.preset].refinement
        with threads_for(self.samples) if searches(network) else nullcontext():
            deformation = deform(
                network, self.inputs, initial, refinement, options.model_options, self.timer
            )
        with (
            self.timer.stage("both directions", 0.85, 1.0) as part,
            threads_for(self.samples),
            torch.no_grad(),
        ):
            follows = refinement if isinstance(refinement, FieldRefinement) else None
            full = options.full_resolution
            both = compose_both_directions(deformation, self.inputs, initial, full, follows, part)
        return _Attempt(network, refinement, deformation, both)

    def _provenance(
        self, attempt: _Attempt, choice: ModelChoice, alignment: dict[str, object]
    ) -> dict[str, object]:
        options, deformation = self.options, attempt.deformation
        record, landmarks = deformation.refined, attempt.both.landmarks
        rigid = attempt.both.rigid
        return {
            "version": __version__,
            "torch": torch.__version__,
            "device": str(choose_registration_device(options.device)),
            "choice": choice.in_words(),
            "choice reason": choice.reason.value,
            "preset": options.preset,
            "precision": options.precision,
            "options": run_options(attempt.network.card, options.model_options),
            "refinement": refinement_record(attempt.refinement),
            "refined": asdict(record) if record else None,
            "pre-alignment": alignment,
            "landmarks": None if landmarks is None else landmarks.as_record(),
            "rigid parts": None if rigid is None else rigid.as_record(),
            "sliding": attempt.both.sliding and attempt.both.sliding.as_record(),
            "surfaces": attempt.both.surfaces and attempt.both.surfaces.as_record(),
            "labels": self.inputs.labels.labels if self.inputs.labels else None,
            "smoothed against folding": deformation.smoothed_share,
            "memory": self.memory.as_record(),
        }


def _merge_options(
    options: RegistrationOptions | str | RegistrationNetwork, changes: dict[str, Any]
) -> RegistrationOptions:
    if isinstance(options, RegistrationOptions):
        return options.replace(**changes)
    if not isinstance(options, str | RegistrationNetwork):
        raise InvalidOption(
            "options are RegistrationOptions, or a model",
            got=repr(options),
            wanted="RegistrationOptions(...), the name of a model, or a network with a card",
            remedy='Numbers of one model go to model_options={"smoothness": 0.3}.',
        )
    if "model" in changes:
        raise InvalidOption("one model is named", got=f"{options!r} and {changes['model']!r}")
    return USUAL.replace(model=options, **changes)


def _make_masks(
    images: tuple[Image, Image],
    masks: tuple[Image | None, Image | None],
    options: RegistrationOptions,
    progress: Progress,
) -> tuple[tuple[Image | None, Image | None], list[str]] | None:
    """Brain masks and remarks on them, where they were asked for or a network lacks them."""
    from neuralreg.registration.brain.brain_mask import mask_heads, mask_heads_for_networks

    if options.extract_brain:
        return mask_heads(images, masks, str(options.extract_brain), options.device, progress)
    if masks == (None, None):
        return mask_heads_for_networks(images, options, progress)
    return None


def _pair(fixed: ImageLike, moving: ImageLike) -> tuple[Image, Image]:
    return as_image(fixed, "fixed image"), as_image(moving, "moving image")


def _card_of(model: str | RegistrationNetwork) -> ModelCard:
    return model_card(model) if isinstance(model, str) else model.card


def _without_inference(field: DisplacementField) -> DisplacementField:
    """The field; a copy where it was made under inference_mode, whose tensors take no gradients."""
    if not field.vectors.is_inference():
        return field
    return DisplacementField(field.vectors.clone(), field.grid)
