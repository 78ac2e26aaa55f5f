"""Which model the automatic choice would take for two volumes, shown before Apply.

It is the engine's own rule on what the nodes hold; large volumes are looked at coarsely, so that
the window does not wait. The engine looks again, at every voxel, and reports what it took.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from neuralreg.registration.model_choice import (
    SEARCH,
    ChoiceReason,
    ImageContent,
    choose_model,
    network_without_masks,
)
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Models import ModelList
from NeuralRegistrationLib.Scene import Segmentations, Volumes
from NeuralRegistrationLib.Scene.Fingerprint import fingerprint

_MOST_VOXELS = 400_000  # of an image that is looked at
_KEPT = 16  # volumes and masks whose content is remembered


def expectation(fixed, moving, parameters) -> str:
    """A sentence on the model that would be taken and why; empty if it cannot be known.

    parameters: of the panel; its preset and masks count.
    """
    if Dependencies.missingForCards():
        return ""
    contents = contentsOf(fixed, moving, parameters)
    cards = {card.name: card for card in ModelList.cards() if ModelList.isAvailable(card)}
    choice = choose_model(list(cards.values()), *contents, preset=parameters.preset.value)
    text = _("{model} would be used: {reason}.").format(
        model=cards[choice.models[0]].title, reason=reasonText(choice.reason)
    )
    if choice.reason is not ChoiceReason.NONE_SUITS:
        return text
    network = network_without_masks(list(cards.values()), *contents)
    if network is None:
        return text
    masks = (parameters.fixedMask, parameters.movingMask)
    if masks == (None, None) and _findsBrains():
        text = _("{other} would be used, after mindgrab has found the brains of both heads.")
    else:
        text = _("{model} would be used. For heads with brain masks, {other} would be used.")
    return text.format(model=cards[SEARCH].title, other=network.title)


def reasonText(reason: ChoiceReason) -> str:
    """Why a model was chosen, as a part of a sentence; empty for one that the user named."""
    return {
        ChoiceReason.NAMED: "",
        ChoiceReason.PRESET: _("an anatomy was chosen for it"),
        ChoiceReason.SUITS: _("both images look like brains without skull"),
        ChoiceReason.NONE_SUITS: _("no available network was made for these images"),
    }[reason]


def _findsBrains() -> bool:
    """Whether the network that finds brains by itself is on this computer."""
    finders = [card for card in ModelList.cards("brain mask") if card.name == "mindgrab"]
    return any(map(ModelList.isAvailable, finders))


def contentsOf(fixed, moving, parameters) -> list[ImageContent]:
    """What both volumes show inside of the panel's masks."""
    return [
        content(node, mask, segment)
        for node, mask, segment in (
            (fixed, parameters.fixedMask, parameters.fixedMaskSegment),
            (moving, parameters.movingMask, parameters.movingMaskSegment),
        )
    ]


def isBrain(volumeNode) -> bool:
    """Whether a volume looks like a human brain whose skull was removed."""
    return content(volumeNode).is_brain


_contents: dict[tuple, object] = {}  # by what nodes hold, without the nodes


def content(volumeNode, maskNode=None, segment: str = ""):
    """What a volume shows, inside a mask if there is one; remembered until either changes."""
    key = (volumeNode.GetID(), fingerprint(volumeNode))
    image = _remember(key, lambda: _ofVolume(volumeNode))
    if maskNode is None:
        return image
    key += (maskNode.GetID(), fingerprint(maskNode), segment)
    return _remember(key, lambda: _ofMask(image, maskNode, [segment] if segment else None))


def _remember(key: tuple, look):
    if key not in _contents:
        if len(_contents) == _KEPT:
            _contents.clear()
        _contents[key] = look()
    return _contents[key]


def _ofVolume(node):
    from neuralreg.measures.modality import looks_like_ct

    stored = Volumes.contentOf(node)
    values, step = _everyNth(stored.data if stored.data.ndim == 3 else stored.data[..., 0])
    if np.issubdtype(values.dtype, np.floating):  # as in files: what has no value is background
        finite = values[np.isfinite(values)]
        values = np.nan_to_num(
            values,
            nan=finite.min() if finite.size else 0,
            neginf=finite.min() if finite.size else 0,
        )
    return ImageContent.of_foreground(
        values > values.min(), _spacing(stored), looks_like_ct(values), step
    )


def _ofMask(image, node, segments):
    """What an image shows inside of a mask: the mask's size and shape."""
    parts = [_ofLayer(*layer, image.ct) for layer in _layers(node, segments)]
    if not parts:
        return image
    total = image.liters / max(1 - image.background_share, 1e-6)
    liters = sum(part.liters for part in parts)
    extents = zip(*(part.extent_mm for part in parts), strict=True)
    return replace(
        image,
        background_share=1 - liters / total,
        liters=liters,
        extent_mm=tuple(map(max, extents)),
        cut=False,
    )


def _layers(node, segments):
    """Each layer of a mask with the labels in it that count; None for all."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        yield Volumes.contentOf(node), None
        return
    for stored, values in Segmentations.layersOf(node):
        yield stored, [v for each, v in values.items() if segments is None or each in segments]


def _ofLayer(stored, labels, ct: bool):
    values, step = _everyNth(stored.data)
    foreground = values > 0 if labels is None else np.isin(values, labels)
    return ImageContent.of_foreground(foreground, _spacing(stored), ct, step)


def _everyNth(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Every n-th voxel along each axis, and n; without axes of one voxel."""
    values = values.squeeze()
    step = max(1, int(np.ceil((values.size / _MOST_VOXELS) ** (1 / max(values.ndim, 1)))))
    return values[(slice(None, None, step),) * values.ndim], step


def _spacing(stored) -> tuple[float, ...]:
    """Distances of voxels, x y z, without axes of one voxel."""
    spacing = np.linalg.norm(stored.indexToParent[:3, :3], axis=0)
    return tuple(float(s) for s, n in zip(spacing, stored.size, strict=True) if n > 1)
