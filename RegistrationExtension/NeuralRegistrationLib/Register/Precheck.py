"""What can be said about a pair before it is registered: the core's concerns in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from neuralreg.registration.model_choice import (
    Concern,
    ConcernKind,
    ImageContent,
    Placement,
    content_concerns,
    model_concerns,
    overlap_share,
    placement_concerns,
)
from slicer.i18n import tr as _

from NeuralRegistrationLib.Register.AutoModel import content


@dataclass(frozen=True)
class Finding:
    """One sentence. level: "good", "note" or "bad"; with something bad nothing can be applied."""

    level: str
    text: str


def precheck(
    fixed,
    moving,
    card=None,
    prealigned: bool = True,
    contents: list[ImageContent] | None = None,
) -> list[Finding]:
    """Sentences on two volume nodes where they are in the world, the worst first.

    card: of the model, or None if it is not known. prealigned: whether a linear stage comes first.
    contents: what both volumes show, inside of masks; of the whole volumes unless given.
    """
    empty = [node for node in (fixed, moving) if node.GetImageData() is None]
    if fixed is moving:
        return [Finding("bad", _("Fixed and moving are the same volume."))]
    if empty:
        return [Finding("bad", _("“{name}” has no voxels.").format(name=empty[0].GetName()))]
    pair = [_placement(fixed), _placement(moving)]
    concerns = placement_concerns(*pair)
    if not any(each.kind is ConcernKind.DIMENSIONS_DIFFER for each in concerns):
        contents = contents or [content(fixed), content(moving)]
        concerns += content_concerns(*contents)
        concerns += [] if card is None else model_concerns(card, *contents)
    names = {"fixed": fixed.GetName(), "moving": moving.GetName()}
    findings = [_finding(each, names, card, prealigned) for each in concerns]
    if not findings:
        return [Finding("good", _praise(*pair))]
    return sorted(dict.fromkeys(findings), key=lambda finding: finding.level != "bad")


def _placement(node) -> Placement:
    """Where a volume node is in the world, RAS mm."""
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    low, high = bounds.reshape(3, 2).T
    toWorld, matrix = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    parent = node.GetParentTransformNode()
    if parent is not None and parent.IsTransformToWorldLinear():
        parent.GetMatrixTransformToWorld(toWorld)
    array = slicer.util.arrayFromVTKMatrix
    axes = (array(toWorld) @ array(matrix))[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    size = np.array(node.GetImageData().GetDimensions())
    return Placement(size, spacing, axes / spacing, low, high)


def _praise(fixed: Placement, moving: Placement) -> str:
    overlap = _("The images overlap by {percent} %.")
    same = _("Same orientation, voxels of {fixed} and {moving} mm.")
    spacings = {"fixed": f"{fixed.spacing.max():.1f}", "moving": f"{moving.spacing.max():.1f}"}
    percent = round(100 * overlap_share(fixed, moving))
    return " ".join([overlap.format(percent=percent), same.format(**spacings)])


def _finding(concern: Concern, names: dict, card, prealigned: bool) -> Finding:
    kind, values = concern.kind, dict(concern.values)
    level, text = "note", _texts()[kind]
    if kind in (ConcernKind.DIMENSIONS_DIFFER, ConcernKind.MODEL_DIMENSION):
        level = "bad"
    elif kind is ConcernKind.NO_OVERLAP and not prealigned:
        level, text = "bad", _("The images do not overlap, and pre-alignment is switched off.")
    if "spacing_mm" in values:
        values["spacing_mm"] = f"{values['spacing_mm']:.1f}"
    modalities = "" if card is None else ", ".join(card.modalities)
    name = names.get(concern.role, "")
    return Finding(level, text.format(name=name, modalities=modalities, **values))


def _texts() -> dict[ConcernKind, str]:
    """The sentences, in the language of the application."""
    return {
        ConcernKind.DIMENSIONS_DIFFER: _("“{name}” is one slice, the other one is a volume."),
        ConcernKind.NO_OVERLAP: _("The images do not overlap: their alignment has to be searched."),
        ConcernKind.LITTLE_OVERLAP: _("The images overlap by {percent} %."),
        ConcernKind.TURNED: _("They are turned by {degrees} degrees against each other."),
        ConcernKind.THICK_SLICES: _(
            "“{name}” has thick slices ({spacing_mm} mm): there is little information between them."
        ),
        ConcernKind.SLICE_DIRECTIONS: _("Their slices run in different directions."),
        ConcernKind.TWO_MODALITIES: _("One looks like CT, the other does not."),
        ConcernKind.MODEL_DIMENSION: _("The model does not take images of {dimension} dimensions."),
        ConcernKind.MODEL_FOR_MR: _("The model was made for {modalities}, and this looks like CT."),
        ConcernKind.MODEL_FOR_CT: _("The model was made for CT, and this does not look like it."),
        ConcernKind.NO_BRAIN: _("The model needs heads whose skull was removed."),
        ConcernKind.PART_OF_A_BRAIN: _("“{name}” shows only a part of the brain."),
        ConcernKind.COARSE_SAMPLES: _(
            "“{name}” has samples {spacing_mm} mm apart, the model was made for {trained_mm} mm."
        ),
        ConcernKind.MODEL_OF_ONE_MODALITY: _("The model compares images of one modality."),
    }
