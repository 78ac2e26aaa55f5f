"""Volume nodes as records for the core, and images of the core as volume nodes.

A record is in Slicer's world: all transforms above the node count. Where they only turn, move and
scale, the voxels stay as they are. Where they bend or shear, the transform from the world to the
voxels is sampled around them, and the core resamples once through it; farther away there are none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import slicer
import vtk
from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.worker.messages import Field, Origin, Voxels
from neuralreg.worker.serialization import Steps, slabs
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from NeuralRegistrationLib.Scene import Geometry, NodeChecks

INSTANCES = "DICOM.instanceUIDs"  # attribute of a node that came by DICOM: of its files
_MOST_BENDS = 200_000  # samples of the transform above an image
_USUAL_UNITS = ("[hnsf'U]", "1")
_LATTICE = 9  # points along each axis that tell how far a bent image reaches


@dataclass(frozen=True, eq=False)
class Content:
    """The content of a volume or of a layer of a segmentation, and its position.

    data: (z, y, x) or (z, y, x, c); a view of the node's own memory. indexToParent: homogeneous,
    RAS mm. node: the one whose parents count. labels: whether the values are labels. below: the
    transform node in whose space the content is wanted, without its own effect; None: the world.
    name, origin, units: as in `Voxels`.
    """

    data: np.ndarray
    indexToParent: np.ndarray
    node: object
    labels: bool = False
    below: object | None = None
    name: str = ""
    origin: Origin | None = None
    units: str | None = None

    def within(self, transformNode) -> Content:
        """The same in the space below a transform node; None: in the world."""
        return replace(self, below=transformNode)

    @property
    def size(self) -> tuple[int, ...]:
        return self.data.shape[2::-1]

    @cached_property
    def grid(self) -> Grid | None:
        """The voxels in that space; None if the parents bend or shear them.

        Raises InvalidImage where they make nothing of them.
        """
        above = Geometry.linearBetween(self.node.GetParentTransformNode(), self.below)
        if above is not None and not (np.isfinite(above).all() and np.linalg.det(above)):
            raise InvalidImage(
                "the transforms above a node can be inverted",
                where=self.node.GetName(),
                got="a matrix that squeezes everything flat, or holds no numbers",
                remedy="Correct it in the Transforms module, or take the node out of it.",
            )
        return None if above is None else Geometry.gridOf(self.size, above @ self.indexToParent)

    @cached_property
    def straightGrid(self) -> Grid:
        """The same, or a grid that holds the bent voxels at their finest spacing."""
        if self.grid is not None:
            return self.grid
        edges = [np.linspace(-0.5, n - 0.5, _LATTICE) for n in self.size]
        index = np.stack(np.meshgrid(*edges), -1).reshape(-1, 3)
        stored = index @ self.indexToParent[:3, :3].T + self.indexToParent[:3, 3]
        above = Geometry.between(self.node.GetParentTransformNode(), self.below)
        finest = np.linalg.norm(self.indexToParent[:3, :3], axis=0).min()
        points = Geometry.throughVtk(above, Geometry.flip(stored))
        return Geometry.gridAround(points, float(finest))

    def record(self, only: tuple[int, ...] | None = None) -> Steps:
        """The record for the core. only: in a mask, the labels that count."""
        about = {"name": self.name, "origin": self.origin, "units": self.units}
        about |= {"labels": self.labels, "only": only}
        if self.grid is not None:
            return Voxels(self.data, self.grid, **about)
        inIndices = Grid(self.size, (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
        bend = yield from self._spaceToIndex()
        return Voxels(self.data, inIndices, bend, self.straightGrid, **about)

    def _spaceToIndex(self) -> Steps:
        """From points of the space to voxel indices, as a field with a margin."""
        grid = Geometry.coarse(self.straightGrid, _MOST_BENDS).pad(2)
        toParent = Geometry.between(self.below, self.node.GetParentTransformNode())
        inParent = yield from Geometry.sample(toParent, grid)
        points = grid.points_at(np.moveaxis(np.indices(grid.shape)[::-1], 0, -1))
        toIndex = np.linalg.inv(self.indexToParent)
        stored = Geometry.flip(points + inParent.vectors)
        return Field(stored @ toIndex[:3, :3].T + toIndex[:3, 3] - points, grid)


def contentOf(volumeNode) -> Content:
    """The content of a volume node.

    Raises InvalidImage when it is empty, InvalidOption when it is of another kind, such as
    diffusion data, which would need reorientation.
    """
    if volumeNode is None:
        raise InvalidImage(
            "no volume is chosen", remedy="Load the image, or choose another volume."
        )
    NodeChecks.requireKind(volumeNode, "what is registered", NodeChecks.VOLUME)
    if volumeNode.GetImageData() is None or not volumeNode.GetImageData().GetNumberOfPoints():
        raise InvalidImage(
            "a volume has voxels",
            where=volumeNode.GetName(),
            remedy="Load the image, or choose another volume.",
        )
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    indexToParent = Geometry.matrixToArray(matrix)
    if not np.isfinite(indexToParent).all() or not np.linalg.det(indexToParent):
        raise InvalidImage(
            "the voxels of a volume have a size",
            where=volumeNode.GetName(),
            got=f"a spacing of {', '.join(f'{step:g}' for step in volumeNode.GetSpacing())} mm",
            remedy="Set its spacing in the Volumes module.",
        )
    firstIndex = np.eye(4)  # a filter that crops keeps the indices of the whole
    firstIndex[:3, 3] = volumeNode.GetImageData().GetExtent()[::2]
    indexToParent = indexToParent @ firstIndex
    voxels = slicer.util.arrayFromVolume(volumeNode)
    return Content(
        voxels,
        indexToParent,
        volumeNode,
        isLabelMap(volumeNode),
        name=volumeNode.GetName() or "",
        origin=_originOf(volumeNode, Geometry.gridOf(voxels.shape[2::-1], indexToParent)),
        units=_units(volumeNode),
    )


def fileOf(node) -> str | None:
    """The file that a node was read from and has not changed since; None if there is none."""
    storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
    name = storage.GetFullNameFromFileName() if storage is not None else ""
    return name if name and Path(name).is_file() and not node.GetModifiedSinceRead() else None


def _originOf(volumeNode, grid: Grid | None) -> Origin | None:
    """The files that a volume was loaded from; None for one that was made in the scene.

    Slicer's database knows the DICOM files of the instances that the loader has listed on the node.
    """
    edited = bool(volumeNode.GetModifiedSinceRead())
    if instances := (volumeNode.GetAttribute(INSTANCES) or "").split():
        database = getattr(slicer, "dicomDatabase", None)  # not without the DICOM module
        files = [database.fileForInstance(uid) for uid in instances] if database else []
        return Origin(tuple(files) if files and all(files) else (), grid, edited)
    storage = volumeNode.GetStorageNode()
    name = storage.GetFullNameFromFileName() if storage is not None else ""
    return Origin((name,), grid, edited) if name else None


def _units(volumeNode) -> str | None:
    """The code of the units that a loader has set, such as {SUVbw}g/ml; None where it has not.

    Hounsfield units and numbers without a unit are what every image has: "", as in files.
    """
    isScalar = volumeNode.IsA("vtkMRMLScalarVolumeNode")
    entry = volumeNode.GetVoxelValueUnits() if isScalar else None
    code = entry.GetCodeValue() if entry is not None else None
    return "" if code in _USUAL_UNITS else code


def isLabelMap(volumeNode) -> bool:
    """Whether the values are labels."""
    return bool(volumeNode.IsA("vtkMRMLLabelMapVolumeNode"))


def imageData(array: np.ndarray) -> Steps:
    """Voxels (z, y, x[, c]) as VTK's image, copied slab by slab."""
    channels = 1 if array.ndim == 3 else array.shape[3]
    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[2::-1])
    image.AllocateScalars(get_vtk_array_type(array.dtype), channels)
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(array.shape)
    for part in slabs(array):
        voxels[part] = array[part]
        yield
    return image


def fill(node, image, grid: Grid, like=None) -> None:
    """Let a volume node hold an image in the world.

    like: a volume node whose display settings and measured quantity it takes.
    """
    node.SetAndObserveTransformNodeID(None)
    node.SetIJKToRASMatrix(Geometry.indexToRas(grid))
    if like is not None:
        _lookAlike(node, like)
    node.SetAndObserveImageData(image)
    node.CreateDefaultDisplayNodes()


def _lookAlike(node, like) -> None:
    """Take over how a volume is shown, before there are voxels."""
    original = like.GetDisplayNode()
    if original:
        node.CreateDefaultDisplayNodes()
        hasWindow = original.IsA("vtkMRMLScalarVolumeDisplayNode")
        if hasWindow and original.GetAutoWindowLevel():
            _keepWindow(node.GetDisplayNode(), original)
        else:
            node.GetDisplayNode().CopyContent(original)
    if like.IsA("vtkMRMLScalarVolumeNode") and like.GetVoxelValueQuantity():
        node.SetVoxelValueQuantity(like.GetVoxelValueQuantity())
        node.SetVoxelValueUnits(like.GetVoxelValueUnits())


def _keepWindow(display, original) -> None:
    """The look of a volume whose window Slicer chose, with that same window.

    Both are to be compared; and choosing it anew from the voxels, as copying everything would,
    blocks Slicer for a tenth of a second.
    """
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(original.GetWindow(), original.GetLevel())
    if original.GetColorNodeID():  # colors have no table
        display.SetAndObserveColorNodeID(original.GetColorNodeID())
    display.SetInterpolate(original.GetInterpolate())
    display.SetInvertDisplayScalarRange(original.GetInvertDisplayScalarRange())
    display.SetAutoThreshold(original.GetAutoThreshold())
    display.SetThreshold(original.GetLowerThreshold(), original.GetUpperThreshold())
    display.SetApplyThreshold(original.GetApplyThreshold())
