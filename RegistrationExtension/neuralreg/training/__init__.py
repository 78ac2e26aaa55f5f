"""Training of registration networks: from a configuration, or from Python.

A loss of your own::

    from neuralreg.training import register_loss

    @register_loss("image", "my_loss")
    def my_loss(fixed, warped, *, weight=None, sharpness: float = 2.0): ...

A run::

    from neuralreg.training import Run, read_configuration

    Run(read_configuration(["knees.yaml"]), Path("run")).train()

The names are loaded when they are first used. This package needs the extra `training` (MONAI,
OmegaConf, TensorBoard, h5py, pandas).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuralreg.training.config.part_registry import (
        register_augmentation,
        register_backbone,
        register_dataset,
        register_loss,
    )
    from neuralreg.training.configuration import read_configuration
    from neuralreg.training.loop.run import Run, TrainedRun
    from neuralreg.training.loop.training_loop import TrainingLoop

__all__ = [
    "Run",
    "TrainedRun",
    "TrainingLoop",
    "read_configuration",
    "register_augmentation",
    "register_backbone",
    "register_dataset",
    "register_loss",
]
_HOMES = {
    "Run": "loop.run",
    "TrainedRun": "loop.run",
    "TrainingLoop": "loop.training_loop",
    "read_configuration": "configuration",
}
_REGISTRY = "config.part_registry"

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        home = importlib.import_module(f"{__name__}.{_HOMES.get(name, _REGISTRY)}")
        return getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
