"""What the Register panel knows, kept in a node of the scene: saved with it and restored.

The choices mirror the options of `neuralreg.register` without importing it; a test compares them.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Decimals, SingleStep, WithinRange, parameterNodeWrapper


class Preset(Enum):
    """Parts of the body that have settings of their own."""

    GENERIC = "generic"
    BRAIN = "brain MR"
    ABDOMEN = "abdomen CT"
    LUNG = "lung CT"
    CARDIAC = "cardiac"
    PROSTATE = "prostate multimodal"

    def label(self):
        return {
            Preset.GENERIC: _("Anything"),
            Preset.BRAIN: _("Brain (MR)"),
            Preset.ABDOMEN: _("Abdomen (CT)"),
            Preset.LUNG: _("Lung (CT)"),
            Preset.CARDIAC: _("Heart"),
            Preset.PROSTATE: _("Prostate (several kinds of images)"),
        }[self]


class Prealign(Enum):
    """How far the images may be moved before they are bent."""

    AUTO = "auto"
    NONE = "none"
    CENTER = "center"
    RIGID = "rigid"
    AFFINE = "affine"

    def label(self):
        return {
            Prealign.AUTO: _("Automatic"),
            Prealign.NONE: _("None: they lie right already"),
            Prealign.CENTER: _("Centers onto each other"),
            Prealign.RIGID: _("Move and turn"),
            Prealign.AFFINE: _("Move, turn, scale and shear"),
        }[self]


class Similarity(Enum):
    """What makes two places look alike."""

    AUTO = "auto"
    MIND = "mind"
    LNCC = "lncc"

    def label(self):
        return {
            Similarity.AUTO: _("Automatic"),
            Similarity.MIND: _("Structure (MIND), any kinds of images"),
            Similarity.LNCC: _("Local correlation, one kind of image"),
        }[self]


class Device(Enum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    def label(self):
        return {
            Device.AUTO: _("Automatic"),
            Device.CPU: _("Processor"),
            Device.CUDA: _("NVIDIA GPU"),
            Device.MPS: _("Apple GPU"),
        }[self]


class Precision(Enum):
    """How many bits a network computes with."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    def label(self):
        return {
            Precision.FLOAT32: _("Single (32 bits)"),
            Precision.BFLOAT16: _("Half, wide range (bfloat16)"),
            Precision.FLOAT16: _("Half (float16)"),
        }[self]


# Similarity and regularity that suit an anatomy, as in neuralreg.registration.presets.
SUITABLE = {
    Preset.GENERIC: (Similarity.AUTO, 1.0),
    Preset.BRAIN: (Similarity.AUTO, 0.7),
    Preset.ABDOMEN: (Similarity.LNCC, 1.3),
    Preset.LUNG: (Similarity.LNCC, 1.3),
    Preset.CARDIAC: (Similarity.LNCC, 1.0),
    Preset.PROSTATE: (Similarity.MIND, 2.0),
}
USUAL_STEPS = 32


@parameterNodeWrapper
class RegisterParameters:
    """One value for each control.

    modelOptions: the numbers that the model's card offers, as JSON. ownRefinement: whether
    similarity, steps and regularity count; fitWeights: whether a network's weights are fitted to
    the pair, instead of bending the field further. bringAlong: nodes of the moving side.
    fixedMaskSegment, movingMaskSegment: id of a segment, empty for all of them.
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
    ownRefinement: bool = False
    similarity: Similarity = Similarity.AUTO
    steps: Annotated[int, WithinRange(0, 200)] = USUAL_STEPS
    regularity: Annotated[float, WithinRange(0.1, 10.0), Decimals(1), SingleStep(0.1)] = 1.0
    fitWeights: bool = False
    device: Device = Device.AUTO
    precision: Precision = Precision.FLOAT32
    fullResolution: bool = False


ADVANCED = (
    "initialTransform",
    "prealign",
    "fixedMask",
    "fixedMaskSegment",
    "movingMask",
    "movingMaskSegment",
    "modelOptions",
    "ownRefinement",
    "steps",
    "fitWeights",
    "device",
    "precision",
    "fullResolution",
)


def suit(parameters) -> None:
    """Fill in the refinement that suits the chosen anatomy."""
    parameters.similarity, parameters.regularity = SUITABLE[parameters.preset]


def restoreDefaults(parameters) -> None:
    """Bring everything under Advanced back to what suits the anatomy."""
    for name in ADVANCED:
        setattr(parameters, name, parameters.default(name).value)
    suit(parameters)


def settingsOf(parameters) -> dict:
    """The keyword arguments of the logic's `register` that these parameters stand for."""
    excluded = [parameters.fixedVolume, parameters.movingVolume]
    excluded += [parameters.outputTransform, parameters.outputVolume]
    brought = [n for n in parameters.bringAlong if _isThere(n) and n not in excluded]
    segmentations = [n for n in brought if n.IsA("vtkMRMLSegmentationNode")]
    volumes = [n for n in brought if n.IsA("vtkMRMLVolumeNode")]
    options = json.loads(parameters.modelOptions)
    return {
        "model": parameters.model,
        **({"options": options} if options else {}),
        "preset": parameters.preset.value,
        "prealign": parameters.prealign.value,
        "initialTransform": parameters.initialTransform,
        "fixedMask": parameters.fixedMask,
        "fixedMaskSegments": _segments(parameters.fixedMask, parameters.fixedMaskSegment),
        "movingMask": parameters.movingMask,
        "movingMaskSegments": _segments(parameters.movingMask, parameters.movingMaskSegment),
        "refinement": _refinement(parameters) if parameters.ownRefinement else None,
        "device": parameters.device.value,
        "precision": parameters.precision.value,
        "full_resolution": parameters.fullResolution,
        "inverse": parameters.inverse,
        "outputTransform": parameters.outputTransform,
        "outputVolume": parameters.outputVolume,
        "segmentations": segmentations,
        "volumes": volumes,
        "carried": [n for n in brought if n not in segmentations and n not in volumes],
    }


def _refinement(parameters) -> dict:
    return {
        "similarity": parameters.similarity.value,
        "steps": parameters.steps,
        "regularity": parameters.regularity,
        "of": "weights" if parameters.fitWeights else "field",
    }


def _isThere(node) -> bool:
    return node is not None and node.GetScene() is not None


def _segments(mask, segment: str) -> list[str] | None:
    """The segments of a mask to take; None for all, and for a label map."""
    if mask is None or not segment or not mask.IsA("vtkMRMLSegmentationNode"):
        return None
    return [segment]
