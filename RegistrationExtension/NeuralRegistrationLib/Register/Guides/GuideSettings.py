"""The guides in the parameters of the panel: for the core, and what they still lack."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

from slicer.i18n import tr as _

LISTS = {  # parameters that hold a list, by the keyword of `register`
    "channels": ("fixedChannels", "movingChannels", "channelWeights"),
    "surfaces": (
        "fixedSurfaces",
        "movingSurfaces",
        "fixedSurfaceSegments",
        "movingSurfaceSegments",
    ),
}
NODES = ("fixedChannels", "movingChannels", "fixedSurfaces", "movingSurfaces")
NAMES = (
    *("fixedLandmarks", "movingLandmarks", "landmarkWeight", "landmarkToleranceMm"),
    *("fixedLabels", "movingLabels", "networkLabels", "labelWeight"),
    *("rigidParts", "rigidPartsSegment", "slidingMask", "slidingMaskSegment"),
    *(name for names in LISTS.values() for name in names),
    "surfaceWeight",
)


class Pair(NamedTuple):
    """One row of a list: a node of each side or None, their segments ("" for all), a weight."""

    fixed: object | None = None
    moving: object | None = None
    fixedSegment: str = ""
    movingSegment: str = ""
    weight: float = 1.0

    @property
    def isComplete(self) -> bool:
        return self.fixed is not None and self.moving is not None


def pairsOf(parameters, kind: str) -> list[Pair]:
    """The rows of the list of "channels" or "surfaces"."""
    columns = [list(getattr(parameters, name)) for name in LISTS[kind]]
    if kind == "channels":
        return [Pair(a, b, weight=w) for a, b, w in zip_longest(*columns)]
    return [Pair(a, b, one or "", two or "") for a, b, one, two in zip_longest(*columns)]


def valuesOf(pairs: list[Pair], kind: str) -> dict[str, list]:
    """The parameters that hold these rows."""
    names = LISTS[kind]
    values = {names[0]: [p.fixed for p in pairs], names[1]: [p.moving for p in pairs]}
    if kind == "channels":
        return {**values, names[2]: [p.weight for p in pairs]}
    segments = [p.fixedSegment for p in pairs], [p.movingSegment for p in pairs]
    return {**values, names[2]: segments[0], names[3]: segments[1]}


def optionsOf(parameters) -> dict:
    """The options of a registration that the guides decide, by name."""
    p, options = parameters, {}
    if p.networkLabels:
        options.update(label_source="auto", label_weight=p.labelWeight)
    elif p.fixedLabels is not None or p.movingLabels is not None:
        options["label_weight"] = p.labelWeight
    if channels := pairsOf(p, "channels"):
        options["channel_weights"] = tuple(pair.weight for pair in channels)
    if pairsOf(p, "surfaces"):
        options["surface_weight"] = p.surfaceWeight
    return options


def settingsOf(parameters) -> dict:
    """The keywords of the logic's `register` that hand the guides over."""
    p = parameters
    labels = (None, None) if p.networkLabels else (p.fixedLabels, p.movingLabels)
    return {
        "fixedLandmarks": p.fixedLandmarks,
        "movingLandmarks": p.movingLandmarks,
        **_landmarkPull(p),
        "fixedLabels": labels[0],
        "movingLabels": labels[1],
        "rigidParts": p.rigidParts,
        "rigidPartsSegments": _segments(p.rigidParts, p.rigidPartsSegment),
        "slidingMask": p.slidingMask,
        "slidingMaskSegments": _segments(p.slidingMask, p.slidingMaskSegment),
        "channels": [(pair.fixed, pair.moving) for pair in pairsOf(p, "channels")],
        "surfaces": [
            (_side(pair.fixed, pair.fixedSegment), _side(pair.moving, pair.movingSegment))
            for pair in pairsOf(p, "surfaces")
        ],
    }


def _landmarkPull(parameters) -> dict[str, float]:
    """How much landmarks count, and how exactly they were placed; nothing without landmarks."""
    p = parameters
    if p.fixedLandmarks is None and p.movingLandmarks is None:
        return {}
    return {"landmarkWeight": p.landmarkWeight, "landmarkToleranceMm": p.landmarkToleranceMm}


def _segments(node, segment: str) -> list[str] | None:
    """The segments of a node to take; None for all, and for a label map."""
    if node is None or not segment or not node.IsA("vtkMRMLSegmentationNode"):
        return None
    return [segment]


def _side(node, segment: str):
    return node if _segments(node, segment) is None else (node, segment)


def inUse(parameters) -> dict[str, int]:
    """How many guides of each kind steer, by the beginning of the name of its fold."""
    p = parameters
    return {
        "landmarks": int(p.fixedLandmarks is not None or p.movingLandmarks is not None),
        "labels": int(p.networkLabels or p.fixedLabels is not None or p.movingLabels is not None),
        "rigid": int(p.rigidParts is not None),
        "channels": len(pairsOf(p, "channels")),
        "surfaces": len(pairsOf(p, "surfaces")),
        "sliding": int(p.slidingMask is not None),
    }


def faults(parameters) -> list[str]:
    """What the guides still lack, as sentences; with one nothing can be applied."""
    p, sentences = parameters, []
    if _isHalf(p.fixedLandmarks, p.movingLandmarks):
        side = _("fixed") if p.fixedLandmarks is None else _("moving")
        sentences.append(
            _("Landmarks: choose the list of the {side} image, too.").format(side=side)
        )
    if not p.networkLabels and _isHalf(p.fixedLabels, p.movingLabels):
        side = _("fixed") if p.fixedLabels is None else _("moving")
        sentences.append(_("Labels: choose those of the {side} image, too.").format(side=side))
    texts = {
        "channels": _("Channel {row}: choose the volume of the {side} image."),
        "surfaces": _("Surface {row}: choose the one of the {side} image."),
    }
    for kind, text in texts.items():
        for row, pair in enumerate(pairsOf(p, kind), start=1):
            if not pair.isComplete:
                side = _("fixed") if pair.fixed is None else _("moving")
                sentences.append(text.format(row=row, side=side))
    if p.rigidParts is not None and p.slidingMask is not None:
        sentences.append(_("Rigid parts and sliding cannot be used together: take one out."))
    return sentences


def _isHalf(one, other) -> bool:
    return (one is None) != (other is None)
