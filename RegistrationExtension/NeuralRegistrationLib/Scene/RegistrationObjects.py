"""DICOM's registration objects as transform nodes, and back; what the DICOM module asks for.

An object is between two series as they were acquired: between the coordinates of volumes that no
transform has moved.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import vtk
from neuralreg.errors import InvalidTransform, RegistrationError
from neuralreg.worker.messages import Field
from neuralreg.worker.serialization import at_once

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Scene import Geometry, TransformRecords, Transforms

INSTANCES = "DICOM.instanceUIDs"  # attribute of a node that came by DICOM: of its files
_SERIES = "0020,000E"


def isRefusal(error: Exception) -> bool:
    """Whether an error says in its own words what is wrong."""
    return isinstance(error, RegistrationError)


def load(path: str, name: str) -> tuple:
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
        volume is not None and volume.GetAttribute(INSTANCES) for volume in Transforms.pairOf(node)
    )


def write(node, path: str, *, description: str = "", number: str = "") -> list[str]:
    """Write a transform node as an object that refers to the series of its volumes.

    description, number: of the new series. Returns remarks in words. Raises InvalidTransform where
    a volume is moved by another transform, or its series is not in the DICOM database.
    """
    _requirePackages()
    from neuralreg.io.exchange.matrices import to_affine
    from neuralreg.io.exchange.sides import Sides
    from neuralreg.io.formats import dicom_registration
    from neuralreg.io.transform_chains import write_content
    from neuralreg.io.volume import to_image

    fixed, moving = Transforms.pairOf(node)
    for volume in (fixed, moving):
        _requireUnmoved(volume, node)
    record = at_once(TransformRecords.recordOf(node, fixed))
    if isinstance(record, Field):
        content = to_image(np.asarray(record.vectors, np.float32), record.grid)
    else:
        content = to_affine(np.array(record))
    notes: list[str] = []
    sides = Sides(_seriesOf(fixed), _seriesOf(moving))
    write_content(content, Path(path), "dicom", sides, notes)
    dicom_registration.rename_series(Path(path), description, number)
    return notes


def _requirePackages() -> None:
    if missing := Dependencies.missingPackages():
        raise InvalidTransform(
            Dependencies.describe(missing), remedy="Open the module Neural Registration."
        )


def _requireUnmoved(volume, node) -> None:
    above = volume.GetParentTransformNode()
    if above is None or (above is node and Transforms.pairOf(node)[1] is volume):
        return
    raise InvalidTransform(
        "a registration object is between images as they were acquired",
        where=volume.GetName(),
        got=f"a volume under the transform {above.GetName()}",
        remedy="Take the volume out of that transform, and register again.",
    )


def _volumeOf(instances: set[str]):
    """The volume of the scene that came from some of these files; None if there is none."""
    for volume in slicer.util.getNodesByClass("vtkMRMLVolumeNode"):
        if instances & set((volume.GetAttribute(INSTANCES) or "").split()):
            return volume
    return None


def _seriesOf(volume) -> Path:
    """Where the files of a volume's series lie: `FOLDER::SERIES`."""
    database = slicer.dicomDatabase
    file = database.fileForInstance(volume.GetAttribute(INSTANCES).split()[0])
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
