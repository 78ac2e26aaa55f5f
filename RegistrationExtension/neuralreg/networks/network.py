"""What all networks share: what their output means, which sizes they take, and what else they can.

A new architecture is one file in this folder: a class that extends `RegistrationModule`, named
`build` at the end of the file. A card whose `architecture` is the name of the file registers with
it, and a training configuration names it as a backbone, with the options of its `__init__`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from neuralreg.geometry.normalized import from_voxels, identity_map


@dataclass(frozen=True)
class Output:
    """What the numbers of a network mean.

    Attributes:
        kind: "displacement"; "coordinates", the position that each sample is mapped to.
        unit: "voxel"; "normalized", -1..1 between the outer sample centers; "unit", 0..1 between
            them.
        order: of the components, "xyz" or as the axes of the array.
    """

    kind: Literal["displacement", "coordinates"] = "displacement"
    unit: Literal["voxel", "normalized", "unit"] = "voxel"
    order: Literal["xyz", "zyx"] = "xyz"


def to_voxels(values: Tensor, meaning: Output) -> Tensor:
    """The displacement in voxels that a network's output means.

    Args:
        values: (n, d, z, y, x), on the grid of the images.
        meaning: of the values.

    Returns:
        (n, d, z, y, x), components x y z.
    """
    values = values.flip(1) if meaning.order == "zyx" else values
    if meaning.unit == "voxel":
        return values - _index(values) if meaning.kind == "coordinates" else values
    last = torch.tensor([n - 1 for n in values.shape[:1:-1]]).to(values)
    last = last.view(-1, *[1] * len(last))
    if meaning.kind == "displacement":
        return values * last / 2 if meaning.unit == "normalized" else values * last
    coordinates = (values + 1) / 2 if meaning.unit == "normalized" else values
    return coordinates * last - _index(values)


def to_normalized(values: Tensor, meaning: Output) -> Tensor:
    """The normalized displacement that a network's output means.

    Args:
        values: (n, d, z, y, x), on the grid of the images.
        meaning: of the values.

    Returns:
        (n, d, z, y, x), components x y z.
    """
    if meaning.unit == "voxel":
        return from_voxels(to_voxels(values, meaning))
    values = values.flip(1) if meaning.order == "zyx" else values
    if meaning.kind == "displacement":
        return 2 * values if meaning.unit == "unit" else values
    coordinates = 2 * values - 1 if meaning.unit == "unit" else values
    return coordinates - identity_map(tuple(values.shape[2:]), values)


def _index(values: Tensor) -> Tensor:
    """The index x y z of each sample, (1, d, z, y, x)."""
    axes = [torch.arange(n, dtype=values.dtype, device=values.device) for n in values.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None]


class Network(nn.Module):
    """A network that may turn the tensors of a file into its own key layout first."""

    def adapt_weights(self, weights: Mapping[str, Any]) -> Mapping[str, Any]:
        """The tensors of a file under the names and in the shapes of this network.

        Args:
            weights: by the names that the file has.

        Returns:
            The tensors to load. What cannot be placed is kept, so that strict loading names it.
        """
        return weights

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Takes the authors' files, and what this network itself has saved."""
        return super().load_state_dict(self.adapt_weights(state_dict), strict, assign)


class RegistrationModule(Network):
    """A network that takes two images and gives where the samples of the fixed one are mapped to.

    `forward(fixed, moving, **options)` takes images (n, 1, z, y, x), or (n, 1, y, x) in 2D, and
    gives (n, d, z, y, x) at the same resolution.

    Attributes:
        output: what its numbers mean.
        divisor: all sizes must be multiples of it.
        smallest: least number of samples along an axis.
        affine_motion: whether all its displacements are affine motions.
        levels: how many levels, from coarse to fine, `use_levels` chooses from; 0 for a network
            without that choice.
        dimensions: numbers of axes that it is for.
        trainable: whether trainings can name it as a backbone.
        training_defaults: options that trainings give it where a configuration does not.
    """

    output: Output = Output()
    divisor: int = 1
    smallest: int = 1
    affine_motion: bool = False
    levels: int = 0
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    trainable: ClassVar[bool] = True
    training_defaults: ClassVar[Mapping[str, Any]] = {}

    def fields(self, fixed: Tensor, moving: Tensor, **options: float) -> list[Tensor] | None:
        """Several displacements in the order in which points pass; None where there is only one.

        Args:
            fixed: as for `forward`.
            moving: as for `forward`.
            options: as for `forward`.

        Returns:
            Each (n, d, z, y, x), of any resolution, normalized, components x y z.
        """
        return None

    def both(self, fixed: Tensor, moving: Tensor, **options: float) -> tuple[Tensor, Tensor]:
        """Fixed to moving and moving to fixed, as `forward` gives them."""
        return self(fixed, moving, **options), self(moving, fixed, **options)

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
            fixed: as for `forward`.
            moving: as for `forward`.
            output: of `forward` for the same images.
            shape: z y x of the maps.
            options: as for `forward`.

        Returns:
            Maps (n, 1, z, y, x).
        """
        return {}

    def use_levels(self, count: int | None) -> None:
        """Let only the coarsest levels contribute to the output.

        Args:
            count: number of levels; None for all of them.
        """


class PlainModule(RegistrationModule):
    """A module that is no `RegistrationModule`, such as a saved program: it only runs forward."""

    trainable = False

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *images: Tensor, **options: float) -> Tensor:
        """The output of the module."""
        output: Tensor = self.module(*images, **options)
        return output
