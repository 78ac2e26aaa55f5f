"""What the Register panel knows, kept in a node of the scene: saved with it and restored.

The choices and defaults are those of `neuralreg.registration.options`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from typing import Annotated, get_args

import slicer
from neuralreg.registration import options
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.options import (
    PRESETS,
    FieldRefinement,
    LinearAlignment,
    RegistrationOptions,
    WeightRefinement,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from NeuralRegistrationLib.Register.Guides import GuideSettings

_MILLION = 1_000_000


class _Choice(Enum):
    """A value of an option, and how the panel names it."""

    def label(self) -> str:
        return _labels()[type(self).__name__][self.value]


def _choices(name: str, values: Iterable[str]) -> type[_Choice]:
    """An enumeration of an option's values; scenes keep a member's name, as LUNG for "lung CT"."""
    members = {value.split()[0].upper(): str(value) for value in values}
    return _Choice(name, members, module=__name__)


Preset = _choices("Preset", PRESETS)
Prealign = _choices("Prealign", LinearAlignment)
Similarity = _choices("Similarity", get_args(options.Similarity))
Device = _choices("Device", ("auto", "cpu", "cuda"))
Precision = _choices("Precision", get_args(options.Precision))
BrainModel = _choices("BrainModel", options.BRAIN_MODELS)
LabeledVolumes = _choices("LabeledVolumes", ("fixed", "both"))


def _labels() -> dict[str, dict[str, str]]:
    """The words for all choices, in the language of the application."""
    return {
        "Preset": {
            "generic": _("Anything"),
            "brain MR": _("Brain (MR)"),
            "abdomen CT": _("Abdomen (CT)"),
            "lung CT": _("Lung (CT)"),
            "cardiac": _("Heart"),
            "prostate multimodal": _("Prostate (several kinds of images)"),
        },
        "Prealign": {
            "auto": _("Automatic"),
            "none": _("None: they are aligned already"),
            "center": _("Centers onto each other"),
            "rigid": _("Move and turn"),
            "affine": _("Move, turn, scale and shear"),
        },
        "Similarity": {
            "auto": _("Automatic"),
            "mind": _("Structure (MIND), any kinds of images"),
            "lncc": _("Local correlation, one kind of image"),
        },
        "Device": {
            "auto": _("Automatic"),
            "cpu": _("Processor"),
            "cuda": _("NVIDIA GPU"),
        },
        "Precision": {
            "float32": _("Single (32 bits)"),
            "bfloat16": _("Half, wide range (bfloat16)"),
            "float16": _("Half (float16)"),
        },
        "BrainModel": {
            "auto": _("Automatic"),
            "mindgrab": _("Network (mindgrab)"),
            "template": _("Template"),
        },
        "LabeledVolumes": {
            "fixed": _("Fixed volume"),
            "both": _("Both volumes"),
        },
    }


@parameterNodeWrapper
class RegisterParameters:
    """One value for each control.

    modelOptions: the numbers that the model's card offers, as JSON. ownRefinement: whether
    similarity, steps and regularity count; fitWeights: whether a network's weights are fitted to
    the pair, instead of bending the field further. bringAlong: nodes of the moving side.
    fixedMaskSegment, movingMaskSegment: id of a segment, empty for all of them. brainModel: that
    finds brains. labeledVolumes: those whose structures are labeled. mostSamples: of each volume,
    in millions; 0 for all. networkLabels: whether a network makes the labels that drive.
    fixedChannels and the other lists: one value for each row of channels, or of surfaces; a side
    that is not chosen yet is None.
    """

    fixedVolume: slicer.vtkMRMLScalarVolumeNode
    movingVolume: slicer.vtkMRMLScalarVolumeNode
    model: str = "auto"
    modelOptions: str = "{}"
    preset: Preset = Preset.GENERIC
    outputTransform: slicer.vtkMRMLTransformNode
    outputVolume: slicer.vtkMRMLScalarVolumeNode
    bringAlong: list[slicer.vtkMRMLNode]
    inverse: bool = False
    initialTransform: slicer.vtkMRMLTransformNode
    prealign: Prealign = Prealign.AUTO
    fixedMask: slicer.vtkMRMLNode
    fixedMaskSegment: str = ""
    movingMask: slicer.vtkMRMLNode
    movingMaskSegment: str = ""
    fixedLandmarks: slicer.vtkMRMLMarkupsFiducialNode
    movingLandmarks: slicer.vtkMRMLMarkupsFiducialNode
    landmarkWeight: Annotated[float, WithinRange(0.0, 10.0)] = LandmarkGuide.weight
    landmarkToleranceMm: Annotated[float, WithinRange(0.1, 20.0)] = LandmarkGuide.tolerance_mm
    fixedLabels: slicer.vtkMRMLNode
    movingLabels: slicer.vtkMRMLNode
    networkLabels: bool = False
    labelWeight: Annotated[float, WithinRange(0.1, 10.0)] = 1.0
    rigidParts: slicer.vtkMRMLNode
    rigidPartsSegment: str = ""
    fixedChannels: list[slicer.vtkMRMLNode]
    movingChannels: list[slicer.vtkMRMLNode]
    channelWeights: list[float]
    fixedSurfaces: list[slicer.vtkMRMLNode]
    movingSurfaces: list[slicer.vtkMRMLNode]
    fixedSurfaceSegments: list[str]
    movingSurfaceSegments: list[str]
    surfaceWeight: Annotated[float, WithinRange(0.1, 10.0)] = 1.0
    slidingMask: slicer.vtkMRMLNode
    slidingMaskSegment: str = ""
    brainModel: BrainModel = BrainModel.AUTO
    labeledVolumes: LabeledVolumes = LabeledVolumes.FIXED
    ownRefinement: bool = False
    similarity: Similarity = Similarity.AUTO
    steps: Annotated[int, WithinRange(0, 200)] = FieldRefinement.steps
    regularity: Annotated[float, WithinRange(0.1, 10.0)] = 1.0
    fitWeights: bool = False
    device: Device = Device.AUTO
    precision: Precision = Precision.FLOAT32
    fullResolution: bool = False
    mostSamples: Annotated[float, WithinRange(0.0, 2000.0)] = 0.0


ADVANCED = (
    "initialTransform",
    "prealign",
    "fixedMask",
    "fixedMaskSegment",
    "movingMask",
    "movingMaskSegment",
    "brainModel",
    "labeledVolumes",
    "modelOptions",
    "ownRefinement",
    "steps",
    "fitWeights",
    "device",
    "precision",
    "fullResolution",
    "mostSamples",
)


def suit(parameters) -> None:
    """Fill in the refinement that suits the chosen anatomy."""
    refinement = PRESETS[parameters.preset.value].refinement
    parameters.similarity = Similarity(refinement.similarity)
    parameters.regularity = refinement.regularity


def restoreDefaults(parameters) -> None:
    """Bring everything under Advanced back to what suits the anatomy."""
    _restore(parameters, ADVANCED)
    suit(parameters)


def exchangeSides(parameters) -> dict:
    """The values of all parameters that belong to one side, for the other one."""
    return {
        name: getattr(parameters, name.replace("fixed", "moving", 1))
        if name.startswith("fixed")
        else getattr(parameters, name.replace("moving", "fixed", 1))
        for name in parameters.allParameters
        if name.startswith(("fixed", "moving"))
    }


def clearGuides(parameters) -> None:
    """Take all guides out."""
    _restore(parameters, GuideSettings.NAMES)


def _restore(parameters, names: Iterable[str]) -> None:
    for name in names:
        setattr(parameters, name, parameters.default(name).value)


def optionsOf(parameters) -> RegistrationOptions:
    """The options of the registration that these parameters stand for."""
    return RegistrationOptions(
        model=parameters.model,
        model_options=json.loads(parameters.modelOptions),
        linear=LinearAlignment(parameters.prealign.value),
        preset=parameters.preset.value,
        refinement=_refinement(parameters) if parameters.ownRefinement else None,
        device=parameters.device.value,
        precision=parameters.precision.value,
        full_resolution=parameters.fullResolution,
        most_samples=round(parameters.mostSamples * _MILLION),
        **GuideSettings.optionsOf(parameters),
    )


def settingsOf(parameters) -> dict:
    """The keyword arguments of the logic's `register` that these parameters stand for."""
    excluded = [parameters.fixedVolume, parameters.movingVolume]
    excluded += [parameters.outputTransform, parameters.outputVolume]
    nodes = [n for n in parameters.bringAlong if _isInScene(n) and n not in excluded]
    segmentations = [n for n in nodes if n.IsA("vtkMRMLSegmentationNode")]
    volumes = [n for n in nodes if n.IsA("vtkMRMLVolumeNode")]
    return {
        "options": optionsOf(parameters),
        "initialTransform": parameters.initialTransform,
        "fixedMask": parameters.fixedMask,
        "fixedMaskSegments": _segments(parameters.fixedMask, parameters.fixedMaskSegment),
        "movingMask": parameters.movingMask,
        "movingMaskSegments": _segments(parameters.movingMask, parameters.movingMaskSegment),
        "inverse": parameters.inverse,
        "outputTransform": parameters.outputTransform,
        "outputVolume": parameters.outputVolume,
        "segmentations": segmentations,
        "volumes": volumes,
        "carried": [n for n in nodes if n not in segmentations and n not in volumes],
        **GuideSettings.settingsOf(parameters),
    }


def _refinement(parameters) -> options.Refinement:
    kind = WeightRefinement if parameters.fitWeights else FieldRefinement
    return kind(
        similarity=parameters.similarity.value,
        steps=parameters.steps,
        regularity=parameters.regularity,
    )


def _isInScene(node) -> bool:
    return node is not None and node.GetScene() is not None


def _segments(mask, segment: str) -> list[str] | None:
    """The segments of a mask to take; None for all, and for a label map."""
    if mask is None or not segment or not mask.IsA("vtkMRMLSegmentationNode"):
        return None
    return [segment]
