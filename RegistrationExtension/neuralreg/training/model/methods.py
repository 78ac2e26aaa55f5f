"""What is trained: networks as models that give transforms, or a label, from a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from neuralreg.composition import models
from neuralreg.composition.transforms import Transform
from neuralreg.geometry.normalized import identity_map, to_voxels
from neuralreg.networks.blocks import single
from neuralreg.training.config import schema
from neuralreg.training.config.part_registry import BACKBONES
from neuralreg.training.model.pad_to_size import AnySize, BuiltFor


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model predicts for a pair, for losses to judge.

    Attributes:
        forward: the transform from fixed to moving.
        exchange: gives the transform of the exchanged pair; it is only computed where it is used.
        shape: z y x.
        like: a tensor that gives number type and device.
    """

    forward: Transform
    exchange: Callable[[], Transform]
    shape: tuple[int, ...]
    like: Tensor

    @cached_property
    def backward(self) -> Transform:
        """The transform that the model gives for the exchanged pair."""
        return self.exchange()

    @cached_property
    def coordinates(self) -> Tensor:
        """Where the samples go, normalized, x y z, (n, d, z, y, x)."""
        return self.forward(identity_map(self.shape, self.like))

    @cached_property
    def displacement(self) -> Tensor:
        """How far the samples go, in voxels x y z, (n, d, z, y, x)."""
        return voxels_of(self.coordinates)


def voxels_of(coordinates: Tensor) -> Tensor:
    """Displacement in voxels x y z of the samples that go to normalized coordinates."""
    return to_voxels(coordinates - identity_map(tuple(coordinates.shape[2:]), coordinates))


def build_model(config: schema.Model, shape: tuple[int, ...]) -> nn.Module:
    """The model of a configuration, for images of a shape (z y x).

    `model(fixed, moving)` gives a transform of normalized coordinates; a conditional one is called
    with the moving label, too, and gives the fixed one.

    Raises:
        InvalidOption: a backbone or an option that does not exist.
    """
    if config.method == "conditional":
        return Conditional(_network(config.backbone[0], shape, 3, 1, raw=True))
    count = len(config.backbone)
    sizes = [step.downsample for step in config.backbone]
    if config.multi_resolution:
        sizes = [2 ** (count - 1 - n) for n in range(count)]
    parts = [
        _stage(step, config, tuple(-(-n // size) for n in shape))
        for step, size in zip(config.backbone, sizes, strict=True)
    ]
    if config.multi_resolution:
        return models.multi_resolution(*parts)
    model: nn.Module | None = None
    for part, size in zip(parts, sizes, strict=True):
        at_resolution = models.downsample(part, size) if size > 1 else part
        model = at_resolution if model is None else models.two_step(model, at_resolution)
    assert model is not None  # the schema asks for one
    return model


def _network(
    step: schema.Step, shape: tuple[int, ...], inputs: int, outputs: int, *, raw: bool = False
) -> AnySize:
    network = BACKBONES.build(
        step.name,
        step.options,
        dimension=len(shape),
        shape=shape,
        inputs=inputs,
        outputs=outputs,
    )
    return AnySize(network, raw=raw, built_for=BuiltFor(step.name, shape, inputs))


def _stage(step: schema.Step, config: schema.Model, shape: tuple[int, ...]) -> nn.Module:
    network = _network(step, shape, 2, len(shape))
    kind = step.answer or config.method
    if network.affine_motion:
        kind = "affine"
    if config.inverse_consistent:
        model = models.inverse_consistent(network, steps=config.integration_steps)
    elif kind == "velocity":
        model = models.velocity(network, steps=config.integration_steps)
    elif kind == "affine":
        model = models.affine(Matrix(network))
    else:
        model = models.displacement(network)
    return models.repeat(model, step.times)


class Matrix(nn.Module):
    """The linear motion that a network's displacement shows at the corners of the image.

    Exact where the network answers with an affine motion; else its answer counts there only.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """A matrix (n, d, d + 1) on normalized coordinates x y z."""
        displacement: Tensor = self.network(fixed, moving)
        d = displacement.shape[1]
        start = _corner(displacement, None)
        ends = [_corner(displacement, 2 + d - 1 - component) for component in range(d)]
        slopes = torch.stack([(end - start) / 2 for end in ends], 2)
        linear = slopes + torch.eye(d, dtype=slopes.dtype, device=slopes.device)
        return torch.cat((linear, (start + slopes.sum(2))[:, :, None]), 2)


def _corner(values: Tensor, far: int | None) -> Tensor:
    """The first sample (n, c) of (n, c, z, y, x), or the last one along one axis."""
    for axis in range(values.dim() - 1, 1, -1):
        values = values.select(axis, -1 if axis == far else 0)
    return values


class Conditional(nn.Module):
    """A label of the fixed image from both images and the label of the moving one.

    Source: Hu et al. 2019, doi:10.48550/arXiv.1907.00438 (conditional segmentation).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, fixed: Tensor, moving: Tensor, moving_label: Tensor) -> Tensor:
        """(n, 1, z, y, x) in 0..1."""
        return single(self.network(fixed, moving, moving_label)).clamp(0, 1)
