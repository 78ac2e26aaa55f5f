"""Neural Registration: deformable registration of medical images, without any host application.

    import neuralreg

    result = neuralreg.register("fixed.nii.gz", "moving.nii.gz")
    neuralreg.write_transform(result.field, "fixed_to_moving.nii.gz")

`register` registers images; `register_model` and `register_architecture` put something of your own
into a registry, as `neuralreg.training.register_loss` and its like do. The names below are loaded
when they are first used, so that importing the package stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:  # the same names for type checkers and editors; a test compares both lists
    from neuralreg import errors as errors
    from neuralreg.composition import models as models
    from neuralreg.composition import transforms as transforms
    from neuralreg.geometry.field import DisplacementField as DisplacementField
    from neuralreg.geometry.field import compose as compose
    from neuralreg.geometry.grid import Grid as Grid
    from neuralreg.geometry.image import Image as Image
    from neuralreg.geometry.inverse import invert as invert
    from neuralreg.geometry.linear import LinearTransform as LinearTransform
    from neuralreg.geometry.remarks import Remark as Remark
    from neuralreg.geometry.remarks import RemarkKind as RemarkKind
    from neuralreg.geometry.velocity import exponentiate as exponentiate
    from neuralreg.geometry.warp import warp_points as warp_points
    from neuralreg.io.image_files import read_image as read_image
    from neuralreg.io.image_files import write_image as write_image
    from neuralreg.io.itk import from_itk as from_itk
    from neuralreg.io.itk import to_itk as to_itk
    from neuralreg.io.resample import warp as warp
    from neuralreg.io.resample import warp_labels as warp_labels
    from neuralreg.io.transform_files import read_transform as read_transform
    from neuralreg.io.transform_files import write_transform as write_transform
    from neuralreg.registration.brain.brain_mask import brain_mask as brain_mask
    from neuralreg.registration.brain.structures import label_brain as label_brain
    from neuralreg.registration.corrections.local_repair import repair as repair
    from neuralreg.registration.engine import refine as refine
    from neuralreg.registration.engine import register as register
    from neuralreg.registration.guides.landmark_guide import LandmarkGuide as LandmarkGuide
    from neuralreg.registration.options import FieldRefinement as FieldRefinement
    from neuralreg.registration.options import LinearAlignment as LinearAlignment
    from neuralreg.registration.options import RegistrationOptions as RegistrationOptions
    from neuralreg.registration.options import WeightRefinement as WeightRefinement
    from neuralreg.registration.result import RegistrationResult as RegistrationResult
    from neuralreg.review.assess import assess as assess
    from neuralreg.zoo.card import ModelCard as ModelCard
    from neuralreg.zoo.registry import list_models as list_models
    from neuralreg.zoo.registry import load_model as load_model
    from neuralreg.zoo.registry import register_architecture as register_architecture
    from neuralreg.zoo.registry import register_model as register_model

_HOMES = {
    "Grid": "geometry.grid",
    "Image": "geometry.image",
    "DisplacementField": "geometry.field",
    "LinearTransform": "geometry.linear",
    "compose": "geometry.field",
    "invert": "geometry.inverse",
    "exponentiate": "geometry.velocity",
    "warp": "io.resample",
    "warp_labels": "io.resample",
    "warp_points": "geometry.warp",
    "to_itk": "io.itk",
    "from_itk": "io.itk",
    "read_image": "io.image_files",
    "write_image": "io.image_files",
    "read_transform": "io.transform_files",
    "write_transform": "io.transform_files",
    "register": "registration.engine",
    "repair": "registration.corrections.local_repair",
    "refine": "registration.engine",
    "assess": "review.assess",
    "Remark": "geometry.remarks",
    "RemarkKind": "geometry.remarks",
    "brain_mask": "registration.brain.brain_mask",
    "LandmarkGuide": "registration.guides.landmark_guide",
    "label_brain": "registration.brain.structures",
    "register_model": "zoo.registry",
    "register_architecture": "zoo.registry",
    "RegistrationOptions": "registration.options",
    "LinearAlignment": "registration.options",
    "FieldRefinement": "registration.options",
    "WeightRefinement": "registration.options",
    "RegistrationResult": "registration.result",
    "list_models": "zoo.registry",
    "load_model": "zoo.registry",
    "ModelCard": "zoo.card",
}
_MODULES = {
    "errors": "errors",
    "models": "composition.models",
    "transforms": "composition.transforms",
}
__all__ = ["__version__", *_HOMES, *_MODULES]

if not TYPE_CHECKING:  # a checker is to find names that are not there

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return importlib.import_module(f"neuralreg.{_MODULES[name]}")
        if name not in _HOMES:
            raise AttributeError(f"module 'neuralreg' has no attribute '{name}'")
        value = getattr(importlib.import_module(f"neuralreg.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
