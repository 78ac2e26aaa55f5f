"""A brain mask for a head: by a network, or carried over from a public template.

Networks that were trained on brains without skull need one; see `Input.content` of the cards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from neuralreg.devices import choose_registration_device
from neuralreg.errors import InvalidImage, InvalidOption, OutOfMemory
from neuralreg.geometry.image import Image
from neuralreg.geometry.warp import warp_labels
from neuralreg.io.arguments import ImageLike, as_image, as_labels
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.brain.extraction import MINDGRAB, extract_brain
from neuralreg.registration.brain.recent import RecentResults, content_key
from neuralreg.registration.engine import register
from neuralreg.registration.model_choice import SEARCH, ImageContent, network_without_masks
from neuralreg.registration.options import BRAIN_MODELS, RegistrationOptions
from neuralreg.zoo.card import Weights
from neuralreg.zoo.registry import list_models, model_card
from neuralreg.zoo.weights import fetch_file, is_available

if TYPE_CHECKING:
    from neuralreg.registration.result import RegistrationResult

_AT = (
    "https://raw.githubusercontent.com/neurostuff/NiMARE/267a1353cc44438845dd3c732dd97272101dbb13/"
    "nimare/resources/templates/"
)
# MNI152 NLin6Asym, 2 mm. © 1993-2009 Louis Collins, McConnell Brain Imaging Centre, McGill
# University: free to use, copy, modify and distribute. From NiMARE (MIT) by commit and blob.
TEMPLATE = {
    "head": Weights(
        file="tpl-MNI152NLin6Asym_res-02_T1w.nii.gz",
        url=_AT + "tpl-MNI152NLin6Asym_res-02_T1w.nii.gz",
        sha256="1616e98b88c0b213096e015d12f7a114648851989215493ba5799c76c19fd1f5",
        bytes=1_405_597,
    ),
    "mask": Weights(
        file="tpl-MNI152NLin6Asym_res-02_desc-brain_mask.nii.gz",
        url=_AT + "tpl-MNI152NLin6Asym_res-02_desc-brain_mask.nii.gz",
        sha256="5e12ef73afaf8e2bf17ab855a82ca13bf36473ae11f0888c4c8978eb63a1a51b",
        bytes=12_611,
    ),
}

_NOT_READY = (
    f"the template was used, because {MINDGRAB} is not on this machine: `neuralreg models get "
    f"{MINDGRAB}` (0.6 MB) makes masks of other contrasts better"
)


@dataclass(frozen=True, eq=False)
class BrainMask:
    """A brain mask, and what is known about it.

    Attributes:
        mask: 1 in the brain, 0 elsewhere, on the head's grid.
        liters: of the mask.
        warnings: by the mask's own checks, and by the registration that made it, if any.
        model: that made it: "mindgrab" or "template".
        registration: of the template to the head; None for a network's mask.
    """

    mask: Image
    liters: float
    warnings: tuple[str, ...]
    model: str
    registration: RegistrationResult | None = None


_RECENT: RecentResults[BrainMask] = RecentResults(2)  # of templates, for both images of a pair


def brain_mask(
    head: ImageLike,
    *,
    model: str = "auto",
    template: tuple[ImageLike, ImageLike] | None = None,
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> BrainMask:
    """Where the brain is in an image of a human head.

    It is no substitute for a segmentation. The network keeps the fluid between brain and skull and
    needs no start; the template's border follows the template's, about a voxel of 2 mm off.

    Args:
        head: as `register` takes an image.
        model: "mindgrab", a network for any MR contrast; "template", by registering one to the
            head; "auto", the network where its weights are on this machine, and a warning that
            says so where they are not.
        template: a head and its brain mask for "template", which it implies; the MNI152 head
            (2 mm, 1.4 MB, downloaded once and checked) unless given.
        cache: folder of downloaded files, if not the usual one.
        device, progress: as `register` takes them.

    Raises:
        InvalidOption: an unknown model.
        InvalidImage: the network found no human head in it.
        WeightsUnavailable: when the weights, or the template, are not on this machine and cannot
            be fetched.
        RegistrationError: as `register` does.
    """
    if model not in BRAIN_MODELS:
        raise InvalidOption(
            "unknown model for brain masks", got=f"'{model}'", wanted=" or ".join(BRAIN_MODELS)
        )
    image = as_image(head, "head")
    is_ready = is_available(model_card(MINDGRAB), cache)
    if template is None and (model == MINDGRAB or (model == "auto" and is_ready)):
        brain = extract_brain(image, cache=cache, device=device, progress=progress)
        return BrainMask(brain.mask, brain.liters, brain.warnings, MINDGRAB)
    notes = [_NOT_READY] * (model == "auto" and template is None)
    if template is None:
        moving, inside = _template(cache, stage(progress, 0.0, 0.1))
    else:
        moving, inside = as_image(template[0], "template"), as_labels(template[1], "brain mask")
    key = (*map(content_key, (image, moving, inside)), str(choose_registration_device(device)))
    registered = _RECENT.get_or_compute(
        key, lambda: _register_template(image, moving, inside, device, progress)
    )
    progress(1.0, "brain mask")
    return replace(registered, warnings=(*notes, *registered.warnings))


def _register_template(
    image: Image, moving: Image, inside: Image, device: str, progress: Progress
) -> BrainMask:
    part = stage(progress, 0.1, 0.95)
    result = register(image, moving, SEARCH, device=device, progress=part)
    mask = warp_labels(inside, result.field, image.grid)
    content = ImageContent.of(image, mask)
    return BrainMask(mask, content.liters, tuple(_warnings(content, result)), "template", result)


def mask_heads(
    images: tuple[Image, Image],
    masks: tuple[Image | None, Image | None],
    model: str,
    device: str,
    progress: Progress,
) -> tuple[tuple[Image | None, Image | None], list[str]]:
    """Both masks, made by `brain_mask` for heads without one, and a sentence for each warning.

    An image that looks like a brain without skull already, or has a mask, needs none.

    Args:
        images: fixed and moving.
        masks: of them, where they are known.
        model, device, progress: as `brain_mask` takes them.

    Raises:
        RegistrationError: as `brain_mask` does, with the role of the image.
    """
    both: list[Image | None] = []
    notes: list[str] = []
    for n, role in enumerate(("fixed", "moving")):
        mask = masks[n]
        if mask is None and not ImageContent.of(images[n]).is_brain:
            part = stage(progress, 0.5 * n, 0.5 * (n + 1))
            try:
                brain = brain_mask(images[n], model=model, device=device, progress=part)
            except InvalidImage as error:
                raise error.at(f"{role} image") from error
            mask = brain.mask
            notes += [f"brain mask of the {role} image: {text}" for text in brain.warnings]
        both.append(mask)
    return (both[0], both[1]), notes


def mask_heads_for_networks(
    images: tuple[Image, Image], options: RegistrationOptions, progress: Progress
) -> tuple[tuple[Image | None, Image | None], list[str]] | None:
    """Both masks by mindgrab, where the automatic choice lacks only them to take a network.

    Args:
        images: fixed and moving, for which there are no masks.
        options: of the registration.
        progress: gets a fraction and a message.

    Returns:
        As `mask_heads`. None where a model or an anatomy was chosen, the weights are not on this
        machine, or masks would change nothing.
    """
    is_automatic = options.model == "auto" and options.preset == "generic"
    if not is_automatic or not is_available(model_card(MINDGRAB)):
        return None
    contents = [ImageContent.of(image) for image in images]
    card = network_without_masks(list_models(available=True), *contents)
    if card is None:
        return None
    try:
        masks, notes = mask_heads(images, (None, None), MINDGRAB, options.device, progress)
    except (InvalidImage, OutOfMemory) as error:
        reason = f"{error.what} ({error.where}: {error.got})"
        return (None, None), [f"{card.name} was not tried, for want of brain masks: {reason}"]
    note = f"{MINDGRAB} has found the brains first, because {card.name} was made for heads without"
    return masks, [f"{note} skull; a model that is named, such as {SEARCH}, goes without", *notes]


def _warnings(brain: ImageContent, result: RegistrationResult) -> list[str]:
    """What is wrong with a mask, in words."""
    warnings = list(result.warnings)
    if not brain.is_brain:
        warnings.append(
            f"what the mask holds is not shaped like a human brain ({brain.in_words()}): look at it"
        )
    if result.outcome.similarity_final < result.outcome.similarity_initial:
        warnings.append("the head does not look like the template: look at the mask")
    return warnings


def _template(cache: Path | None, progress: Progress) -> tuple[Image, Image]:
    from neuralreg.io.image_files import read_image, read_labels

    files = {}
    for n, (name, weights) in enumerate(TEMPLATE.items()):
        part = stage(progress, n / len(TEMPLATE), (n + 1) / len(TEMPLATE))
        files[name] = fetch_file(weights, f"brain template, {name}", cache, part)
    return read_image(files["head"]), read_labels(files["mask"])
