"""Volume nodes as the core's images, and back.

An image made here lies in Slicer's world: all transforms above the node count. Where they only
turn, move and scale, the voxels stay as they are. Where they bend or shear, the image for the
search is resampled once onto a straight grid, and a warped volume is still made from the node's
own voxels in one resampling.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import slicer
import torch
import vtk
from neuralreg.errors import InvalidImage
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.sampling import index_grid
from neuralreg.geometry.warp import warp

from . import Geometry

_log = logging.getLogger(__name__)
_WIDENED = {np.uint16: np.int32, np.uint32: np.int64, np.uint64: np.int64}  # torch hardly has them
_KINDS = ("vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode")


@dataclass(frozen=True, eq=False)
class Voxels:
    """What a volume or a layer of a segmentation holds, and where that lies.

    data: (c, z, y, x). indexToParent: homogeneous, RAS mm. node: the one whose parents count.
    """

    data: torch.Tensor
    indexToParent: np.ndarray
    node: object

    @cached_property
    def grid(self) -> Grid | None:
        """The voxels in the world; None if the parents bend or shear them."""
        above = Geometry.parentToWorld(self.node)
        size = self.data.shape[:0:-1]
        return None if above is None else Geometry.gridOf(size, above @ self.indexToParent)

    @cached_property
    def straightGrid(self) -> Grid:
        """The same, or a grid that holds the bent voxels at their finest spacing."""
        if self.grid is not None:
            return self.grid
        bounds = np.zeros(6)
        self.node.GetRASBounds(bounds)
        finest = np.linalg.norm(self.indexToParent[:3, :3], axis=0).min()
        return Geometry.boundsGrid(bounds, float(finest))

    def warped(self, field: DisplacementField, grid: Grid, *, labels: bool = False) -> Image:
        """What stands where `field` leads to, on `grid`; resampled once from the voxels.

        labels: take the nearest value instead of interpolating. Outside of the voxels stands 0 for
        labels and else the lowest value that there is, which is dark in every window.
        """
        if self.grid is not None:
            image = Image(self.data, self.grid)
        else:
            size = tuple(self.data.shape[:0:-1])
            inIndices = Grid(size, (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
            image, field = Image(self.data, inIndices), self._toIndices(field)
        interpolation = "nearest" if labels else "linear"
        outside = 0.0 if labels else float(self.data.min())
        return warp(image, field, grid, interpolation=interpolation, outside=outside)

    def _toIndices(self, field: DisplacementField) -> DisplacementField:
        """The field that leads on from the world to the indices of the voxels."""
        index = index_grid(field.grid.shape, like=torch.zeros((), dtype=torch.float64))
        start = field.grid.points_at(index.reshape(-1, 3).numpy())
        vectors = field.vectors.detach().cpu().double().movedim(0, -1).reshape(-1, 3).numpy()
        stored = Geometry.throughVtk(Geometry.worldToParent(self.node), start + vectors)
        toIndex = np.linalg.inv(self.indexToParent)
        indices = Geometry.flipped(stored) @ toIndex[:3, :3].T + toIndex[:3, 3]
        shaped = torch.from_numpy(indices - start).reshape(*field.grid.shape, 3)
        return DisplacementField(shaped.movedim(-1, 0).contiguous(), field.grid)


def voxelsOf(volumeNode) -> Voxels:
    """A copy of what a volume node holds.

    Raises InvalidImage when it holds nothing, or diffusion data, which would need reorientation.
    """
    if volumeNode is None or volumeNode.GetImageData() is None:
        raise InvalidImage(
            "a volume has voxels",
            where=volumeNode.GetName() if volumeNode else "no volume is chosen",
            remedy="Load the image, or choose another volume.",
        )
    if volumeNode.GetClassName() not in _KINDS:
        raise InvalidImage(
            "only scalar, color and label volumes can be registered",
            where=volumeNode.GetName(),
            got=volumeNode.GetClassName(),
            remedy="Take a scalar volume made from it, such as a baseline image.",
        )
    array = slicer.util.arrayFromVolume(volumeNode)
    values = torch.from_numpy(array.astype(_WIDENED.get(array.dtype.type, array.dtype)))
    data = values.movedim(-1, 0).contiguous() if values.dim() == 4 else values[None]
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return Voxels(data, Geometry.matrixToArray(matrix), volumeNode)


def isBent(volumeNode) -> bool:
    """Whether the transforms above a volume leave its voxels at other than right angles."""
    return voxelsOf(volumeNode).grid is None


def isLabelMap(volumeNode) -> bool:
    """Whether the values are labels."""
    return bool(volumeNode.IsA("vtkMRMLLabelMapVolumeNode"))


def imageFromVolumeNode(volumeNode) -> Image:
    """The volume in the world.

    Under transforms that bend or shear it is resampled onto a straight grid, and a warning logged.
    Raises InvalidImage as `voxelsOf` does.
    """
    voxels = voxelsOf(volumeNode)
    if voxels.grid is not None:
        return Image(voxels.data, voxels.grid)
    _log.warning(
        "%s lies under a transform that bends or shears it; it is registered as a resampled copy",
        volumeNode.GetName(),
    )
    grid = voxels.straightGrid
    return voxels.warped(DisplacementField.identity(grid), grid, labels=isLabelMap(volumeNode))


def warpedVolume(movingNode, field: DisplacementField, grid: Grid, name: str):
    """A new volume node: the moving volume on `grid`, in its own type, looking as it does.

    field: from the world at `grid` to the world in which the moving volume lies.
    """
    image = voxelsOf(movingNode).warped(field, grid, labels=isLabelMap(movingNode))
    kept = slicer.util.arrayFromVolume(movingNode).dtype
    return volumeNodeFromImage(image, name, like=movingNode, dtype=kept)


def volumeNodeFromImage(image: Image, name: str, *, like=None, dtype=None):
    """A new volume node in the world.

    like: a volume node whose class, display settings and measured quantity it takes.
    dtype: numpy's type of the voxels, if not the image's.
    """
    values = image.data.detach().cpu()
    array = (values.movedim(0, -1) if image.channels > 1 else values[0]).contiguous().numpy()
    array = array if dtype is None else array.astype(dtype)
    kind = like.GetClassName() if like else _KINDS[2 * (image.channels > 1)]
    node = slicer.util.addVolumeFromArray(array, Geometry.indexToRas(image.grid), name, kind)
    if like is not None:
        _lookAlike(node, like)
    return node


def _lookAlike(node, like) -> None:
    if like.GetDisplayNode():
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().CopyContent(like.GetDisplayNode())
    if hasattr(like, "GetVoxelValueQuantity") and like.GetVoxelValueQuantity():
        node.SetVoxelValueQuantity(like.GetVoxelValueQuantity())
        node.SetVoxelValueUnits(like.GetVoxelValueUnits())
