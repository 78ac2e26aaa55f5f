"""What the Train panel knows, kept in a node of the scene: saved with it and restored."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from NeuralRegistrationLib.Register.Parameters import Device
from NeuralRegistrationLib.Scene.ParameterNodes import singleNode, wrap

_TAG = "NeuralRegistrationTrain"


class Source(Enum):
    """Where the images of a training are."""

    FOLDERS = "folders"
    SCENE = "scene"

    def label(self):
        return {
            Source.FOLDERS: _("Files in folders"),
            Source.SCENE: _("Volumes of this scene"),
        }[self]


@parameterNodeWrapper
class TrainParameters:
    """One value for each control; 0 epochs and a rate of 0 leave it to the recipe.

    recipe: the name of one that comes with the extension, or the path of a file. startFrom: a
    model of the zoo, or the folder of a run; empty for a new network. validCount: how many of the
    scene's volumes are kept for validation. labels: whether label maps are used where there are
    any. dataFolder: for the scene's volumes; empty for a folder in that of the run.
    """

    source: Source = Source.FOLDERS
    trainFolder: str = ""
    validFolder: str = ""
    volumes: list[slicer.vtkMRMLNode]
    segmentations: list[slicer.vtkMRMLNode]
    validCount: Annotated[int, WithinRange(0, 1000)] = 0
    dataFolder: str = ""
    labels: bool = True
    startFrom: str = ""
    recipe: str = "voxelmorph"
    epochs: Annotated[int, WithinRange(0, 100000)] = 0
    sizeX: Annotated[int, WithinRange(1, 512)] = 96
    sizeY: Annotated[int, WithinRange(1, 512)] = 96
    sizeZ: Annotated[int, WithinRange(1, 512)] = 96
    rate: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    device: Device = Device.AUTO
    name: str = "trained"
    runFolder: str = ""


def trainParameters() -> TrainParameters:
    """Those of the scene, in a node of their own beside the module's."""
    return wrap(TrainParameters, singleNode(_TAG))
