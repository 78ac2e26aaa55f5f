"""Processes that train together: one per GPU, started by torchrun."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import distributed, nn

from neuralreg.devices import choose_device


@dataclass(frozen=True)
class Team:
    """One process among `size` that train one network. number: from 0; the first one leads."""

    number: int
    size: int
    device: torch.device

    @classmethod
    def alone(cls, device: torch.device) -> Team:
        """A training in one process."""
        return cls(0, 1, device)

    @classmethod
    def join(cls, device: str) -> Team:
        """What torchrun's environment says, else a training alone.

        Each process takes the GPU of its local number; on a CPU they talk by gloo.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        place = choose_device(device)
        if size == 1:
            return cls.alone(place)
        if place.type == "cuda":
            place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(place)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
        return cls(distributed.get_rank(), size, place)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks."""
        return self.number == 0

    @property
    def share(self) -> tuple[int, int]:
        """Which part of each batch is for this process."""
        return self.number, self.size

    def shared(self, module: nn.Module) -> nn.Module:
        """The module, whose gradients are averaged over all processes."""
        if self.size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        # LKU-Net, for one, has a layer that nothing uses.
        return nn.parallel.DistributedDataParallel(
            module, device_ids=devices, find_unused_parameters=True
        )

    def any(self, here: bool) -> bool:
        """Whether it is so in any process."""
        if self.size == 1:
            return here
        flag = torch.tensor(float(here), device=self.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag)

    def agreed(self, figures: dict[str, float]) -> dict[str, float]:
        """The leader's figures, in all processes."""
        if self.size == 1:
            return figures
        box = [figures]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def leave(self) -> None:
        """End the talk between the processes."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()
