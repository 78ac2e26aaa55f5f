"""The networks that a configuration can name: every architecture, and those of DeepReg."""

from __future__ import annotations

from neuralreg.networks import deepreg
from neuralreg.training.config.part_registry import register_backbone
from neuralreg.training.model.zoo_backbone import ZooBackbone

register_backbone("unet")(deepreg.DeepRegUNet)
register_backbone("local")(deepreg.LocalNet)
register_backbone("global")(deepreg.GlobalNet)
register_backbone("published")(ZooBackbone)
