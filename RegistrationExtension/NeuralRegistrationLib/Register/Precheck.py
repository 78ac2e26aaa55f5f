"""What can be said about a pair before it is registered, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

_FEW_PERCENT = 40  # of the smaller image that the other one covers
_TURNED_DEGREES = 20
_THICK = 4  # times the distance of voxels within a slice
_AIR_OF_CT = -500  # gray values below this are Hounsfield units


@dataclass(frozen=True)
class Finding:
    """One sentence. level: "good", "note" or "bad"; with something bad nothing can be applied."""

    level: str
    text: str


def precheck(fixed, moving, card=None, prealigned: bool = True) -> list[Finding]:
    """Sentences on two volume nodes where they lie in the world, the worst first.

    card: of the model, or None if it is not known. prealigned: whether a linear stage comes first.
    """
    empty = [node for node in (fixed, moving) if node.GetImageData() is None]
    if fixed is moving:
        return [Finding("bad", _("Fixed and moving are the same volume."))]
    if empty:
        return [Finding("bad", _("“{name}” has no voxels.").format(name=empty[0].GetName()))]
    pair = [_Seen(fixed), _Seen(moving)]
    found = [*_shapes(pair, card), *_place(pair, prealigned), *_looks(pair, card)]
    if all(finding.level == "good" for finding in found):
        return [Finding("good", " ".join(finding.text for finding in found))]
    worst = ("bad", "note")
    return sorted((f for f in found if f.level in worst), key=lambda f: worst.index(f.level))


class _Seen:
    """A volume where it lies: its box (low, high) and its axes in RAS mm, one column per axis."""

    def __init__(self, node) -> None:
        self.name, self.size = node.GetName(), np.array(node.GetImageData().GetDimensions())
        bounds = np.zeros(6)
        node.GetRASBounds(bounds)
        self.low, self.high = bounds.reshape(3, 2).T
        toWorld, matrix = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        parent = node.GetParentTransformNode()
        if parent is not None and parent.IsTransformToWorldLinear():
            parent.GetMatrixTransformToWorld(toWorld)
        axes = (slicer.util.arrayFromVTKMatrix(toWorld) @ slicer.util.arrayFromVTKMatrix(matrix))[
            :3, :3
        ]
        self.spacing = np.linalg.norm(axes, axis=0)
        self.axes = axes / self.spacing
        self.isCt = node.GetImageData().GetScalarRange()[0] < _AIR_OF_CT

    @property
    def dimension(self) -> int:
        return int((self.size > 1).sum())

    @property
    def slicedAlong(self) -> int:
        """The world axis that the slices are stacked along."""
        return int(np.abs(self.axes[:, int(self.spacing.argmax())]).argmax())

    def isThick(self) -> bool:
        inside = self.spacing[self.size > 1]
        return len(inside) == 3 and inside.max() > _THICK * inside.min()


def _shapes(pair, card) -> list[Finding]:
    if pair[0].dimension != pair[1].dimension:
        flat = min(pair, key=lambda seen: seen.dimension).name
        text = _("“{name}” is one slice, the other one is a volume.").format(name=flat)
        return [Finding("bad", text)]
    dimension = pair[0].dimension
    if card is not None and dimension not in card.input.dimensions:
        text = _("The model does not take images of {number} dimensions.").format(number=dimension)
        return [Finding("bad", text)]
    return []


def _place(pair, prealigned: bool) -> list[Finding]:
    low = np.maximum(pair[0].low, pair[1].low)
    high = np.minimum(pair[0].high, pair[1].high)
    smaller = min(np.prod(seen.high - seen.low) for seen in pair)
    share = round(100 * float(np.prod(np.maximum(high - low, 0)) / smaller))
    found = [_overlap(share, prealigned)]
    degrees = _turn(*(seen.axes for seen in pair))
    if degrees > _TURNED_DEGREES:
        text = _("They are turned by {degrees} degrees against each other.")
        found.append(Finding("note", text.format(degrees=round(degrees))))
    thick = [seen for seen in pair if seen.isThick()]
    for seen in thick:
        text = _("“{name}” has thick slices ({spacing} mm): little can be told between them.")
        spacing = f"{seen.spacing.max():.1f}"
        found.append(Finding("note", text.format(name=seen.name, spacing=spacing)))
    if len(thick) == 2 and thick[0].slicedAlong != thick[1].slicedAlong:
        found.append(Finding("note", _("Their slices run in different directions.")))
    if found[1:]:
        return found
    same = _("Same orientation, voxels of {fixed} and {moving} mm.")
    spacings = (f"{seen.spacing.max():.1f}" for seen in pair)
    return [
        *found,
        Finding("good", same.format(**dict(zip(("fixed", "moving"), spacings, strict=True)))),
    ]


def _overlap(share: int, prealigned: bool) -> Finding:
    if share == 0 and not prealigned:
        return Finding("bad", _("The images do not overlap, and pre-alignment is switched off."))
    if share == 0:
        return Finding(
            "note", _("The images do not overlap: where they belong has to be searched.")
        )
    level = "note" if share < _FEW_PERCENT else "good"
    return Finding(level, _("The images overlap by {percent} %.").format(percent=share))


def _turn(first: np.ndarray, second: np.ndarray) -> float:
    """Degrees between two sets of axes; which axis is called first does not count."""
    between = np.abs(first.T @ second)
    return float(np.degrees(np.arccos(np.clip(between.max(axis=1).min(), 0, 1))))


def _looks(pair, card) -> list[Finding]:
    found = []
    if pair[0].isCt != pair[1].isCt:
        found.append(Finding("note", _("One looks like CT, the other does not.")))
    if card is None:
        return found
    fit = {"any", "CT"} & set(card.modalities)
    if any(seen.isCt for seen in pair) and not fit:
        text = _("The model was made for {modalities}, and this looks like CT.")
        found.append(Finding("note", text.format(modalities=", ".join(card.modalities))))
    elif not all(seen.isCt for seen in pair) and set(card.modalities) == {"CT"}:
        found.append(
            Finding("note", _("The model was made for CT, and this does not look like it."))
        )
    if getattr(card.input, "content", "any") == "brain":
        found.append(Finding("note", _("The model wants heads whose skull was removed.")))
    return found
