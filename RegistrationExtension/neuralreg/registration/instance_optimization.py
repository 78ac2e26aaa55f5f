"""Instance optimization: the weights of a copy of a network, fitted to one pair by its own loss.

Sources: Balakrishnan et al. 2019, VoxelMorph, doi:10.1109/TMI.2019.2897538; Tian et al. 2024,
uniGradICON, doi:10.48550/arXiv.2403.05780.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.devices import PRECISIONS
from neuralreg.errors import IncompatibleModel, InvalidOption
from neuralreg.geometry.normalized import (
    displace,
    exponential,
    identity_map,
    sample,
    to_voxels,
)
from neuralreg.measures import regularity as rough
from neuralreg.measures.local_correlation import GaussianCorrelation, lncc
from neuralreg.measures.mind import mind_ssc
from neuralreg.measures.similarity import ssd
from neuralreg.networks.blocks import CHANNELS_LAST, channels_last
from neuralreg.networks.network import to_normalized
from neuralreg.progress import Progress
from neuralreg.registration.options import WeightRefinement
from neuralreg.zoo.card import Fitting
from neuralreg.zoo.loaded_network import LoadedNetwork, RegistrationNetwork, meaning_of, run_options

_NOISE = 4.0  # samples of the image around which its points scatter, normalized
_SMALLEST_WINDOW = 3
Similar = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class NetworkPair:
    """Two images as a network gets them.

    Attributes:
        fixed, moving: (1, z, y, x).
        fixed_mask, moving_mask: alike, 1 where similarity counts; None for everywhere.
    """

    fixed: Tensor
    moving: Tensor
    fixed_mask: Tensor | None = None
    moving_mask: Tensor | None = None


@dataclass(frozen=True)
class WeightFit:
    """How weights were fitted.

    Attributes:
        similarity, regularity: terms of the loss.
        rate: of Adam.
        losses: before each step.
    """

    similarity: str
    regularity: str
    rate: float
    losses: tuple[float, ...]


def require_fitting(network: RegistrationNetwork) -> tuple[LoadedNetwork, Fitting]:
    """The network as one with weights, and the loss on its card.

    Raises:
        IncompatibleModel: for a model without weights, or whose card names no loss.
    """
    fitting = network.card.fitting
    got = "a model without trained weights"
    if isinstance(network, LoadedNetwork) and _has_weights(network):
        if fitting is not None:
            return network, fitting
        got = "a card without `fitting`"
    raise IncompatibleModel(
        "the weights of this model cannot be fitted to a pair",
        where=network.card.name,
        got=got,
        remedy="Refine the field instead (auto, mind or lncc), or choose another model.",
    )


def _has_weights(network: LoadedNetwork) -> bool:
    return any(p.is_floating_point() for p in network.module.parameters())


def optimize_weights(
    network: RegistrationNetwork,
    pair: NetworkPair,
    how: WeightRefinement,
    options: Mapping[str, float] | None,
    progress: Progress,
) -> tuple[RegistrationNetwork, WeightFit]:
    """A copy of a network that registers the pair better, and how its weights were fitted.

    The same call gives the same weights; the network itself is not changed.

    Args:
        network: whose weights are fitted.
        pair: that they are fitted to.
        how: similarity, steps, regularity and rate.
        options: of the run, as on the card.
        progress: called after each step.

    Raises:
        IncompatibleModel: as `require_fitting`, and when the loss becomes NaN or infinite.
        InvalidOption: for a network in float16.
    """
    network, fitting = require_fitting(network)
    if network.precision == "float16":
        raise InvalidOption(
            "weights are not fitted in float16", where=network.card.name, wanted="float32, bfloat16"
        )
    module = _trainable_copy(network.module)
    copy = LoadedNetwork(network.card, module, network.device, network.precision)
    rate = fitting.rate if how.rate is None else how.rate
    losses: list[float] = []
    with torch.enable_grad():
        loss = _Loss(copy, pair, how, run_options(network.card, options))
        optimizer = torch.optim.Adam(module.parameters(), lr=rate, fused=True)
        for step in range(how.steps):
            optimizer.zero_grad()
            now = loss()
            losses.append(now.item())
            if not isfinite(losses[-1]):
                raise _divergence_error(network, losses)
            now.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            progress((step + 1) / how.steps, f"fitting the weights, loss {losses[-1]:.4f}")
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return copy, WeightFit(loss.similarity, fitting.regularity, rate, tuple(losses))


def _trainable_copy(module: nn.Module) -> nn.Module:
    """A copy to be changed, with kernels in the layout that convolutions would turn them to."""
    with torch.no_grad():  # TorchScript would remember where its copies came from
        copy = deepcopy(module)
    for parameter in copy.parameters():
        parameter.requires_grad_(True)
        if parameter.dim() in CHANNELS_LAST:
            parameter.data = channels_last(parameter.data)
    return copy


def _divergence_error(network: RegistrationNetwork, losses: list[float]) -> IncompatibleModel:
    return IncompatibleModel(
        "the loss is no number any more while weights are fitted",
        where=network.card.name,
        got=f"{losses[-1]} after {len(losses) - 1} steps",
        remedy="Use a lower rate, or float32.",
    )


class _Loss:
    """Similarity of the warped images plus weighted regularity, of one direction or of both."""

    def __init__(
        self,
        network: LoadedNetwork,
        pair: NetworkPair,
        how: WeightRefinement,
        numbers: dict[str, float],
    ) -> None:
        _, fitting = require_fitting(network)
        self.network, self.fitting, self.numbers = network, fitting, numbers
        self.sides = 2 if fitting.both else 1
        device = network.device
        images = [i[None].to(device, torch.float32) for i in (pair.fixed, pair.moving)]
        self.fixed = torch.cat(images[: self.sides])
        self.moving = torch.cat(images[::-1][: self.sides])
        self.similarity = _similarity_name(fitting, how)
        weight = _weights(pair, self.fixed)
        self.similar = _dissimilarity(fitting, self.similarity, self.fixed, weight)
        per = numbers[fitting.per] if fitting.per else 1.0
        self.weight = how.regularity * fitting.weight * per
        self.random = torch.Generator().manual_seed(0)

    def __call__(self) -> Tensor:
        fields = self._fields()
        first, *others = fields
        identity = identity_map(tuple(self.fixed.shape[2:]), first)
        points = displace(identity + first, others)
        alike = self.similar(sample(self.moving, points, outside="zeros"))
        if self.fitting.regularity in ("icon", "gradicon"):
            return self.sides * alike + self.weight * self._inconsistency(fields)
        measure = rough.bending if self.fitting.regularity == "bending" else rough.diffusion
        return self.sides * (alike + self.weight * measure(to_voxels(points - identity)))

    def _fields(self) -> list[Tensor]:
        """Displacements in the order that points pass, normalized, x y z; a row per side."""
        short = PRECISIONS[self.network.precision]
        module, card = self.network.module, self.network.card
        with torch.autocast(self.fixed.device.type, dtype=short, enabled=short is not None):
            fields = module.fields(self.fixed, self.moving, **self.numbers)
            if fields is not None:  # both sides in one pass
                return fields
            fixed, moving = self.fixed[:1], self.moving[:1]
            if self.sides == 2:
                outputs = torch.cat(module.both(fixed, moving, **self.numbers))
            else:
                outputs = module(fixed, moving, **self.numbers)
        field = to_normalized(outputs.float(), meaning_of(card.output))
        return [exponential(field) if card.output.velocity else field]

    def _inconsistency(self, fields: list[Tensor]) -> Tensor:
        """ICON or GradICON of both directions, at every second sample, moved at random.

        What a network learns is the same between samples.
        """
        points = identity_map(tuple(self.fixed.shape[2:]), fields[0])
        for axis in range(2, points.dim()):
            every_second = torch.arange(0, points.shape[axis], 2).to(points.device)
            points = points.index_select(axis, every_second)
        noise = torch.randn(points.shape, generator=self.random).to(points)
        points = points + _NOISE / self.fixed.shape[-1] * noise
        forward, backward = (
            partial(displace, fields=[field[side] for field in fields])
            for side in (slice(0, 1), slice(1, 2))
        )
        if self.fitting.regularity == "icon":
            return rough.inverse_consistency(forward, backward, points)
        return rough.gradient_inverse_consistency(forward, backward, points)


def _similarity_name(fitting: Fitting, how: WeightRefinement) -> str:
    """The similarity that the user names, else the card's; "lncc" is the card's kind of it."""
    own = fitting.similarity
    return own if how.similarity == "auto" or own.startswith(how.similarity) else how.similarity


def _weights(pair: NetworkPair, fixed: Tensor) -> Tensor | None:
    """Where similarity counts: in the mask of what is compared with, like the fixed images."""
    masks = (pair.fixed_mask, pair.moving_mask)[: len(fixed)]
    if all(mask is None for mask in masks):
        return None
    each = [torch.ones_like(fixed[0]) if m is None else m.to(fixed) for m in masks]
    return torch.stack(each)


def _dissimilarity(fitting: Fitting, name: str, fixed: Tensor, weight: Tensor | None) -> Similar:
    """How unlike warped images are to the fixed ones, (n, 1, z, y, x), their mean."""
    if name == "lncc_icon":
        return GaussianCorrelation(fixed, weight=weight)
    if name == "ssd":
        return lambda warped: ssd(fixed, warped, weight=weight)
    if name == "mind":
        described = mind_ssc(fixed)
        return lambda warped: ssd(described, mind_ssc(warped), weight=weight)
    return lambda warped: _at_scales(fixed, warped, weight, fitting)


def _at_scales(fixed: Tensor, warped: Tensor, weight: Tensor | None, fitting: Fitting) -> Tensor:
    total = lncc(fixed, warped, weight=weight, size=fitting.size)
    pool = functional.avg_pool3d if fixed.dim() == 5 else functional.avg_pool2d
    for n in range(1, fitting.scales):
        fixed, warped = pool(fixed, 2), pool(warped, 2)
        weight = None if weight is None else pool(weight, 2)
        size = max(fitting.size - 2 * n, _SMALLEST_WINDOW)
        total = total + lncc(fixed, warped, weight=weight, size=size) / 2**n
    return total
