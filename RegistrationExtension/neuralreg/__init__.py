"""Neural Registration: deformable registration of medical images, without any host application.

    import neuralreg
    fixed, moving = map(neuralreg.read_image, ("fixed.nii.gz", "moving.nii.gz"))
    result = neuralreg.register(fixed, moving)
    neuralreg.write_transform(result.field, "fixed_to_moving.nii.gz")

The names below are loaded when they are first used, so that importing the package stays fast.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_HOME = {
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
    "refine": "registration.engine",
    "assess": "review.assess",
    "brain_mask": "registration.brain_mask",
    "register_model": "zoo.registry",
    "register_architecture": "zoo.registry",
    "models": "composition.models",
    "transforms": "composition.transforms",
    "RegistrationOptions": "registration.options",
    "LinearAlignment": "registration.options",
    "FieldRefinement": "registration.options",
    "WeightRefinement": "registration.options",
    "RegistrationResult": "registration.result",
    "list_models": "zoo.registry",
    "load_model": "zoo.registry",
    "ModelCard": "zoo.card",
    "errors": "errors",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'neuralreg' has no attribute '{name}'")
    module = importlib.import_module(f"neuralreg.{_HOME[name]}")
    value = getattr(module, name) if hasattr(module, name) else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
