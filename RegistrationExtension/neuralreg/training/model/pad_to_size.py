"""One meaning for what networks say, whatever their units and the sizes that they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.errors import InvalidOption

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Convention:
    """What a network's numbers mean, and which sizes it takes.

    kind: displacements in "voxel", "normalized" (2 from the first to the last sample) or "unit"
    (1 from the first to the last). order: of the components. divisor: of all sizes; least: the
    smallest one. affine: whether the answer is an affine motion.
    """

    kind: Literal["voxel", "normalized", "unit"] = "voxel"
    order: Literal["xyz", "zyx"] = "xyz"
    divisor: int = 1
    least: int = 1
    affine: bool = False


def with_convention(network: nn.Module, **about: Any) -> nn.Module:
    """The network, which now says what its numbers mean."""
    setattr(network, "convention", Convention(**about))  # noqa: B010 - nn.Module types its own
    return network


def padded(shape: Shape, divisor: int, least: int = 1) -> Shape:
    """The next larger shape whose sizes divide and are large enough."""
    return tuple(-(-max(n, least) // divisor) * divisor for n in shape)


class AnySize(nn.Module):
    """A network for images of any size, whose answer is a normalized displacement, x y z.

    The border is repeated at the far ends until the sizes divide; the answer is cut again.
    raw: leave the numbers alone, for an answer that is no displacement.
    """

    def __init__(self, network: nn.Module, *, raw: bool = False) -> None:
        super().__init__()
        self.network, self.raw = network, raw
        about = getattr(network, "convention", Convention())
        self.convention: Convention = about

    def forward(self, *images: Tensor) -> Tensor:
        """Images (n, 1, z, y, x), fixed first, to (n, d, z, y, x)."""
        shape = tuple(images[0].shape[2:])
        wide = padded(shape, self.convention.divisor, self.convention.least)
        grow = [part for a, b in zip(wide[::-1], shape[::-1], strict=True) for part in (0, a - b)]
        if any(grow):
            images = tuple(functional.pad(image, grow, mode="replicate") for image in images)
        answer: Tensor = self.network(*images)
        if tuple(answer.shape[2:]) != wide:
            raise InvalidOption(
                "a backbone answers at the resolution of its images",
                where=type(self.network).__name__,
                got=f"{tuple(answer.shape[2:])}",
                wanted=f"{wide}",
            )
        for axis, n in enumerate(shape, start=2):
            answer = answer.narrow(axis, 0, n)
        return answer if self.raw else self._normalize(answer, wide)

    def _normalize(self, answer: Tensor, wide: Shape) -> Tensor:
        about = self.convention
        if about.order == "zyx":
            answer = answer.flip(1)
        lengths = {"voxel": [2.0] * len(wide), "unit": [2.0 * (n - 1) for n in wide]}
        lengths["normalized"] = [float(n - 1) for n in wide]
        last = [max(n - 1, 1) for n in answer.shape[2:]]
        factor = [a / b for a, b in zip(lengths[about.kind], last, strict=True)][::-1]
        return answer * torch.tensor(factor).to(answer).view(-1, *[1] * len(wide))
