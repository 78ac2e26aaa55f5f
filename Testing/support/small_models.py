"""Small models of every backbone."""

from __future__ import annotations

import torch
from neuralreg.training.config.schema import Model
from neuralreg.training.model.methods import build_model
from torch import nn

SMALL = {
    "unet": {"num_channel_initial": 4, "depth": 2},
    "local": {"num_channel_initial": 4, "extract_levels": [0, 2]},
    "global": {"num_channel_initial": 4, "depth": 2},
    "voxelmorph": {"features": [[4, 8], [8, 8, 4]]},
    "lapirn": {"start_channel": 1},
    "lku_net": {"start_channel": 2, "kernel": 3},
    "transmorph": {"width": 24, "depths": [1, 1, 1, 1], "heads": [2, 2, 2, 2], "window": [2, 2, 2],
                   "head": 4},
    "dirnet": {"width": 4, "halvings": 2},
    "avsm": {"features": [[4, 8], [8, 4]]},
    "affine": {"width": 4, "halvings": 2},
    "icon_unet": {},
    "mlp": {"widths": [8]},
    "symnet": {"start_channel": 1},
    "conditional_lapirn": {"widths": [[2, 2, 2, 2]] * 3},
    "dirac": {"width": 2},
}  # fmt: skip


def model_of(name: str, shape, method: str = "displacement", **more) -> nn.Module:
    torch.manual_seed(0)
    backbone = {"name": name, **SMALL.get(name, {})}
    return build_model(
        Model.model_validate({"method": method, "backbone": backbone, **more}), shape
    )


def perturb_zeros(model: nn.Module) -> nn.Module:
    """With other numbers where a network starts from the identity."""
    with torch.no_grad():
        for parameter in model.parameters():
            if float(parameter.abs().max()) < 1e-3:
                parameter.add_(0.02 * torch.randn_like(parameter))
    return model
