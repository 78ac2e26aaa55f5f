"""What the Review panel knows, kept in a node of the scene: saved with it and restored."""

from __future__ import annotations

from enum import Enum

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from NeuralRegistrationLib.Scene.ParameterNodes import singleNode, wrap

_TAG = "NeuralRegistrationReview"


class Layout(Enum):
    """How the slice views are arranged."""

    ASIS = "as it is"
    BROUGHT = "fixed and brought"
    OWN = "fixed and own space"

    def label(self):
        return {
            Layout.ASIS: _("Both images in each view"),
            Layout.BROUGHT: _("Fixed above, warped below"),
            Layout.OWN: _("Fixed above, moving below"),
        }[self]


class Overlay(Enum):
    """How two images are shown over each other."""

    FADE = "fade"
    FLICKER = "flicker"
    CHECKERBOARD = "checkerboard"
    CURTAIN = "curtain"
    DIFFERENCE = "difference"

    def label(self):
        return {
            Overlay.FADE: _("Fade"),
            Overlay.FLICKER: _("Flicker"),
            Overlay.CHECKERBOARD: _("Checkerboard"),
            Overlay.CURTAIN: _("Curtain"),
            Overlay.DIFFERENCE: _("Difference"),
        }[self]


class Drawing(Enum):
    """How a deformation is drawn over the images."""

    NONE = "none"
    GRID = "grid"
    ARROWS = "arrows"
    CONTOURS = "contours"

    def label(self):
        return {
            Drawing.NONE: _("None"),
            Drawing.GRID: _("Deformed grid"),
            Drawing.ARROWS: _("Arrows"),
            Drawing.CONTOURS: _("Contours of equal length"),
        }[self]


class ColorMap(Enum):
    """A map in color. The values are names of maps of the worker."""

    NONE = ""
    JACOBIAN = "jacobian"
    CONSISTENCY = "forward_backward"
    MAGNITUDE = "magnitude"
    RESIDUAL = "residual"
    SPREAD = "spread"

    def label(self):
        return {
            ColorMap.NONE: _("None"),
            ColorMap.JACOBIAN: _("Volume change (Jacobian)"),
            ColorMap.CONSISTENCY: _("Forward-backward error"),
            ColorMap.MAGNITUDE: _("Displacement"),
            ColorMap.RESIDUAL: _("Residual misalignment"),
            ColorMap.SPREAD: _("Dependence on the start"),
        }[self]


@parameterNodeWrapper
class ReviewParameters:
    """One value for each control that is worth keeping.

    fixedSegments, movingSegments, mask: segmentations or label maps. profile: a file of limits.
    correctionPoints, correctionPartners: of the correction that is being made. correctionRadius:
    mm; 0 until one suits an image. lock: a segmentation or label map that no correction changes.
    """

    transform: slicer.vtkMRMLTransformNode
    fixedVolume: slicer.vtkMRMLScalarVolumeNode
    movingVolume: slicer.vtkMRMLScalarVolumeNode
    fixedSegments: slicer.vtkMRMLNode
    movingSegments: slicer.vtkMRMLNode
    fixedPoints: slicer.vtkMRMLMarkupsFiducialNode
    movingPoints: slicer.vtkMRMLMarkupsFiducialNode
    repeatedPoints: slicer.vtkMRMLMarkupsFiducialNode
    mask: slicer.vtkMRMLNode
    correctionPoints: slicer.vtkMRMLMarkupsFiducialNode
    correctionPartners: slicer.vtkMRMLMarkupsFiducialNode
    correctionRadius: float = 0.0
    lock: slicer.vtkMRMLNode
    lockSegment: str = ""
    profile: str = ""
    layout: Layout = Layout.ASIS
    overlay: Overlay = Overlay.FADE
    drawing: Drawing = Drawing.NONE
    colorMap: ColorMap = ColorMap.NONE


def reviewParameters() -> ReviewParameters:
    """Those of the scene, in a node of their own beside the module's."""
    return wrap(ReviewParameters, singleNode(_TAG))
