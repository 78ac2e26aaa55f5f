"""Structures of a brain by a network: labels with names, sides and volumes.

Source: MeshNet, doi:10.1109/IJCNN.2017.7966333, with the weights of BrainChop,
doi:10.21105/joss.05098.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuralreg.errors import IncompatibleModel, InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.arguments import ImageLike, as_image
from neuralreg.io.formats.segmentations import Segment
from neuralreg.measures.modality import looks_like_ct
from neuralreg.progress import Progress, silent
from neuralreg.registration.brain.conform import largest_component, resample_to_image
from neuralreg.registration.brain.labeling import LabeledBox, best_label, label_box, require_head
from neuralreg.registration.brain.midplane import is_left
from neuralreg.registration.image_checks import prepare
from neuralreg.registration.model_choice import ImageContent
from neuralreg.zoo.card import ModelCard, Structure
from neuralreg.zoo.registry import list_models, model_card

LABELS = "subcortical18"
_WITH_SKULL = "aparc50"
_WHITE_MATTER, _CORTEX = "Cerebral-White-Matter", ("Cerebral-Cortex", "ctx-")
LEFT, RIGHT = 100, 200  # added to the label of a structure on that side
# In each image of a human brain; the smaller and less reliable structures are left out.
_EXPECTED = {
    "Cerebral-White-Matter", "Cerebral-Cortex", "Ventricle", "Lateral-Ventricle",
    "Inferior-Lateral-Ventricle", "Cerebellum-White-Matter", "Cerebellum-Cortex", "Cerebellum",
    "Thalamus", "Thalamus-Proper", "Caudate", "Putamen", "Pallidum", "3rd-Ventricle",
    "4th-Ventricle", "Brain-Stem", "Hippocampus", "Amygdala",
}  # fmt: skip
# ml, both sides together; of grown people, with a wide margin for atrophy.
_PLAUSIBLE_ML = {
    "Thalamus": (8.0, 30.0),
    "Thalamus-Proper": (8.0, 30.0),
    "Cerebral-White-Matter": (200.0, 900.0),
    "Hippocampus": (3.0, 20.0),
    "Brain-Stem": (8.0, 50.0),
}


@dataclass(frozen=True, eq=False)
class BrainLabels:
    """The structures of a brain.

    Attributes:
        labels: on the image's grid, 0 for the background.
        segments: label, name and color of each structure of the network, whether or not it was
            found.
        volumes_ml: by label, measured at 1 mm.
        model: name of the network's card.
        warnings: what to look at.
    """

    labels: Image
    segments: tuple[Segment, ...]
    volumes_ml: dict[int, float]
    model: str
    warnings: tuple[str, ...]

    def table(self) -> list[dict[str, Any]]:
        """One row for each structure: label, name, volume_ml."""
        return [
            {"label": s.value, "name": s.name, "volume_ml": round(self.volumes_ml[s.value], 3)}
            for s in self.segments
        ]


def label_brain(
    head: ImageLike,
    *,
    model: str = LABELS,
    sides: bool = False,
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> BrainLabels:
    """The structures of a human brain in a T1-weighted image, by a network.

    It is no substitute for a segmentation: Dice with FreeSurfer is about 0.8.

    Args:
        head: as `register` takes an image; with or without skull for "subcortical18", with it for
            "aparc50".
        model: name of a card whose task is "labels".
        sides: gives structures on the left and on the right labels of their own: 100 and 200 more
            than their common one. The midsagittal plane of the structures divides them.
        cache: folder of the weights, if not the usual one. Nothing is downloaded.
        device, progress: as `register` takes them.

    Raises:
        IncompatibleModel: an unknown model, one for another task, or one for heads with skull when
            there is none.
        InvalidImage: it shows no human brain with the contrast of T1, as far as the labels tell.
        OutOfMemory, WeightsUnavailable, ChecksumMismatch, DeviceUnavailable: as `load_model`.
    """
    card = label_card(model)
    image = as_image(head, "head")
    box, notes = label_head(image, card, role="head", cache=cache, device=device, progress=progress)
    values, structures = box.values, structures_by_value(card)
    if sides:
        values, structures = divide(box, structures)
    labels = resample_to_image(values, box.grid, image.grid, 0, nearest=True)
    counts = np.bincount(values.ravel(), minlength=256)
    progress(1.0, "labels")
    return BrainLabels(
        Image(torch.from_numpy(labels)[None], image.grid),
        tuple(Segment(value, each.name, each.color) for value, each in structures.items()),
        {value: float(counts[value]) / 1000 for value in structures},
        card.name,
        tuple(notes),
    )


def label_card(name: str) -> ModelCard:
    """The card of a network that labels brains.

    Args:
        name: of the card.

    Raises:
        IncompatibleModel: there is none, or it is for another task.
    """
    card = model_card(name)
    if card.task != "labels":
        raise IncompatibleModel(
            "this model gives no labels",
            where=name,
            got=f"a model for {card.task}",
            wanted=" or ".join(each.name for each in list_models(task="labels")),
        )
    return card


def structures_by_value(card: ModelCard) -> dict[int, Structure]:
    """The structures of a card by label, without the background."""
    return dict(list(enumerate(card.structures))[1:])


def label_head(
    image: Image,
    card: ModelCard,
    *,
    role: str,
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
    like: Grid | None = None,
) -> tuple[LabeledBox, list[str]]:
    """The labels in the largest part of a brain at 1 mm, and what to look at.

    Args:
        image: of a head.
        card: of a network for labels.
        role: how messages call the image.
        cache, device, progress: as `label_brain` takes them.
        like: as for `ConformedImage.of`.

    Raises:
        IncompatibleModel, InvalidImage, ...: as `label_brain`.
    """
    require_head(image, role)
    checked, notes = prepare(image, role)
    if card.name == _WITH_SKULL and ImageContent.of(checked).is_brain:
        raise IncompatibleModel(
            "this model is for heads with skull",
            where=card.name,
            got=f"a {role} without one",
            remedy=f"Use {LABELS}, or the image before its skull was removed.",
        )
    if looks_like_ct(checked.data):
        raise _no_t1(role, "the values of a CT")
    how: dict[str, Any] = {"cache": cache, "device": device, "progress": progress, "like": like}
    box = label_box(checked, card, best_label, **how)
    values = np.where(largest_component(box.values > 0), box.values, 0).astype(np.uint8)
    notes += check_volumes(np.bincount(values.ravel(), minlength=256) / 1000, card, role)
    labeled = LabeledBox(values, box.grid)
    return labeled, notes + check_contrast(checked, labeled, card, role)


def check_contrast(image: Image, box: LabeledBox, card: ModelCard, role: str) -> list[str]:
    """What speaks against the contrast of T1, in words.

    The median of the white matter over that of the cortex was 1.24 to 1.67 in four T1 images, 0.87
    in FLAIR and 0.75 in T2. The sizes of structures do not tell: they were plausible in all.

    Args:
        image: that was labeled.
        box: its labels.
        card: of the network.
        role: how messages call the image.
    """
    labels = resample_to_image(box.values, box.grid, image.grid, 0, nearest=True)
    values = image.data[0].cpu().numpy()
    names = {value: structure.name for value, structure in structures_by_value(card).items()}
    white = [value for value, name in names.items() if name == _WHITE_MATTER]
    cortex = [value for value, name in names.items() if name.startswith(_CORTEX)]
    samples = [values[np.isin(labels, each)] for each in (white, cortex)]
    if not all(len(each) for each in samples):
        return []
    bright, dark = (float(np.median(each)) for each in samples)
    if bright > dark:
        return []
    return [
        f"the {role} does not have the contrast of T1, the only one that {card.name} knows: its "
        f"white matter is no brighter than its cortex (medians {bright:.4g} and {dark:.4g}), as in "
        "FLAIR, T2 and PD; do not rely on the labels"
    ]


def check_volumes(volumes_ml: NDArray[np.floating[Any]], card: ModelCard, role: str) -> list[str]:
    """What is unusual about the sizes of structures, in words.

    Args:
        volumes_ml: by label.
        card: of the network.
        role: how messages call the image.

    Raises:
        InvalidImage: structures that each brain has are missing, or have impossible sizes.
    """
    structures = structures_by_value(card).items()
    missing = [s.name for v, s in structures if s.name in _EXPECTED and volumes_ml[v] == 0]
    odd = {}
    for value, structure in structures:
        low, high = _PLAUSIBLE_ML.get(structure.name, (0.0, np.inf))
        if not low <= volumes_ml[value] <= high:
            odd[structure.name] = f"{structure.name} of {volumes_ml[value]:.1f} ml"
    if missing or any(name.startswith("Thalamus") for name in odd):
        absent = [f"no {', '.join(missing)}"] * bool(missing)
        raise _no_t1(role, " and ".join([*absent, *odd.values()]))
    return [f"unusual size in the {role}, look at the labels: {text}" for text in odd.values()]


def _no_t1(role: str, got: str) -> InvalidImage:
    return InvalidImage(
        f"the {role} does not look like a T1-weighted image of a whole human brain",
        got=got,
        wanted="all structures of a brain in plausible sizes",
        remedy="The network knows no other contrasts, animals or parts of a head. Check that the "
        "right image was chosen, and that its orientation is right.",
    )


def divide(
    box: LabeledBox, structures: dict[int, Structure]
) -> tuple[NDArray[np.uint8], dict[int, Structure]]:
    """Labels with the sides apart, and their structures.

    Args:
        box: labels at 1 mm.
        structures: by label.

    Returns:
        Labels (z, y, x), those of structures on the left and right 100 and 200 higher; and the
        structures by them.
    """
    sided = [value for value, structure in structures.items() if structure.sided]
    left = is_left(box.values, sided)
    values = box.values.copy()
    chosen = np.isin(values, sided)
    values[chosen & left] += LEFT
    values[chosen & ~left] += RIGHT
    named: dict[int, Structure] = {}
    for value, structure in structures.items():
        if not structure.sided:
            named[value] = structure
            continue
        for offset, side in ((LEFT, "Left"), (RIGHT, "Right")):
            name = f"{side}-{structure.name}"
            named[value + offset] = structure.model_copy(update={"name": name})
    return values, named
