"""Networks that take some sizes only, for images of any size."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.errors import InvalidOption
from neuralreg.networks.network import Output, RegistrationModule, to_normalized

Shape = tuple[int, ...]


@dataclass(frozen=True)
class BuiltFor:
    """What a network of a configuration was built for.

    Attributes:
        name: of the backbone.
        shape: z y x of its images, each of one channel.
        inputs: how many images it sees.
    """

    name: str
    shape: Shape
    inputs: int


class AnySize(nn.Module):
    """A network for images of any size, which gives a normalized displacement x y z.

    The border is repeated at the far ends until the sizes divide; the displacement is cropped
    again.

    Args:
        network: a `RegistrationModule`, or a module that gives a displacement in voxels x y z.
        raw: leave the numbers unchanged, for an output that is no displacement.
        built_for: what it was built for, if that is known.
    """

    def __init__(
        self, network: nn.Module, *, raw: bool = False, built_for: BuiltFor | None = None
    ) -> None:
        super().__init__()
        self.network, self.raw, self.built_for = network, raw, built_for
        module = network if isinstance(network, RegistrationModule) else RegistrationModule()
        self.output: Output = module.output
        self.divisor, self.smallest = module.divisor, module.smallest
        self.affine_motion = module.affine_motion

    def forward(self, *images: Tensor) -> Tensor:
        """Images (n, 1, z, y, x), fixed first, to (n, d, z, y, x)."""
        shape = tuple(images[0].shape[2:])
        wide = tuple(ceil(max(n, self.smallest) / self.divisor) * self.divisor for n in shape)
        beyond = [side for a, b in zip(wide[::-1], shape[::-1], strict=True) for side in (0, a - b)]
        if any(beyond):
            images = tuple(functional.pad(image, beyond, mode="replicate") for image in images)
        output: Tensor = self.network(*images)
        if tuple(output.shape[2:]) != wide:
            raise InvalidOption(
                "a backbone gives its output at the resolution of its images",
                where=type(self.network).__name__,
                got=f"{tuple(output.shape[2:])}",
                wanted=f"{wide}",
            )
        if self.raw:
            return _crop(output, shape)
        displacement = _crop(to_normalized(output, self.output), shape)
        lengths = [max(a - 1, 1) / max(b - 1, 1) for a, b in zip(wide, shape, strict=True)]
        scale = torch.tensor(lengths[::-1]).to(output).view(-1, *[1] * len(wide))
        return displacement * scale


def _crop(values: Tensor, shape: Shape) -> Tensor:
    """The first samples of (n, c, z, y, x) along each axis."""
    for axis, n in enumerate(shape, start=2):
        values = values.narrow(axis, 0, n)
    return values
