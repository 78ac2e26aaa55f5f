"""A brain mask for a head, carried over from a public template by the default engine.

Networks that were trained on brains without skull need one; see `Input.content` of the cards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralreg.geometry.image import Image
from neuralreg.geometry.warp import warp_labels
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.engine import register
from neuralreg.registration.model_choice import Content
from neuralreg.zoo.card import Weights
from neuralreg.zoo.weights import fetch_file

if TYPE_CHECKING:
    from neuralreg.registration.result import RegistrationResult
    from neuralreg.zoo.network import RegistrationNetwork

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


@dataclass(frozen=True, eq=False)
class BrainMask:
    """mask: 1 in the brain, 0 elsewhere, on the head's grid. liters: of the mask.

    warnings: what the mask's own check, and the registration that made it, found.
    """

    mask: Image
    liters: float
    warnings: tuple[str, ...]
    registration: RegistrationResult


def brain_mask(
    head: Image,
    *,
    template: tuple[Image, Image] | None = None,
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> BrainMask:
    """Where the brain is in an image of a human head, by registering a template to it.

    template: a head and its brain mask; the MNI152 head (2 mm, 1.4 MB, downloaded once and
    checked) unless given. It is no substitute for a segmentation: its border follows the
    template's, about a voxel of 2 mm off.
    Raises WeightsUnavailable when the template is not here and cannot be fetched, and what
    `register` raises.
    """
    there, inside = template or _template(cache, stage(progress, 0.0, 0.1))
    result = register(head, there, "convex", device=device, progress=stage(progress, 0.1, 0.95))
    mask = warp_labels(inside, result.field, head.grid)
    brain = Content.of(head, mask)
    progress(1.0, "brain mask")
    return BrainMask(mask, brain.liters, tuple(_checked(brain, result)), result)


def register_heads(
    fixed: Image,
    moving: Image,
    model: str | RegistrationNetwork = "auto",
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
    **options: Any,
) -> RegistrationResult:
    """Register heads with a network for brains: masks, network, and the original images' transform.

    An image that looks like a brain already, or has a mask, needs none. options: of `register`.
    Raises what `brain_mask` and `register` raise.
    """
    masks, notes = [], []
    for n, (role, image, mask) in enumerate(
        (("fixed", fixed, fixed_mask), ("moving", moving, moving_mask))
    ):
        if mask is None and not Content.of(image).is_brain:
            part = stage(progress, 0.25 * n, 0.25 * (n + 1))
            device = options.get("device", "auto")
            found = brain_mask(image, cache=cache, device=device, progress=part)
            mask = found.mask
            notes += [f"brain mask of the {role} image: {said}" for said in found.warnings]
        masks.append(mask)
    result = register(
        fixed,
        moving,
        model,
        fixed_mask=masks[0],
        moving_mask=masks[1],
        progress=stage(progress, 0.5, 1.0),
        **options,
    )
    return replace(result, warnings=(*notes, *result.warnings))


def _checked(brain: Content, result: RegistrationResult) -> list[str]:
    """What is wrong with a mask, in words."""
    found = list(result.warnings)
    if not brain.is_brain:
        found.append(
            f"what the mask holds is not shaped like a human brain ({brain.in_words()}): look at it"
        )
    if result.outcome.similarity_final < result.outcome.similarity_initial:
        found.append("the head does not look like the template: look at the mask")
    return found


def _template(cache: Path | None, progress: Progress) -> tuple[Image, Image]:
    from neuralreg.io.image_files import read_image, read_labels

    files = {}
    for n, (name, wanted) in enumerate(TEMPLATE.items()):
        part = stage(progress, n / len(TEMPLATE), (n + 1) / len(TEMPLATE))
        files[name] = fetch_file(wanted, f"brain template, {name}", cache, part)
    return read_image(files["head"]), read_labels(files["mask"])
