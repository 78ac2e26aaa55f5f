"""Training of registration networks: from a configuration, or from Python.

    from neuralreg.training import register_loss

    @register_loss("image", "my_loss")
    def my_loss(fixed, warped, *, weight=None, sharpness: float = 2.0): ...

This package needs the extra `training` (MONAI, OmegaConf, TensorBoard, h5py, pandas).
"""

from neuralreg.training.config.part_registry import (
    register_augmentation,
    register_backbone,
    register_dataset,
    register_loss,
)

__all__ = [
    "register_augmentation",
    "register_backbone",
    "register_dataset",
    "register_loss",
]
