"""What the engine asks of a model, and the networks of the cards that answer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.devices import PRECISIONS, require_precision
from neuralreg.errors import IncompatibleModel, InvalidOption
from neuralreg.zoo.card import ModelCard


@runtime_checkable
class RegistrationNetwork(Protocol):
    """A model that aligns two images on one grid.

    card: says which grid, which intensities, and what the output means.
    predict: fixed and moving, each (c, z, y, x) on that grid, and the card's options, to the
    output that the card names.
    """

    card: ModelCard

    def predict(self, fixed: Tensor, moving: Tensor, **options: float) -> Tensor:
        """The raw output for one pair."""
        ...


class LoadedNetwork:
    """A torch module behind a card.

    module: called with fixed and moving (1, c, z, y, x) and the options.
    precision: "float32", or a shorter type that torch chooses for what it suits (autocast).
    """

    def __init__(
        self, card: ModelCard, module: Any, device: torch.device, precision: str = "float32"
    ) -> None:
        require_precision(precision)
        self.card, self.module, self.device, self.precision = card, module, device, precision

    @torch.no_grad()
    def predict(self, fixed: Tensor, moving: Tensor, **options: float) -> Tensor:
        """The raw output (d, z, y, x), or (d, d + 1) for an affine matrix, in float32."""
        pair = (image.to(self.device, torch.float32)[None] for image in (fixed, moving))
        short = PRECISIONS[self.precision]
        with torch.autocast(self.device.type, dtype=short, enabled=short is not None):
            output = self.module(*pair, **options)
        if not bool(torch.isfinite(output).all()):
            raise IncompatibleModel(
                "a network answered with NaN or infinite numbers",
                where=self.card.name,
                got=f"precision {self.precision}",
                remedy="Use float32, and check that the images suit the model.",
            )
        answer: Tensor = output[0].float()
        return answer

    @torch.no_grad()
    def maps(
        self,
        fixed: Tensor,
        moving: Tensor,
        answer: Tensor,
        shape: tuple[int, ...],
        **options: float,
    ) -> dict[str, Tensor]:
        """What else the network can tell of a pair, by name: (z, y, x) of the fixed image's shape.

        answer: what `predict` said about the same images. Only modules with a `maps` tell more.
        """
        if not hasattr(self.module, "maps"):
            return {}
        pair = (image.to(self.device, torch.float32)[None] for image in (fixed, moving))
        told = self.module.maps(*pair, answer.to(self.device)[None], shape, **options)
        return {name: values[0, 0] for name, values in told.items()}

    @torch.no_grad()
    def features(self, image: Tensor) -> Tensor:
        """What a network says about each place of an image (1, 1, z, y, x): (1, f, z, y, x).

        As it is when weighted; else at a common length: the mean squared difference of two is a
        quarter of that of unit vectors, which is about what descriptors such as MIND give.
        """
        found: Tensor = self.module(image.to(self.device, torch.float32)).float()
        if self.card.output.weighted:
            return found
        scaled: Tensor = functional.normalize(found, dim=1) * (0.5 * found.shape[1] ** 0.5)
        return scaled


def run_options(card: ModelCard, given: Mapping[str, float] | None) -> dict[str, float]:
    """All options of a run: those given, the card's defaults for the rest.

    Raises InvalidOption for a name that the card does not have or a value outside of its range.
    """
    for name, value in (given or {}).items():
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
    return {name: option.default for name, option in card.options.items()} | dict(given or {})
