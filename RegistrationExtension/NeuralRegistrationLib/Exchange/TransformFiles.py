"""Transform nodes as files of other programs, and DICOM's registration objects as nodes.

Many formats are between two images as they were acquired: between the coordinates of volumes that
no transform has moved.
"""

from __future__ import annotations

from pathlib import Path

import slicer
import vtk
from neuralreg.errors import InvalidTransform, RegistrationError
from neuralreg.progress import silent
from neuralreg.worker.messages import Field
from neuralreg.worker.serialization import Steps, at_once

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Scene import Geometry, TransformRecords, Transforms, Volumes

KIND = "transform_file"  # of the job that writes one
BETWEEN_WORLDS = ("itk", "elastix", "mrtrix", "minc", "x5")  # programs that need no image
_SERIES = "0020,000E"


def isRefusal(error: Exception) -> bool:
    """Whether an error says in its own words what is wrong."""
    return isinstance(error, RegistrationError)


def loadObject(path: str, name: str) -> tuple:
    """A new transform node of an object, and remarks in words.

    It refers to the volumes of the scene whose files the object names. Raises UnreadableFile or
    InvalidTransform where the object cannot be used.
    """
    _requirePackages()
    import SimpleITK as sitk
    from neuralreg.geometry.grid import Grid
    from neuralreg.io.exchange.matrices import from_affine
    from neuralreg.io.formats import dicom_registration

    notes: list[str] = []
    content = dicom_registration.read_registration(Path(path), notes)
    if isinstance(content, sitk.Image):
        field = Field(sitk.GetArrayFromImage(content), Grid.of(content))
        transform = at_once(Geometry.gridTransformInSteps(field))
    else:
        matrix = Geometry.flipMatrix(from_affine(content))
        transform = vtk.vtkTransform()
        transform.SetMatrix(slicer.util.vtkMatrixFromArray(matrix))
    fixed, moving = map(_volumeOf, dicom_registration.read_references(Path(path)))
    node = slicer.mrmlScene.AddNewNodeByClass(
        "vtkMRMLTransformNode", slicer.mrmlScene.GenerateUniqueName(name)
    )
    Transforms.fill(node, transform, fixed=fixed, moving=moving)
    return node, notes


def isBetweenSeries(node) -> bool:
    """Whether a node is a transform between two volumes that came by DICOM."""
    if not node.IsA("vtkMRMLTransformNode"):
        return False
    return all(
        volume is not None and volume.GetAttribute(Volumes.INSTANCES)
        for volume in Transforms.pairOf(node)
    )


def writeObject(node, path: str, *, description: str = "", number: str = "") -> list[str]:
    """Write a transform node as an object that refers to the series of its volumes.

    description, number: of the new series. Returns remarks in words. Raises InvalidTransform where
    a volume is moved by another transform, or its series is not in the DICOM database.
    """
    from neuralreg.worker.jobs import function_of

    _requirePackages()
    arguments = at_once(argumentsOf(node, path, "dicom"))
    words = {"description": description, "number": number}
    return function_of(KIND)({**arguments, **words}, silent)["notes"]


def argumentsOf(node, path: str, program: str) -> Steps:
    """What the job of kind `KIND` takes to write a node for a program, in short steps.

    program: as `neuralreg convert --to` calls it. Raises InvalidTransform as `writeObject`, and
    where a program counts in the voxels of an image that has no file.
    """
    volumes = Transforms.pairOf(node)
    if program == "dicom":
        files = [_requireVolume(volume, node) and str(_seriesOf(volume)) for volume in volumes]
    elif program in BETWEEN_WORLDS:
        files = [None if volume is None else Volumes.fileOf(volume) for volume in volumes]
    else:
        files = [_requireVolume(volume, node) and _requireFile(volume) for volume in volumes]
    return {
        "transform": (yield from TransformRecords.recordOf(node, volumes[0])),
        "path": path,
        "program": program,
        "fixed": files[0],
        "moving": files[1],
    }


def _requirePackages() -> None:
    if missing := Dependencies.missingPackages():
        raise InvalidTransform(
            Dependencies.describe(missing), remedy="Open the module Neural Registration."
        )


def _requireVolume(volume, node) -> bool:
    """Raises InvalidTransform where there is none, or a transform has moved it."""
    if volume is None:
        raise InvalidTransform(
            "this format is between two images",
            where=node.GetName(),
            got="a transform that does not refer to its volumes",
            remedy="Register again, or take a format of ITK.",
        )
    above = volume.GetParentTransformNode()
    if above is None or (above is node and Transforms.pairOf(node)[1] is volume):
        return True
    raise InvalidTransform(
        "this format is between images as they were acquired",
        where=volume.GetName(),
        got=f"a volume under the transform {above.GetName()}",
        remedy="Take the volume out of that transform, and register again.",
    )


def _requireFile(volume) -> str:
    name = Volumes.fileOf(volume)
    if name is None:
        raise InvalidTransform(
            "this format counts in the voxels of the file of an image",
            where=volume.GetName(),
            got="a volume that has no file, or has changed since",
            remedy="Save it as NIfTI first.",
        )
    return name


def _volumeOf(instances: set[str]):
    """The volume of the scene that came from some of these files; None if there is none."""
    for volume in slicer.util.getNodesByClass("vtkMRMLVolumeNode"):
        if instances & set((volume.GetAttribute(Volumes.INSTANCES) or "").split()):
            return volume
    return None


def _seriesOf(volume) -> Path:
    """Where the files of a volume's series lie: `FOLDER::SERIES`."""
    database = slicer.dicomDatabase
    file = database.fileForInstance(volume.GetAttribute(Volumes.INSTANCES).split()[0])
    series = database.fileValue(file, _SERIES) if file else ""
    folders = {Path(each).parent for each in database.filesForSeries(series)} if series else set()
    if len(folders) != 1:
        raise InvalidTransform(
            "the series of a volume is looked up in the DICOM database",
            where=volume.GetName(),
            got=f"files in {len(folders)} folders" if folders else "no such series",
            remedy="Import its files into the DICOM database (as copies).",
        )
    return Path(f"{folders.pop()}::{series}")
