"""The interface of a model to the engine, and the networks behind the cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.devices import PRECISIONS, own_modes, require_precision
from neuralreg.errors import IncompatibleModel, InvalidOption, InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.velocity import exponentiate
from neuralreg.measures.mind import Describe
from neuralreg.networks.network import Output as Meaning
from neuralreg.networks.network import PlainModule, RegistrationModule, to_voxels
from neuralreg.zoo.card import ModelCard, Output

_MEANINGS = {
    "voxel": ("displacement", "voxel"),
    "normalized": ("displacement", "normalized"),
    "unit_map": ("coordinates", "unit"),
    "features": ("displacement", "voxel"),  # of the search that compares them
}


@runtime_checkable
class RegistrationNetwork(Protocol):
    """A model that aligns two images on one grid.

    Attributes:
        card: gives the grid, the intensities, and the meaning of the output.
    """

    card: ModelCard

    def predict(self, fixed: Tensor, moving: Tensor, **options: float) -> Tensor:
        """The raw output for one pair, as the card describes it.

        Args:
            fixed: (c, z, y, x) on the grid of the card.
            moving: on the same grid.
            options: those of the card.
        """
        ...


@runtime_checkable
class MappingNetwork(Protocol):
    """A model that computes more about a pair than a deformation, such as what is absent."""

    def maps(
        self,
        fixed: Tensor,
        moving: Tensor,
        output: Tensor,
        shape: tuple[int, ...],
        **options: float,
    ) -> dict[str, Tensor]:
        """Maps by name.

        Args:
            fixed: as for `predict`.
            moving: as for `predict`.
            output: of `predict` for the same images.
            shape: of the maps, z y x.
            options: those of the card.

        Returns:
            Maps (z, y, x).
        """
        ...


@runtime_checkable
class SearchNetwork(Protocol):
    """A model that compares several images of each side at once."""

    def search(self, fixed: Tensor, moving: Tensor, shares: Sequence[float]) -> Tensor:
        """The raw output for several channels, as the card describes it.

        Args:
            fixed: (c, z, y, x).
            moving: (c, z, y, x).
            shares: of the channels, with the sum 1.
        """
        ...


class LoadedNetwork:
    """A torch module with its card.

    Args:
        card: what the module takes and what its numbers mean.
        module: called with fixed and moving (1, c, z, y, x) and the options.
        device: of the module.
        precision: "float32", or a shorter type that autocast uses where it suits.
    """

    def __init__(
        self, card: ModelCard, module: Any, device: torch.device, precision: str = "float32"
    ) -> None:
        require_precision(precision)
        self.card, self.device, self.precision = card, device, precision
        is_ours = isinstance(module, RegistrationModule)
        self.module: RegistrationModule = module if is_ours else PlainModule(module)

    @own_modes()
    @torch.no_grad()
    def predict(self, fixed: Tensor, moving: Tensor, **options: float) -> Tensor:
        """The raw output (d, z, y, x), or (d, d + 1) for an affine matrix, in float32.

        Raises:
            IncompatibleModel: the output has NaN or infinite numbers.
        """
        return self._run(fixed, moving, **options)

    @own_modes()
    @torch.no_grad()
    def search(self, fixed: Tensor, moving: Tensor, shares: Sequence[float]) -> Tensor:
        """The raw output (d, z, y, x) for several channels, see `SearchNetwork`."""
        return self._run(fixed, moving, shares=shares)

    def _run(self, fixed: Tensor, moving: Tensor, **options: Any) -> Tensor:
        short = PRECISIONS[self.precision]
        with torch.autocast(self.device.type, dtype=short, enabled=short is not None):
            output = self.module(*self._batches(fixed, moving), **options)
        if not bool(torch.isfinite(output).all()):
            raise IncompatibleModel(
                "a network gave NaN or infinite numbers",
                where=self.card.name,
                got=f"precision {self.precision}",
                remedy="Use float32, and check that the images suit the model.",
            )
        single: Tensor = output[0].float()
        return single

    @own_modes()
    @torch.no_grad()
    def maps(
        self,
        fixed: Tensor,
        moving: Tensor,
        output: Tensor,
        shape: tuple[int, ...],
        **options: float,
    ) -> dict[str, Tensor]:
        """What else the network computes about a pair, by name.

        Args:
            fixed: as for `predict`.
            moving: as for `predict`.
            output: of `predict` for the same images.
            shape: of the maps, z y x.
            options: those of the card.

        Returns:
            Maps (z, y, x); empty for a network without any.
        """
        first, second, result = self._batches(fixed, moving, output)
        maps = self.module.maps(first, second, result, shape, **options)
        return {name: values[0, 0] for name, values in maps.items()}

    def _batches(self, *images: Tensor) -> list[Tensor]:
        return [image.to(self.device, torch.float32)[None] for image in images]


def describe_by(module: Any, device: torch.device, *, weighted: bool) -> Describe:
    """The function by which the search compares images.

    Args:
        module: (1, 1, z, y, x) to descriptions (1, f, z', y', x').
        device: of the module.
        weighted: whether descriptions are used as the module gives them. Else they are scaled to a
            common length: the mean squared difference of two is a quarter of that of unit vectors,
            about what descriptors such as MIND give.

    Returns:
        A function from an image (1, 1, z, y, x) to descriptions (1, f, z', y', x').
    """

    @torch.no_grad()
    def describe(image: Tensor) -> Tensor:
        features: Tensor = module(image.to(device, torch.float32)).float()
        if weighted:
            return features
        scaled: Tensor = functional.normalize(features, dim=1) * (0.5 * features.shape[1] ** 0.5)
        return scaled

    return describe


def meaning_of(output: Output) -> Meaning:
    """What the numbers of a card's network mean, in the words of `networks.network`.

    Raises:
        InvalidTransform: they are an affine matrix.
    """
    if output.kind == "affine":
        raise InvalidTransform("an affine matrix is no displacement", got="kind affine")
    kind, unit = _MEANINGS[output.kind]
    return Meaning(kind, unit, output.order)  # type: ignore[arg-type]


def field_of(values: Tensor, output: Output, grid: Grid) -> DisplacementField:
    """The field in mm that a network's output means on the grid that the network saw.

    Args:
        values: (d, z, y, x), or (d, d + 1) for kind "affine": a matrix on normalized coordinates.
        output: of the card. A velocity is integrated.
        grid: of the images.

    Raises:
        InvalidTransform: the shape does not fit the card.
    """
    d = grid.dimension
    shape = (d, d + 1) if output.kind == "affine" else (d, *grid.shape)
    if tuple(values.shape) != shape:
        raise InvalidTransform(
            "a network's output does not fit its card",
            got=f"shape {tuple(values.shape)}",
            wanted=f"shape {shape}",
        )
    if output.kind == "affine":
        return _affine_field(values, output.order, grid)
    field = DisplacementField.from_voxels(to_voxels(values[None], meaning_of(output))[0], grid)
    return exponentiate(field) if output.velocity else field


def _affine_field(values: Tensor, order: str, grid: Grid) -> DisplacementField:
    d = grid.dimension
    matrix = np.eye(d + 1)
    matrix[:d] = values.detach().double().cpu().numpy()
    if order == "zyx":
        swap = [*range(d - 1, -1, -1), d]
        matrix = matrix[np.ix_(swap, swap)]
    to_normalized = np.diag([*(2 / np.maximum(np.subtract(grid.size, 1), 1)), 1.0])
    to_normalized[:d, d] = -1
    in_index = np.linalg.inv(to_normalized) @ matrix @ to_normalized
    world = LinearTransform(grid.index_to_world @ in_index @ grid.world_to_index)
    return DisplacementField.from_linear(world, grid).to(values.device)


def run_options(card: ModelCard, options: Mapping[str, float] | None) -> dict[str, float]:
    """All options of a run: those given, the card's defaults for the rest.

    Args:
        card: of the model.
        options: values by name; none is as good as empty.

    Raises:
        InvalidOption: a name that the card does not have or a value outside of its range.
    """
    for name, value in (options or {}).items():
        if name not in card.options:
            raise InvalidOption(
                "the model has no such option",
                where=card.name,
                got=f"'{name}'",
                wanted=" or ".join(card.options) or "none",
            )
        low, high = card.options[name].minimum, card.options[name].maximum
        if not low <= value <= high:
            raise InvalidOption(
                "an option is outside of its range",
                where=f"{card.name}, {name}",
                got=f"{value:g}",
                wanted=f"{low:g} to {high:g}",
            )
    return {name: option.default for name, option in card.options.items()} | dict(options or {})
