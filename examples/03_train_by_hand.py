"""A network trained by a loop of one's own: 03_train_by_hand.py [STEPS]

Configurations, checkpoints, validation and logs come with `neuralreg train`; this is what happens
inside, for people who want to change it.
"""

from __future__ import annotations

import sys

import torch
from neuralreg.geometry.normalized import from_voxels, warp
from neuralreg.measures.regularity import diffusion
from neuralreg.measures.similarity import ssd
from neuralreg.networks.voxelmorph import VoxelMorph


def make_shapes(count: int, size: int = 32) -> torch.Tensor:
    """Ellipses of random place and axes: (count, 1, size, size), 0 to 1."""
    at = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij"))
    center = 0.4 * (torch.rand(count, 2, 1, 1) - 0.5)
    axes = 0.35 + 0.25 * torch.rand(count, 2, 1, 1)
    return torch.sigmoid(20 * (1 - ((at - center) / axes).norm(dim=1)))[:, None]


def main(steps: int) -> None:
    torch.manual_seed(0)
    network = VoxelMorph(2, features=((8, 16, 16), (16, 16, 16, 8)))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    history = []
    for step in range(steps):
        fixed, moving = make_shapes(16), make_shapes(16)
        displacement = network(fixed, moving)  # voxels, components x y: network.output says so
        warped = warp(moving, from_voxels(displacement))
        similarity = ssd(fixed, warped)
        loss = similarity + 0.01 * diffusion(displacement)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(similarity.item())
        if step % 50 == 0:
            print(f"step {step:4d}  loss {loss.item():.4f}  similarity {similarity.item():.4f}")
    first, last = sum(history[:10]) / 10, sum(history[-10:]) / 10
    print(f"mean squared difference {first:.4f} -> {last:.4f}")
    assert last < first, "the network learned nothing"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
