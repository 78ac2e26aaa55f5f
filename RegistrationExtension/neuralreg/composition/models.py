"""Registration models put together from parts, in a few lines.

A model is a torch module that takes a fixed and a moving image (n, c, z, y, x) and gives the
transform from fixed to moving: a function of normalized coordinates, see `neuralreg.transforms`.
The first group of functions makes models of networks, the second combines them, the third measures
how well they register:

    coarse = downsample(repeat(displacement(UNet()), 2))
    model = two_step(coarse, velocity(UNet()))
    losses = assess(model, fixed, moving, similarity=lncc, weight=1.5)
    offer("my_model", model, shape=(96, 96, 96))          # register(..., model="my_model")

Sources: Greer et al. 2021, ICON, doi:10.1109/ICCV48922.2021.00338; Tian et al. 2023, GradICON,
doi:10.1109/CVPR52729.2023.01734.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.composition.transforms import (
    Transform,
    compose,
    from_displacement,
    from_matrix,
    from_velocity,
    identity_map,
    warp,
)
from neuralreg.measures import regularity as _regularity
from neuralreg.networks.network import Output as Meaning
from neuralreg.networks.network import RegistrationModule
from neuralreg.zoo.card import Input, ModelCard, Output
from neuralreg.zoo.registry import register_model

Similarity = Callable[[Tensor, Tensor], Tensor]
Regularity = Callable[[Transform, Transform, Tensor], Tensor]


class _Model(nn.Module):
    """Some parts, whose parameters are the model's, and a rule that makes a transform of them."""

    def __init__(
        self, rule: Callable[[nn.ModuleList, Tensor, Tensor], Transform], *parts: nn.Module
    ) -> None:
        super().__init__()
        self.rule, self.parts = rule, nn.ModuleList(parts)

    def forward(self, fixed: Tensor, moving: Tensor) -> Transform:
        return self.rule(self.parts, fixed, moving)


def displacement(network: nn.Module) -> nn.Module:
    """The model of a network that outputs a displacement.

    Args:
        network: `network(fixed, moving)` gives (n, d, z, y, x), normalized, components x y z, of
            any resolution; beyond its border the outer samples are repeated.
    """
    return _Model(lambda p, fixed, moving: from_displacement(p[0](fixed, moving)), network)


def velocity(network: nn.Module, *, steps: int = 7) -> nn.Module:
    """The model of a network that outputs a stationary velocity: diffeomorphic.

    Args:
        network: `network(fixed, moving)` gives (n, d, z, y, x), normalized coordinates per unit of
            time, components x y z, of any resolution.
        steps: squarings.
    """
    return _Model(lambda p, fixed, moving: from_velocity(p[0](fixed, moving), steps=steps), network)


def affine(network: nn.Module) -> nn.Module:
    """The model of a network that outputs a matrix.

    Args:
        network: `network(fixed, moving)` gives (n, d, d + 1), on normalized coordinates x y z.
    """
    return _Model(lambda p, fixed, moving: from_matrix(p[0](fixed, moving)), network)


def two_step(first: nn.Module, second: nn.Module) -> nn.Module:
    """Two models, of which the second sees the moving image as the first one warped it.

    Args:
        first: registers the pair.
        second: registers the fixed image and the warped one.
    """

    def rule(parts: nn.ModuleList, fixed: Tensor, moving: Tensor) -> Transform:
        coarse = parts[0](fixed, moving)
        warped = warp(moving, coarse, tuple(fixed.shape[2:]))[:, :-1]
        return compose(parts[1](fixed, warped), coarse)

    return _Model(rule, first, second)


def repeat(model: nn.Module, times: int) -> nn.Module:
    """One model, with one set of weights, applied several times, each to what it warped before.

    Args:
        model: any model.
        times: how often it is applied, at least 1.
    """
    step = model
    for _ in range(times - 1):
        step = two_step(step, model)
    return step


def downsample(model: nn.Module, factor: int = 2) -> nn.Module:
    """The model applied to images of a lower resolution; its transform is still a function.

    Args:
        model: any model.
        factor: samples of a cell that are averaged; samples at the end of an axis that fill no
            whole cell make a cell of their own.
    """

    def rule(parts: nn.ModuleList, fixed: Tensor, moving: Tensor) -> Transform:
        pool = functional.avg_pool3d if fixed.dim() == 5 else functional.avg_pool2d
        small = (pool(image, factor, ceil_mode=True) for image in (fixed, moving))
        transform: Transform = parts[0](*small)
        return transform

    return _Model(rule, model)


def multi_resolution(*models: nn.Module) -> nn.Module:
    """Models from coarse to fine, each at twice the resolution of the one before, the last at full.

    Args:
        models: from coarse to fine.
    """
    model = models[0]
    for finer in models[1:]:
        model = two_step(downsample(model), finer)
    return model


def inverse_consistent(network: nn.Module, *, steps: int = 7) -> nn.Module:
    """The model that gives inverse transforms when its images are exchanged, by construction.

    Args:
        network: outputs a velocity, see `velocity`; half of its difference for both orders is used.
        steps: squarings.
    """

    def rule(parts: nn.ModuleList, fixed: Tensor, moving: Tensor) -> Transform:
        difference = parts[0](fixed, moving) - parts[0](moving, fixed)
        return from_velocity(difference / 2, steps=steps)

    return _Model(rule, network)


# Similarities: functions of the fixed image and of what `warp` gives, whose last channel says which
# samples were interpolated. Yours may replace them.


def ssd(fixed: Tensor, warped: Tensor) -> Tensor:
    """Mean squared difference over the samples that were interpolated.

    Args:
        fixed: (n, c, z, y, x).
        warped: of `transforms.warp`, (n, c + 1, z, y, x).
    """
    inside = warped[:, -1:]
    return ((fixed - warped[:, :-1]).square() * inside).sum() / inside.sum().clamp(min=1)


def lncc(fixed: Tensor, warped: Tensor, *, sigma: float = 5.0) -> Tensor:
    """1 - local correlation in Gaussian windows, over the samples that were interpolated.

    The form of Tian et al. 2023, see `neuralreg.measures.local_correlation`.

    Args:
        fixed: (n, 1, z, y, x).
        warped: of `transforms.warp`, (n, 2, z, y, x).
        sigma: standard deviation of the windows, in voxels.
    """
    from neuralreg.measures.local_correlation import lncc_unigradicon

    return lncc_unigradicon(fixed, warped[:, :-1], sigma=sigma, weight=warped[:, -1:])


# Regularities: functions of both directions and of the coordinates of the samples.


def icon(forward: Transform, backward: Transform, points: Tensor) -> Tensor:
    """Inverse consistency of both directions: see `regularity.inverse_consistency`."""
    return _regularity.inverse_consistency(forward, backward, points)


def gradicon(forward: Transform, backward: Transform, points: Tensor) -> Tensor:
    """GradICON: see `regularity.gradient_inverse_consistency`."""
    return _regularity.gradient_inverse_consistency(forward, backward, points)


def diffusion(forward: Transform, backward: Transform, points: Tensor) -> Tensor:
    """Mean squared gradient of the displacement, summed over both directions."""
    return _of_both(_regularity.diffusion, forward, backward, points)


def bending(forward: Transform, backward: Transform, points: Tensor) -> Tensor:
    """Mean squared second derivatives of the displacement, summed over both directions.

    Lengths are fractions of the image, along each axis.
    """
    return _of_both(_regularity.bending, forward, backward, points)


def _of_both(
    measure: Callable[..., Tensor], forward: Transform, backward: Transform, points: Tensor
) -> Tensor:
    spacing = [1 / max(n - 1, 1) for n in points.shape[:1:-1]]
    parts = [measure((t(points) - points) / 2, spacing=spacing) for t in (forward, backward)]
    return torch.stack(parts).sum()


@dataclass(frozen=True)
class Losses:
    """What `assess` finds about a model and a pair.

    Attributes:
        total: what to minimize: similarity + weight x regularity.
        similarity: sum over both directions, lower is better.
        regularity: lower is better.
        forward: the transform from fixed to moving.
        backward: the transform of the exchanged pair.
    """

    total: Tensor
    similarity: Tensor
    regularity: Tensor
    forward: Transform
    backward: Transform


def assess(
    model: nn.Module,
    fixed: Tensor,
    moving: Tensor,
    *,
    similarity: Similarity = ssd,
    regularity: Regularity = icon,
    weight: float = 1.0,
) -> Losses:
    """How well a model registers a pair, in both directions; differentiable.

    Args:
        model: gives a transform for two images.
        fixed: (n, c, z, y, x).
        moving: like `fixed`.
        similarity: of the fixed image and of what `transforms.warp` gives, lower is better.
        regularity: of both transforms at the coordinates of the samples.
        weight: of the regularity.
    """
    forward, backward = model(fixed, moving), model(moving, fixed)
    alike = similarity(fixed, warp(moving, forward)) + similarity(moving, warp(fixed, backward))
    points = identity_map(tuple(fixed.shape[2:]), fixed)
    rough = regularity(forward, backward, points)
    return Losses(alike + weight * rough, alike, rough, forward, backward)


class ComposedNetwork(RegistrationModule):
    """A model as the engine wants a network: its transform, evaluated at every sample.

    The return value of `build` in a file of your own, for `neuralreg models import`.

    Args:
        model: gives a transform for two images.
    """

    output = Meaning("coordinates", "unit", "xyz")

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """A unit map (n, d, z, y, x): 0 is the first sample and 1 the last, components x y z."""
        transform: Transform = self.model(fixed, moving)
        return (transform(identity_map(tuple(fixed.shape[2:]), fixed)) + 1) / 2


def offer(
    name: str, model: nn.Module, shape: tuple[int, ...], *, intensity: str = "unit"
) -> ModelCard:
    """Let `register(..., model=name)` use a model, until the program ends.

    For the command line and the panel see `neuralreg models import`.

    Args:
        name: of the card: lower case, digits and underscores, at most one dot.
        model: gives a transform for two images; it stays on its device.
        shape: samples z y x that the field of view of the fixed image is divided into.
        intensity: how intensities are scaled, see `neuralreg.registration.preprocess`.

    Returns:
        The card of the model.

    Raises:
        InvalidOption: another model has that name.
    """
    from neuralreg.zoo.loaded_network import LoadedNetwork

    card = card_of(name, shape, intensity=intensity)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    register_model(LoadedNetwork(card, ComposedNetwork(model).eval(), device))
    return card


def card_of(name: str, shape: tuple[int, ...], *, intensity: str = "unit") -> ModelCard:
    """The card of a model of your own; `model_copy(update=...)` adds more to it.

    Args:
        name: as for `offer`.
        shape: as for `offer`.
        intensity: as for `offer`.
    """
    return ModelCard(
        name=name,
        title=name.replace("_", " "),
        architecture=name.split(".")[0],
        input=Input.model_validate(
            {"dimensions": [len(shape)], "space": "whole", "shape": shape, "intensity": intensity}
        ),
        output=Output(kind="unit_map", order="xyz"),
        license="your own",
        citation="your own",
        training_data="your own",
        modalities=("any",),
        anatomies=("any",),
        intended_use="What it was trained for.",
        limits="Known only to its author.",
    )
