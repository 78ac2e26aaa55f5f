"""What the engine asks of a model."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from neuralreg.zoo.card import ModelCard


class RegistrationNetwork(Protocol):
    """A model that aligns two images on one grid.

    card: says which grid, which intensities, and what the output means.
    predict: fixed and moving, each (1, z, y, x) on that grid, to the output that the card names.
    """

    card: ModelCard

    def predict(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """The raw output for one pair."""
        ...
