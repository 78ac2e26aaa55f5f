"""Maps of a review in color: the effect of the deformation, or how far to trust it."""

from __future__ import annotations

import numpy as np
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from NeuralRegistrationLib.Review.Parameters import ColorMap
from NeuralRegistrationLib.Scene import SubjectHierarchy, Volumes

_COLORS = 256
_VOLUME_RANGE = (0.0, 2.0)  # of the Jacobian: what is at 0 or below is folded
_FOLDED = (1.0, 0.0, 1.0)
_SHARE = 0.99  # of the voxels whose values are told apart by color
_LOOKED_AT = 100_000  # voxels, for the range of the colors
_DIVERGING = "Change of volume (folded: magenta)"


def show(changes, image, grid, kind: ColorMap, transformNode):
    """A new volume node with a map, colored; beside the transform.

    changes: remembers new nodes. image: VTK's. grid: of the image.
    """
    scene = transformNode.GetScene()
    name = SubjectHierarchy.freeName(scene, f"{transformNode.GetName()}: {kind.label()}")
    node = changes.rememberNew(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)  # before there are voxels: it would look at all of them
    Volumes.fill(node, image, grid)
    if kind is ColorMap.JACOBIAN:
        display.SetAndObserveColorNodeID(_diverging(scene).GetID())
        display.SetWindowLevelMinMax(*_VOLUME_RANGE)
    else:
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeRainbow")
        values = vtk_to_numpy(image.GetPointData().GetScalars())
        values = values[:: max(1, len(values) // _LOOKED_AT)]
        finite = values[np.isfinite(values)]
        most = float(np.quantile(finite, _SHARE)) if len(finite) else 1.0
        display.SetWindowLevelMinMax(0.0, max(most, 1e-3))
    SubjectHierarchy.placeBeside(node, transformNode)
    return node


def _diverging(scene):
    """Magenta where tissue is folded, blue where it shrinks, white where it stays, red where it
    grows."""
    former = scene.GetFirstNodeByName(_DIVERGING)
    if former is not None:
        return former
    node = scene.CreateNodeByClass("vtkMRMLColorTableNode")
    node.UnRegister(None)
    node.SetName(_DIVERGING)
    node.SetTypeToUser()
    node.SetNumberOfColors(_COLORS)
    node.SetAttribute("Category", _("Review"))
    stops = ((0.0, (0.10, 0.20, 0.70)), (0.5, (1.0, 1.0, 1.0)), (1.0, (0.75, 0.10, 0.10)))
    for n in range(_COLORS):
        at = n / (_COLORS - 1)
        color = [np.interp(at, [s for s, _c in stops], [c[k] for _s, c in stops]) for k in range(3)]
        node.SetColor(n, str(n), *(_FOLDED if n == 0 else color), 1.0)
    return scene.AddNode(node)
