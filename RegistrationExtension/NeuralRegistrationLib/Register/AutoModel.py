"""Which model the automatic choice would take for two volumes, told before Apply.

It is the engine's own rule on what the nodes hold; large volumes are looked at coarsely, so that
the window does not wait. The engine looks again, at every voxel, and says what it took.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Models import ModelList
from NeuralRegistrationLib.Scene import Segmentations, Volumes
from NeuralRegistrationLib.Scene.Fingerprint import fingerprint

_MOST_VOXELS = 400_000  # of an image that is looked at
_KEPT = 16  # volumes and masks whose content is remembered


def expected(fixed, moving, parameters) -> str:
    """A sentence on the model that would be taken and why; empty if nobody can tell.

    parameters: of the panel; its preset and masks count.
    """
    if Dependencies.missingToRead():
        return ""
    from neuralreg.registration.model_choice import candidates, concerns

    if parameters.preset.value != "generic":
        return _("{model} would be taken: an anatomy was chosen for it.").format(model=_search())
    seen = [
        content(node, mask, segment)
        for node, mask, segment in (
            (fixed, parameters.fixedMask, parameters.fixedMaskSegment),
            (moving, parameters.movingMask, parameters.movingMaskSegment),
        )
    ]
    ready = [card for card in ModelList.cards() if ModelList.isAvailable(card)]
    taken = candidates(ready, *seen)
    if taken:
        text = _("{model} would be taken: both images look like brains without skull.")
        return text.format(model=taken[0].title)
    ranked = [card for card in ready if card.auto_rank is not None]
    masks = [card for card in ranked if _onlySkull(concerns(card, *seen))]
    if masks:
        text = _("{model} would be taken. For heads, brain masks would let {other} be taken.")
        return text.format(model=_search(), other=masks[0].title)
    text = _("{model} would be taken: no network that is here was made for these images.")
    return text.format(model=_search())


def _search() -> str:
    from neuralreg.zoo.registry import model_card

    return model_card("convex").title


def _onlySkull(found: list[str]) -> bool:
    """Whether a brain mask is all that is missing."""
    return bool(found) and all("give a brain mask" in text for text in found)


def isBrain(volumeNode) -> bool:
    """Whether a volume looks like a human brain whose skull was removed."""
    return content(volumeNode).is_brain


_known: dict[tuple, object] = {}  # by what nodes hold, without the nodes


def content(volumeNode, maskNode=None, segment: str = ""):
    """What a volume shows, inside of a mask if there is one; remembered until either changes."""
    key = (volumeNode.GetID(), fingerprint(volumeNode))
    image = _remembered(key, lambda: _ofVolume(volumeNode))
    if maskNode is None:
        return image
    key += (maskNode.GetID(), fingerprint(maskNode), segment)
    return _remembered(key, lambda: _ofMask(image, maskNode, [segment] if segment else None))


def _remembered(key: tuple, look):
    if key not in _known:
        if len(_known) == _KEPT:
            _known.clear()
        _known[key] = look()
    return _known[key]


def _ofVolume(node):
    from neuralreg.measures.modality import looks_like_ct
    from neuralreg.registration.model_choice import Content

    stored = Volumes.storedIn(node)
    values, step = _thinned(stored.data if stored.data.ndim == 3 else stored.data[..., 0])
    values = np.nan_to_num(values)
    return Content.of_shown(values > values.min(), _spacing(stored), looks_like_ct(values), step)


def _ofMask(image, node, segments):
    """What an image shows inside of a mask: the mask's size and shape."""
    parts = [_ofLayer(*layer, image.ct) for layer in _layers(node, segments)]
    if not parts:
        return image
    whole = image.liters / max(1 - image.background_share, 1e-6)
    liters = sum(part.liters for part in parts)
    extents = zip(*(part.extent_mm for part in parts), strict=True)
    return replace(
        image,
        background_share=1 - liters / whole,
        liters=liters,
        extent_mm=tuple(map(max, extents)),
        cut=False,
    )


def _layers(node, segments):
    """Each layer of a mask with the labels in it that count; None for all."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        yield Volumes.storedIn(node), None
        return
    for stored, values in Segmentations.layersOf(node):
        yield stored, [v for each, v in values.items() if segments is None or each in segments]


def _ofLayer(stored, labels, ct: bool):
    from neuralreg.registration.model_choice import Content

    values, step = _thinned(stored.data)
    shown = values > 0 if labels is None else np.isin(values, labels)
    return Content.of_shown(shown, _spacing(stored), ct, step)


def _thinned(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Every so manieth voxel, without axes of one voxel."""
    values = values.squeeze()
    step = max(1, int(np.ceil((values.size / _MOST_VOXELS) ** (1 / max(values.ndim, 1)))))
    return values[(slice(None, None, step),) * values.ndim], step


def _spacing(stored) -> tuple[float, ...]:
    """Distances of voxels, x y z, without axes of one voxel."""
    spacing = np.linalg.norm(stored.indexToParent[:3, :3], axis=0)
    return tuple(float(s) for s, n in zip(spacing, stored.size, strict=True) if n > 1)
