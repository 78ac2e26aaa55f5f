"""Displacement fields as Slicer's transform nodes, and nodes put under them."""

from __future__ import annotations

import logging

import numpy as np
import slicer
import torch
import vtk
from neuralreg.errors import InvalidOption, InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid

from . import Geometry

CUBIC_TOLERANCE_MM = 0.1
_MOST_SAMPLES = 8_000_000
_log = logging.getLogger(__name__)


def transformNodeFromField(
    field: DisplacementField, name: str, *, fixed=None, moving=None, covered: Grid | None = None
):
    """A new transform node that carries what lies on the moving image onto the fixed one.

    field: fixed to moving; the node holds it as its transform *from* the parent, in an oriented
    grid. The grid is refined where needed: Slicer reads every field back as cubic, and that may
    move no point by more than 0.1 mm from where the linear field puts it.
    fixed, moving: the volume nodes, referenced by the node as Slicer's DICOM export wants it.
    covered: the fixed image's grid; what lies beyond it is margin and need not be as exact.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    node.SetAndObserveTransformFromParent(Geometry.gridTransform(fineEnough(field, covered)))
    if fixed is not None:
        node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), fixed.GetID())
    if moving is not None:
        node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), moving.GetID())
    return node


def fineEnough(
    field: DisplacementField,
    covered: Grid | None = None,
    tolerance_mm: float = CUBIC_TOLERANCE_MM,
) -> DisplacementField:
    """The same linear field on a grid on which cubic interpolation stays this close to linear.

    A field too rough for that within 8 million samples is left coarser, and a warning logged.
    Raises InvalidTransform when the field is not finite.
    """
    if not torch.isfinite(field.vectors).all():
        raise InvalidTransform("displacements are finite", got="NaN or infinite numbers")
    while (gap := cubicDeviation(field, covered))[0] > tolerance_mm:
        if field.grid.count > _MOST_SAMPLES // 8:
            _log.warning(
                "Slicer reads a saved field as cubic: that may move points by %.2g mm, unless its "
                "interpolation is set to linear again",
                gap[0],
            )
            break
        finer = np.array(field.grid.size)
        refined = gap[1] > 0.25 * gap[1].max()
        finer[refined] = 2 * finer[refined] - 1
        field = field.resampled(_sameCorners(field.grid, finer))
    return field


def cubicDeviation(
    field: DisplacementField, covered: Grid | None = None
) -> tuple[float, np.ndarray]:
    """How far cubic and linear interpolation can differ, in mm: in a cell, and per axis x y z.

    Half-way between b and c of neighbors a b c d the cubic kernel that VTK uses gives
    (9 (b + c) - (a + d)) / 16, the linear one (b + c) / 2: they differ by (b + c - a - d) / 16.
    covered: count only the cells that reach into this grid.
    """
    inside = _cellsReaching(field.grid, covered or field.grid)
    total, worst = torch.zeros(()), []
    for axis in range(3):
        u = field.vectors.float().movedim(3 - axis, -1)
        steps = torch.diff(u, dim=-1, prepend=u[..., :1], append=u[..., -1:])  # 0 at both ends
        gap = (steps[..., :-2] - steps[..., 2:]).norm(dim=0) / 16
        gap = _largestOfCell(gap.movedim(-1, 2 - axis), 2 - axis)[inside]
        worst.append(float(gap.max()) if gap.numel() else 0.0)
        total = total + gap if gap.numel() else total
    return float(total.max()), np.array(worst)


def _largestOfCell(values: torch.Tensor, along: int) -> torch.Tensor:
    """The largest value on the edges of each cell, of values that stand on edges along one axis."""
    for axis in (axis for axis in range(3) if axis != along and values.shape[axis] > 1):
        ends = (values.narrow(axis, k, values.shape[axis] - 1) for k in (0, 1))
        values = torch.maximum(*ends)
    return values


def _cellsReaching(grid: Grid, covered: Grid) -> tuple[slice, ...]:
    """Which cells z y x between the samples of a grid reach into another one."""
    corners = grid.indices_at(covered.corners())
    low = np.clip(np.floor(corners.min(0)), 0, None).astype(int)
    high = np.ceil(corners.max(0)).astype(int)
    return tuple(slice(first, last) for first, last in zip(low[::-1], high[::-1], strict=True))


def _sameCorners(grid, size):
    steps = np.maximum(np.array(grid.size) - 1, 1)
    spacing = np.array(grid.spacing) * steps / np.maximum(np.array(size) - 1, 1)
    return type(grid)(tuple(size.tolist()), tuple(spacing), grid.origin, grid.direction)


def requireTransformable(node) -> None:
    """Raises InvalidOption when a displacement field cannot move this node."""
    if not (node.IsA("vtkMRMLTransformableNode") and node.CanApplyNonLinearTransforms()):
        raise InvalidOption(
            "only volumes, segmentations, markups and models can be carried along",
            where=node.GetName(),
            got=node.GetClassName(),
        )


def carryAlong(node, transformNode):
    """Put a node under a transform without changing what it holds; None or a node made for it.

    A node that already observes transforms keeps them: a copy of them, placed below
    `transformNode`, comes between, because the originals may carry other nodes too.
    Raises InvalidOption when the node cannot be transformed.
    """
    requireTransformable(node)
    parent = node.GetParentTransformNode()
    if parent is None:
        node.SetAndObserveTransformNodeID(transformNode.GetID())
        return None
    toWorld = vtk.vtkGeneralTransform()
    parent.GetTransformToWorld(toWorld)
    name = f"{parent.GetName()} below {transformNode.GetName()}"
    between = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    between.SetAndObserveTransformToParent(_ownCopy(toWorld))
    between.SetAndObserveTransformNodeID(transformNode.GetID())
    node.SetAndObserveTransformNodeID(between.GetID())
    return between


def _ownCopy(transform):
    """The same transform, no longer following the nodes it was read from."""
    if slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(
        transform, linear := vtk.vtkTransform()
    ):
        return linear
    copy = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.DeepCopyTransform(copy, transform)
    return copy
